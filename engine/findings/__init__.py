"""Findings about a dataset, a plan, a base, a machine or a run. A finding is data; its words are made where it is shown.

A rule is a function from facts to findings (`dataset.checks`, `planning.preflight`). It names a row of the table (the TOML files beside
this module) and gives the figures for its sentences; the row has severity, reason, source and quick fix.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loratui.engine.errors import DatasetError, DiskError, GpuLostError, LoratuiError, UsageError
from loratui.engine.words import filled
from loratui.presets.toml_text import parse_toml, read_text

Severity = Literal["error", "warning", "info"]
ImageFix = Literal["rotate", "convert", "flatten", "shrink", "crop", "leave_out", "keep_best"]
CaptionFix = Literal["utf8", "right_signs", "take_out", "commas", "fill_in", "trigger_first", "trigger_spelled", "class_second",
                     "without_scores", "name_white"]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A row of the table. `message`, `why` and `remedy` are templates for `loratui.engine.words.filled`."""

    severity: Severity
    message: str
    why: str = ""
    remedy: str = ""
    source: str = "loratui"
    """Where the rule comes from: names of `presets.SOURCES`."""
    about: str = ""
    """What it means, if the whole message comes from what was read."""
    fix: ImageFix | CaptionFix | None = None
    """What one key does about a finding of the dataset. Settings that fix it are in the finding."""


@dataclass(frozen=True)
class Subject:
    """What findings are about. One screen fixes them, and a refused start ends with one error."""

    name: str
    step: str
    """The wizard's screen that fixes them; empty if the app cannot."""
    error: type[LoratuiError] = UsageError

    @functools.cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """Its rows by key: a code, or a code, a dot and a variant."""
        return dict(_kinds(parse_toml(read_text(Path(__file__).with_name(f"{self.name}.toml")))))


def _kinds(table: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Kind]]:
    for code, written in table.items():
        row = {**table.get(written.get("like", ""), {}), **written}
        own = {name: value for name, value in row.items() if name != "like" and not isinstance(value, dict)}
        if own:
            yield code, Kind(**own)
        for sentence, differing in row.items():
            if isinstance(differing, dict):
                yield f"{code}.{sentence}", Kind(**{**own, **differing})


SUBJECTS = (
    Subject("dataset", "dataset", DatasetError),
    Subject("plan", "plan"),
    Subject("samples", "samples"),
    Subject("base", "base"),
    Subject("machine", "plan"),
    Subject("gpu", "plan", GpuLostError),
    Subject("disk", "", DiskError),
    Subject("ending", "plan"),
    Subject("run", ""),
)


@functools.cache
def _row(key: str) -> tuple[Subject, Kind]:
    return next((subject, subject.kinds[key]) for subject in SUBJECTS if key in subject.kinds)


GRAVE: tuple[Severity, ...] = ("error", "warning")
"""What a person must look at before a start."""

_RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One result of a rule. An `error` means that the start would fail."""

    key: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The figures of its sentences by placeholder."""
    files: tuple[str, ...] = ()
    """Relative paths within the dataset."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that fix it: dotted key -> value."""
    limit_of: str = ""
    """Who set the limit, if not the source of the rule."""

    def __post_init__(self) -> None:
        assert any(self.key in subject.kinds for subject in SUBJECTS), f"{self.key} is not in the table of findings"

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
        """A finding of a row of the table, with the figures for its sentences."""
        return cls(key, parameters, tuple(files), dict(settings or {}), limit_of)

    @property
    def code(self) -> str:
        """Stable: scripts may rely on it."""
        return self.key.partition(".")[0]

    @property
    def variant(self) -> str:
        """Which of the code's sentences; empty if there is only one."""
        return self.key.partition(".")[2]

    @property
    def kind(self) -> Kind:
        """Its row of the table."""
        return _row(self.key)[1]

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return _row(self.key)[0]

    @property
    def severity(self) -> Severity:
        """How severe it is."""
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
    """Errors, then warnings, then notes; each in the given order."""
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def graver(one: Severity, other: Severity) -> Severity:
    """The graver of two."""
    return min(one, other, key=_RANK.__getitem__)


def counted(findings: Iterable[Finding]) -> Counter[Severity]:
    """How many there are of each severity."""
    return Counter(finding.severity for finding in findings)
