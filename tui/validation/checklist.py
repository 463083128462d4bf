"""The validation's seven parts, and what a person ticked, noted, rated and chose, kept in the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.untrusted import Gone, finite
from loratui.engine.words import count, number

if TYPE_CHECKING:
    from loratui.presets.schema import Settings

FORMAT = 2
"""Of `validation/checklist.json`. Format 1 had only ticks; it is still read."""

MOST_STARS = 5
T = TypeVar("T")

LONGEST_NOTE = 10_000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Point:
    """One part of the validation; `{trigger}` and `{class}` are filled in before it is shown."""

    id: str
    title: str
    why: str
    """What it is for."""
    look_at: str
    look_for: str


POINTS: tuple[Point, ...] = (
    Point(
        "likeness",
        "Likeness",
        "A LoRA of a person or thing is useless if it shows somebody else.",
        "The same file at its normal strength, with other clothes, places and expressions.",
        "Is it the same person in all of them?",
    ),
    Point(
        "generalises",
        "Generalises, or remembers?",
        "A memorised photo comes back whatever you ask for.",
        "Each image beside the training image it is most like. Ask for what the photos never showed: glasses, other "
        "hair, another background.",
        "Does it follow? Does something from the photos come back unasked?",
    ),
    Point(
        "trigger_alone",
        "Trigger alone",
        "With no other words, the LoRA shows what it learnt most.",
        "“{trigger} portrait photo” with several seeds.",
        "If all have the pose and background of one photo, it was memorised.",
    ),
    Point(
        "quality",
        "Quality against the base",
        "Training can cost what the base was good at.",
        "The same prompt and seed with the LoRA, and without it, with the class word in place of the trigger.",
        "Hands, eyes, sharpness: has the LoRA made them worse?",
    ),
    Point(
        "strength",
        "Strength",
        "Its range of usable strengths shows whether it learnt too little or too much.",
        "The same prompt and seed from strength 0 upwards.",
        "Likeness begins at 0.5 and is right at 1.0; 1.5 is usually too much.",
    ),
    Point(
        "checkpoints",
        "Checkpoints",
        "Training saved several files, and the best is often not the last.",
        "The same prompt and seed through every saved epoch.",
        "At which epoch is it right, and when does it become stiff? Rate the files, choose one.",
    ),
    Point(
        "next",
        "Next step",
        "What you saw says what to do.",
        "Mark what you saw; what to do is beside it.",
        "Choose a file, export it under a name, copy it off this machine, and check the base's licence.",
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that a validation can show, and what to do about it."""

    id: str
    seen: str
    do: str
    points: tuple[str, ...]
    """The parts in which it shows."""


SEEN: tuple[Seen, ...] = (
    Seen("weak", "likeness weak", "more steps (a fifth more epochs), or a higher rank", ("likeness", "strength")),
    Seen(
        "sticks",
        "details of the photos stick",
        "drop near-duplicates, add what is missing, fewer epochs",
        ("generalises", "trigger_alone"),
    ),
    Seen(
        "stiff",
        "likeness good, quality or freedom lost",
        "lower learning rate and more steps, lower rank, or strength 0.8",
        ("generalises", "quality", "strength"),
    ),
    Seen("feature", "a small feature is missed", "higher rank", ("likeness",)),
    Seen("same", "all previews the same", "check for mirrored photos", ("trigger_alone",)),
    Seen("anatomy", "distorted anatomy", "remove or re-caption the odd image", ("quality",)),
    Seen("earlier", "right at an earlier epoch", "use that file", ("checkpoints",)),
)


def advice(seen: Seen, *, epochs: int = 0, image_steps: int = 0, rank: int = 0, most_rank: int = 0) -> str:
    """What to do about something seen, with the run's numbers where they are known (not 0).

    `most_rank`: the highest rank without a warning for this recipe.
    """
    if seen.id == "weak" and epochs > 0:
        more = epochs + max(1, round(epochs / 5))
        told = f"{number(image_steps)} → {number(image_steps * more // epochs)}"
        steps = f": {told} image-steps" if image_steps > 0 else ""
        return f"more steps ({number(epochs)} → {count(more, 'epoch')}{steps}), or a {_higher(rank, most_rank)}"
    if seen.id == "feature":
        return _higher(rank, most_rank)
    if seen.id == "sticks" and epochs > 2:
        return f"drop near-duplicates, add what is missing, fewer epochs ({epochs} → {epochs - max(1, round(epochs / 5))})"
    return seen.do


def numbers(settings: Settings) -> dict[str, int]:
    """The numbers of a run that `advice` takes."""
    schedule, adapter = settings.schedule, settings.adapter
    return {
        "epochs": schedule.epochs,
        "image_steps": schedule.image_steps,
        "rank": adapter.rank,
        "most_rank": adapter.rank_wanted[1],
    }


def _higher(rank: int, most: int) -> str:
    if 0 < most <= rank:
        return f"higher rank, though {most} is the most for this recipe"
    return f"higher rank ({rank} → {min(2 * rank, most or 2 * rank)})" if rank > 0 else "higher rank"


