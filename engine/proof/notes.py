"""What a person ticked, noted, rated and chose in a validation, kept in `validation/checklist.json`. Light: the app reads it too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from loratui.engine import durable, sealed
from loratui.engine.errors import UsageError
from loratui.engine.untrusted import Gone, finite

FORMAT = 3
"""Of `validation/checklist.json`. Format 1 had only ticks, format 2 no notes on images; both are still read."""

PART_IDS = ("likeness", "generalises", "trigger_alone", "quality", "strength", "checkpoints", "next")
"""The parts of the validation; `registry.PARTS` has their measures."""

SEEN_IDS = ("weak", "sticks", "stiff", "feature", "same", "anatomy", "earlier")
"""What a person can mark as seen; the words are the screens'."""

MOST_STARS = 5
T = TypeVar("T")

LONGEST_NOTE = 10_000
"""Characters."""


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
    """Ids of `SEEN_IDS`."""
    files: Mapping[str, FileMark] = field(default_factory=dict)
    """LoRA file, relative to the run -> rating and note."""
    chosen: str = ""
    """The chosen file, relative to the run; empty if none."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Image, relative to the run -> free text."""

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

    def note_image(self, path: str, text: str) -> Checklist:
        """With another note on an image; empty text removes it."""
        return replace(self, images=_with(self.images, path, text.strip()[:LONGEST_NOTE]))

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
        "seen": [id for id in SEEN_IDS if id in kept.seen],
        "files": {file: {"rating": mark.rating, "note": mark.note} for file, mark in kept.files.items()},
        "chosen": kept.chosen,
        "images": dict(kept.images),
    }


def _from_json(body: Mapping[str, Any]) -> Checklist:
    seen = body.get("seen")
    chosen = body.get("chosen")
    return Checklist(
        ticked={id: at for id, when in _table(body, "ticked").items() if id in PART_IDS and (at := finite(when)) is not None},
        notes={id: text for id, text in _texts(body, "notes").items() if id in PART_IDS},
        seen=frozenset(id for id in SEEN_IDS if id in seen) if isinstance(seen, list) else frozenset(),
        files={file: mark for file, row in _table(body, "files").items() if (mark := _file_mark(row)) != FileMark()},
        chosen=chosen if isinstance(chosen, str) else "",
        images=_texts(body, "images"),
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


def _texts(body: Mapping[str, Any], name: str) -> dict[str, str]:
    return {key: text for key, text in _table(body, name).items() if isinstance(text, str) and text}


def _with(table: Mapping[str, T], key: str, value: T | None) -> dict[str, T]:
    rest = {known: old for known, old in table.items() if known != key}
    return {**rest, key: value} if value else rest
