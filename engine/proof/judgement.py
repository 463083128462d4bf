"""The verdict on a run's images with its best file and advice: judged of what was measured and of what the person noted since, else as
`validation/measures.json` keeps it. Light: the app reads it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.proof.kept import parts_of
from loratui.engine.proof.notes import Checklist, read_checklist
from loratui.engine.proof.shown import share_of_preset
from loratui.engine.proof.verdict.judge import Judged, judge
from loratui.engine.runs.history import history_of
from loratui.engine.runs.lineage import is_imported
from loratui.engine.untrusted import finite, leads_out
from loratui.presets.schema import KEYS

if TYPE_CHECKING:
    from loratui.engine.runs.directory import RunDirectory
    from loratui.presets.schema import Settings

Kind = Literal["good", "undertrained", "overtrained", "memorised", "wrong_data", "unclear"]
MOST_ROWS = 100
"""Reasons, advice, and images of an advice."""
MOST_TEXT = 1000
"""Characters of a sentence."""
MOST_EPOCHS = 100_000


@dataclass(frozen=True, slots=True)
class Best:
    """The file to use, and at which strength."""

    file: str
    """Relative to the run."""
    step: int | None
    strength: float
    reason: str


@dataclass(frozen=True, slots=True)
class Do:
    """What a program can do of an advice. One of these is given."""

    continue_epochs: int = 0
    """Epochs more, from the newest checkpoint."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> value of another run."""
    leave_out: tuple[str, ...] = ()
    """Images, by their paths in the dataset."""
    re_caption: tuple[str, ...] = ()
    use: Best | None = None
    """File and strength."""
    look: str = ""
    """What the person is to look at."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to change."""

    id: str
    change: str
    why: str
    do: Do


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was judged of a run."""

    kind: Kind
    confidence: float
    """0 to 1."""
    reasons: tuple[str, ...] = ()
    best: Best | None = None
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """What a `measures.json` has that a verdict needs."""

    parts: Sequence[Mapping[str, Any]] = ()
    about: Judged = Judged("", 1.0)
    judged: Judgement | None = None
    """As it was judged when it was measured."""

    def judge(self, notes: Checklist) -> Judgement | None:
        """The judgement with what the person has noted by now, whose word counts more than any measure; None if nothing was measured."""
        if not any(part["measures"] for part in self.parts):
            return self.judged
        try:
            return judgement_of(judge(self.parts, notes, self.about))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError):
            return self.judged  # the file is somebody's: a row of it has not what this version reads of such a row


def about(run: RunDirectory, settings: Settings, file: str, strength: float) -> Judged:
    """What a verdict on a file takes beside the measured parts; reads the run's log."""
    told = history_of(run.events)
    held_out = [one for one in told.held_out if one.what == "held_out"]
    # A file that was not trained here has a recipe of its base alone.
    if is_imported(run):
        return Judged(file, strength, None, held_out, told.state.pulls)
    return Judged(file, strength, settings, held_out, told.state.pulls, share_of_preset(run))


def read_measures(run: RunDirectory, settings: Settings) -> Measures:
    """Of a run's validation; empty if there are none, or if the file is unusable."""
    path = run.validation / "measures.json"
    try:
        table = sealed.read(path, run.path, LIST_FILE_BYTES)
    except OSError:
        return Measures()
    file, strength = table.get("file"), finite(table.get("strength"))
    named = file if isinstance(file, str) and not leads_out(file) else ""
    subject = about(run, settings, named, 1.0 if strength is None else strength)
    return Measures(parts_of(table), subject, judgement_of(table))


def read_judgement(run: RunDirectory, settings: Settings) -> Judgement | None:
    """What is to be said of a run's images now; None if nothing was measured."""
    return read_measures(run, settings).judge(read_checklist(run.validation / "checklist.json"))


def judgement_of(table: Mapping[str, Any]) -> Judgement | None:
    """The judgement in a table that was read; None if there is none. An advice that cannot be read is left out."""
    verdict = table.get("verdict")
    if not isinstance(verdict, dict) or verdict.get("kind") not in get_args(Kind):
        return None
    confidence = finite(verdict.get("confidence"))
    return Judgement(
        verdict["kind"],
        min(1.0, max(0.0, confidence or 0.0)),
        tuple(text for row in _rows(verdict.get("reasons")) if (text := _text(row))),
        _best(table.get("best")),
        tuple(advice for row in _rows(table.get("advice")) if (advice := _advice(row)) is not None),
    )


def _advice(row: Any) -> Advice | None:
    if not isinstance(row, dict) or not isinstance(row.get("do"), dict):
        return None
    id, change, do = _text(row.get("id")), _text(row.get("change")), _do(row["do"])
    return Advice(id, change, _text(row.get("why")), do) if id and change and do != Do() else None


def _do(row: Mapping[str, Any]) -> Do:
    """Nothing for a kind that this version does not know, and for values that cannot be."""
    epochs, settings = row.get("continue_epochs"), row.get("settings")
    return Do(
        epochs if isinstance(epochs, int) and not isinstance(epochs, bool) and 0 < epochs <= MOST_EPOCHS else 0,
        settings if isinstance(settings, dict) and settings.keys() <= KEYS.keys() else {},
        _images(row.get("leave_out")),
        _images(row.get("re_caption")),
        _best(row.get("use")),
        _text(row.get("look")),
    )


def _best(row: Any) -> Best | None:
    if not isinstance(row, dict):
        return None
    file, step, strength = row.get("file"), row.get("step"), finite(row.get("strength"))
    if not isinstance(file, str) or not file or leads_out(file) or strength is None:
        return None
    return Best(
        file, step if isinstance(step, int) and not isinstance(step, bool) else None, strength, _text(row.get("reason"))
    )


def _images(value: Any) -> tuple[str, ...]:
    return tuple(name for name in _rows(value) if isinstance(name, str) and name and not leads_out(name))


def _rows(value: Any) -> list[Any]:
    return value[:MOST_ROWS] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return " ".join(value.split())[:MOST_TEXT] if isinstance(value, str) else ""