@dataclass(frozen=True, slots=True)
class FileMark:
    """What a person thinks of a LoRA file."""

    rating: int = 0
    """1 to 5 stars; 0: not rated."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Checklist:
    """All that a person noted in a validation."""

    ticked: Mapping[str, float] = field(default_factory=dict)
    """Id of a part -> when it was ticked, seconds since 1970."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Id of a part -> free text."""
    seen: frozenset[str] = frozenset()
    """Ids of `SEEN`."""
    files: Mapping[str, FileMark] = field(default_factory=dict)
    """LoRA file, relative to the run -> rating and note."""
    chosen: str = ""
    """The chosen file, relative to the run; empty if none."""

    def toggle(self, point: str, now: float | None = None) -> Checklist:
        """With a part ticked, or unticked."""
        rest = {known: at for known, at in self.ticked.items() if known != point}
        if point not in self.ticked:
            rest[point] = round(time.time() if now is None else now)
        return replace(self, ticked=rest)

    def note(self, point: str, text: str) -> Checklist:
        """With another note on a part; empty text removes it."""
        return replace(self, notes=_with(self.notes, point, text.strip()[:LONGEST_NOTE]))

    def toggle_seen(self, id: str) -> Checklist:
        """With something marked as seen, or unmarked."""
        return replace(self, seen=self.seen ^ {id})

    def rate(self, file: str, stars: int) -> Checklist:
        """With another rating of a file, 0 to 5; 0 removes it."""
        assert 0 <= stars <= MOST_STARS
        return self._mark(file, replace(self.mark(file), rating=stars))

    def note_file(self, file: str, text: str) -> Checklist:
        """With another note on a file."""
        return self._mark(file, replace(self.mark(file), note=text.strip()[:LONGEST_NOTE]))

    def choose(self, file: str) -> Checklist:
        """With a file chosen, or none if it was chosen already."""
        return replace(self, chosen="" if file == self.chosen else file)

    def mark(self, file: str) -> FileMark:
        """Rating and note of a file."""
        return self.files.get(file, FileMark())

    def _mark(self, file: str, mark: FileMark) -> Checklist:
        return replace(self, files=_with(self.files, file, None if mark == FileMark() else mark))


def read_checklist(path: Path) -> Checklist:
    """What the file holds; missing, unknown and mistyped values count as not given."""
    try:
        return _from_json(sealed.read(path, path.parent.parent))
    except OSError:
        return Checklist()


def update(path: Path, change: Callable[[Checklist], Checklist]) -> Checklist:
    """Makes a change to what the file holds now, since another viewer may have written to it.

    Raises `DiskError`, and `UsageError` for a file that a newer loratui wrote or a run that is gone.
    """
    from loratui.engine import durable
    from loratui.engine.runs.verdict import GONE

    try:
        written_by = sealed.read(path, path.parent.parent).get("format")
    except Gone:
        written_by = None
    except OSError:  # damaged: what a person noted is kept beside it
        written_by = None
        with contextlib.suppress(FileExistsError):
            durable.keep_as(path, path.with_name("checklist.damaged.json"))
    if isinstance(written_by, int) and written_by > FORMAT:
        raise UsageError(f"{path} was written by a newer loratui; it is unchanged.", "Update loratui.")
    if not path.parent.parent.is_dir():  # writing would make a folder that is no run
        raise UsageError(GONE)
    changed = change(read_checklist(path))
    durable.make_directory(path.parent)
    sealed.write(path, _to_json(changed), path.parent.parent)
    return changed


def _to_json(kept: Checklist) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "ticked": dict(kept.ticked),
        "notes": dict(kept.notes),
        "seen": [seen.id for seen in SEEN if seen.id in kept.seen],
        "files": {file: {"rating": mark.rating, "note": mark.note} for file, mark in kept.files.items()},
        "chosen": kept.chosen,
    }


def _from_json(body: Mapping[str, Any]) -> Checklist:
    known = {point.id for point in POINTS}
    seen = body.get("seen")
    chosen = body.get("chosen")
    return Checklist(
        ticked={id: at for id, when in _table(body, "ticked").items() if id in known and (at := finite(when)) is not None},
        notes={id: text for id, text in _table(body, "notes").items() if id in known and isinstance(text, str) and text},
        seen=frozenset(row.id for row in SEEN if row.id in seen) if isinstance(seen, list) else frozenset(),
        files={file: mark for file, row in _table(body, "files").items() if (mark := _file_mark(row)) != FileMark()},
        chosen=chosen if isinstance(chosen, str) else "",
    )


def _file_mark(row: object) -> FileMark:
    if not isinstance(row, dict):
        return FileMark()
    rating, note = row.get("rating"), row.get("note")
    stars = rating if isinstance(rating, int) and not isinstance(rating, bool) and 0 <= rating <= MOST_STARS else 0
    return FileMark(stars, note if isinstance(note, str) else "")


def _table(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _with(table: Mapping[str, T], key: str, value: T | None) -> dict[str, T]:
    rest = {known: old for known, old in table.items() if known != key}
    return {**rest, key: value} if value else rest
