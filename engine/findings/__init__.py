"""Findings: what is to be said of a data set, a plan, a base or a machine. A finding is data; its words are made where they are shown.

A rule is a function from facts to findings (`dataset.checks`, `planning.preflight`). It names a row of the table here and gives the
figures that the row's sentences have places for; severity, reason, source and quick fix are the row's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loratui.engine.errors import DatasetError, DiskError, GpuLostError, LoratuiError, UsageError
from loratui.engine.findings.base import BASE
from loratui.engine.findings.captions import CAPTIONS
from loratui.engine.findings.images import IMAGES
from loratui.engine.findings.kind import Kind as Kind
from loratui.engine.findings.kind import Severity as Severity
from loratui.engine.findings.machine import DISK, GPU_LOST, MACHINE
from loratui.engine.findings.plan import COMBINED, JUDGED, REFUSED, SAMPLES
from loratui.engine.findings.run import RUN
from loratui.engine.words import filled


@dataclass(frozen=True)
class Subject:
    """What findings are about: the same screen mends them, and a start that they refuse ends alike."""

    title: str
    kinds: Mapping[str, Kind]
    step: str
    """The screen of the wizard on which they are mended; empty for what lies outside the app."""
    error: type[LoratuiError] = UsageError


def _whole(kinds: Mapping[str, Kind]) -> Mapping[str, Kind]:
    """The rows with what those behind a dot have from their code's."""

    def row(key: str, kind: Kind) -> Kind:
        code = kinds.get(key.partition(".")[0], kind)
        return Kind(
            kind.severity,
            kind.message or code.message,
            kind.why or code.why,
            kind.remedy or code.remedy,
            kind.source or code.source or "loratui",
            kind.about,
            kind.fix or code.fix,
        )

    return {key: row(key, kind) for key, kind in kinds.items()}


SUBJECTS = (
    Subject("Data set", _whole({**IMAGES, **CAPTIONS}), "dataset", DatasetError),
    Subject("Plan", _whole({**JUDGED, **COMBINED, **REFUSED}), "plan"),
    Subject("Samples", _whole(SAMPLES), "samples"),
    Subject("Base model", _whole(BASE), "base"),
    Subject("Machine", _whole(MACHINE), "plan"),
    Subject("GPU", _whole(GPU_LOST), "plan", GpuLostError),
    Subject("Disk", _whole(DISK), "", DiskError),
    Subject("Run", _whole(RUN), ""),
)

_ROWS = {key: (subject, kind) for subject in SUBJECTS for key, kind in subject.kinds.items()}
"""The whole table. A key is a code, or a code, a dot, and which of its sentences."""

GRAVE: tuple[Severity, ...] = ("error", "warning")
"""What a person has to look at before a start."""

_RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One result of a rule, as data. An `error` means that the start would fail."""

    key: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The figures of its sentences, by the names of their places."""
    files: tuple[str, ...] = ()
    """Relative paths within the data set."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that mend it: dotted key -> value."""
    limit_of: str = ""
    """Who set the limit that it is about, where that is not the source of the rule."""

    def __post_init__(self) -> None:
        assert self.key in _ROWS, f"{self.key} is not in the table of findings"

    @classmethod
    def of(
        cls,
        key: str,
        /,
        files: Iterable[str] = (),
        *,
        settings: Mapping[str, Any] | None = None,
        limit_of: str = "",
        **parameters: Any,
    ) -> Finding:
        """A finding of a row of the table, with the figures that its sentences have places for."""
        return cls(key, parameters, tuple(files), dict(settings or {}), limit_of)

    @property
    def code(self) -> str:
        """Stable: scripts may rely on it."""
        return self.key.partition(".")[0]

    @property
    def variant(self) -> str:
        """Which of the code's sentences; empty where there is but one."""
        return self.key.partition(".")[2]

    @property
    def kind(self) -> Kind:
        """Its row of the table."""
        return _ROWS[self.key][1]

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return _ROWS[self.key][0]

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return self.kind.severity

    @property
    def source(self) -> str:
        """Names of `presets.SOURCES`, or `yours` for a limit of the person's own preset."""
        return self.limit_of or self.kind.source

    @property
    def message(self) -> str:
        """What was found."""
        return self._filled(self.kind.message)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self._filled(self.kind.remedy)

    @property
    def why(self) -> str:
        """Why it matters, and who says so."""
        why, source = self._filled(self.kind.why), "" if self.source == "loratui" else self.source
        return f"{why.removesuffix('.')} ({source})." if why and source else why or source

    def to_json(self) -> dict[str, Any]:
        """The stable keys of `--json`."""
        return {
            "id": self.code,
            "severity": self.severity,
            "message": self.message,
            "why": self.why,
            "remedy": self.remedy,
            "files": list(self.files),
            "source": self.source,
            "parameters": dict(self.parameters),
            "settings": dict(self.settings),
        }

    def _filled(self, template: str) -> str:
        return filled(template, {**self.parameters, "files": self.files, "settings": self.settings})


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; within each the order given."""
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def graver(one: Severity, other: Severity) -> Severity:
    """The graver of two."""
    return min(one, other, key=_RANK.__getitem__)


def counted(findings: Iterable[Finding]) -> Counter[Severity]:
    """How many there are of each severity."""
    return Counter(finding.severity for finding in findings)
