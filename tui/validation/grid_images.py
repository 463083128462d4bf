"""The validation images as tables, one for each part of the validation. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.proof.kept import NEARLY_THE_SAME
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.runs.lora_files import LoraFiles
from loratui.engine.runs.records import Image
from loratui.engine.untrusted import finite, leads_out

MOST_LISTED = 10_000

VERY_LIKE, A_BIT_LIKE = 0.85, 0.65
"""Lowest similarity of layouts for each word below "nearly the same". On the demo the base's own images have 0.55 to 0.79, good images of the LoRA
0.72 to 0.82, a memorised one 0.97; two different images of the dataset reach 0.95."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A validation image, made or not yet; paths are relative to the run."""

    grid: str
    prompt: str
    seed: int
    file: str
    """LoRA file; empty for the base alone."""
    strength: float
    path: str
    made: bool = False
    nearest: str = ""
    """The training image it is most like, by its path in the dataset; empty if not measured."""
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a table: a validation image, or the training image it is most like."""

    slot: Slot
    training: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Images side by side; None for an empty cell."""

    title: str
    tiles: tuple[Tile | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The images for one part of the validation."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    @property
    def tiles(self) -> list[Tile]:
        """All images, row by row."""
        return [tile for row in self.rows for tile in row.tiles if tile is not None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the tables need to know of a run."""

    trigger: str = ""
    class_word: str = ""
    likely_strength: float = 1.0
    files: LoraFiles = LoraFiles()


def read_listed(path: Path) -> list[Slot]:
    """The images that `validation/grid.json` lists, in order; none if it is missing or unusable."""
    try:
        body = sealed.read(path, path.parent.parent, 1 << 24)
        listed = body["images"] if "images" in body else body["pictures"]  # the key in earlier runs
    except (OSError, TypeError, KeyError):
        return []
    slots = (_slot(row) for row in listed[:MOST_LISTED]) if isinstance(listed, list) else ()
    return [slot for slot in slots if slot is not None]


def merged(listed: Iterable[Slot], written: Iterable[Image]) -> list[Slot]:
    """All images: those listed first, filled in from what was written, then those of earlier validations.

    Of two for one place the later counts, but keeps the similarity measured for the same file: the log repeats an image
    that existed without it.
    """
    slots = {_place(slot): slot for slot in listed}
    for image in written:
        if math.isnan(image.strength) or not image.path:
            continue
        file = image.file if image.strength else ""
        slot = Slot(image.grid, image.prompt, image.seed, file, image.strength, image.path, True)
        before = slots.get(_place(slot))
        known = image if image.nearest or before is None or before.path != image.path else before
        slots[_place(slot)] = replace(slot, nearest=known.nearest, similarity=known.similarity)
    # A file may be in both grids, and is compared once.
    measured = {slot.path: slot for slot in slots.values() if slot.nearest}
    for place, slot in slots.items():
        if not slot.nearest and (same := measured.get(slot.path)):
            slots[place] = replace(slot, nearest=same.nearest, similarity=same.similarity)
    return list(slots.values())


def table(point: str, slots: Sequence[Slot], subject: Subject) -> Table:
    """The images for one part of the validation; empty for a part without images."""
    strengths = [slot for slot in slots if slot.grid == "strengths"]
    match point:
        case "likeness":
            return _likeness(_likely(strengths, subject), subject.files)
        case "generalises":
            chosen = [
                slot
                for slot in _likely(strengths, subject)
                if not is_trigger_alone(slot.prompt, subject.trigger, subject.class_word)
            ]
            tiles = [(Tile(slot), Tile(slot, True) if slot.nearest else None) for slot in chosen]
            rows = [Row(_title(slot, chosen, subject.files), pair) for slot, pair in zip(chosen, tiles, strict=True)]
            return Table(("made", "most like this training image"), tuple(rows))
        case "trigger_alone":
            alone = [
                slot
                for slot in _likely(strengths, subject)
                if is_trigger_alone(slot.prompt, subject.trigger, subject.class_word)
            ]
            return _by_seed(alone, subject.files)
        case "quality":
            return _against_the_base(strengths, subject)
        case "strength":
            return _by_strength(strengths, subject.files)
        case "checkpoints":
            return _by_file(slots, subject.files)
    return Table()


def likely_strength(slots: Iterable[Slot], subject: Subject) -> float | None:
    """The strength nearest to the usual one; None if only the base has images."""
    there = {slot.strength for slot in slots if slot.strength}
    return min(there, key=lambda strength: (abs(strength - subject.likely_strength), strength), default=None)


class Likeness(NamedTuple):
    """How much an image resembles a training image."""

    word: str
    short: str
    """The word where a thumbnail leaves it eleven columns."""
    meaning: str


def likeness(similarity: float | None) -> Likeness:
    """A similarity of layouts, −1 to 1, in words; see `engine.training.validation.nearest`."""
    if similarity is None:
        return Likeness("not compared", "", "Made before loratui compared images.")
    if similarity >= NEARLY_THE_SAME:
        meaning = "Pose, framing and background are those of this photo: memorised, unless you asked for them."
        return Likeness("nearly the same", "nearly same", meaning)
    if similarity >= VERY_LIKE:
        return Likeness("very like", "very like", "Much of its layout is that of this photo. Did you ask for it?")
    if similarity >= A_BIT_LIKE:
        meaning = "Light and dark are alike, as in most portraits. It is no copy."
        return Likeness("a bit like", "a bit like", meaning)
    return Likeness("unlike", "unlike", "No photo has this layout: it was not copied.")


def _likely(slots: Sequence[Slot], subject: Subject) -> list[Slot]:
    strength = likely_strength(slots, subject)
    return [slot for slot in slots if slot.strength == strength]


def _likeness(slots: Sequence[Slot], files: LoraFiles) -> Table:
    prompts = _once(slot.prompt for slot in slots)
    rows = []
    for file, seed in _once((slot.file, slot.seed) for slot in slots):
        of = {slot.prompt: slot for slot in slots if (slot.file, slot.seed) == (file, seed)}
        rows.append(Row(f"seed {seed}  {files.words(file)}", tuple(_tile(of.get(prompt)) for prompt in prompts)))
    return Table(tuple(without_common_start(prompts)), tuple(rows))


def without_common_start(prompts: Sequence[str]) -> list[str]:
    """Prompts without their common first words, so the differences show where room is short."""
    split = [prompt.split() for prompt in prompts]
    common = 0
    while len(split) > 1 and all(len(words) > common and words[common] == split[0][common] for words in split):
        common += 1
    return [("… " if common and words[common:] else "") + " ".join(words[common:] or words) for words in split]


def _by_seed(slots: Sequence[Slot], files: LoraFiles) -> Table:
    seeds = sorted({slot.seed for slot in slots})
    rows = []
    for file, prompt in _once((slot.file, slot.prompt) for slot in slots):
        of = {slot.seed: slot for slot in slots if (slot.file, slot.prompt) == (file, prompt)}
        rows.append(Row(f"{prompt}  {files.words(file)}", tuple(_tile(of.get(seed)) for seed in seeds)))
    return Table(tuple(f"seed {seed}" for seed in seeds), tuple(rows))


def _against_the_base(slots: Sequence[Slot], subject: Subject) -> Table:
    base = {(slot.prompt, slot.seed): slot for slot in slots if not slot.strength}
    likely = _likely(slots, subject)
    rows = [
        Row(_title(slot, likely, subject.files), (_tile(base.get((slot.prompt, slot.seed))), Tile(slot))) for slot in likely
    ]
    strength = likely_strength(slots, subject)
    return Table(("the base alone", f"with the LoRA, {strength:g}" if strength else "with the LoRA"), tuple(rows))


def _by_strength(slots: Sequence[Slot], files: LoraFiles) -> Table:
    strengths = sorted({slot.strength for slot in slots})
    base = {(slot.prompt, slot.seed): slot for slot in slots if not slot.strength}
    with_lora = [slot for slot in slots if slot.strength] or list(slots)
    rows = []
    for file, prompt, seed in _once((slot.file, slot.prompt, slot.seed) for slot in with_lora):
        of = {slot.strength: slot for slot in slots if (slot.file, slot.prompt, slot.seed) == (file, prompt, seed)}
        if (prompt, seed) in base:
            of[0.0] = base[prompt, seed]
        title = next(_title(slot, with_lora, files) for slot in of.values() if slot.strength or len(of) == 1)
        rows.append(Row(title, tuple(_tile(of.get(strength)) for strength in strengths)))
    return Table(tuple("0, no LoRA" if not s else f"strength {s:g}" for s in strengths), tuple(rows))


def _by_file(slots: Sequence[Slot], files: LoraFiles) -> Table:
    chosen = [slot for slot in slots if slot.grid == "checkpoints"]
    base = {(slot.prompt, slot.seed): slot for slot in slots if not slot.strength}
    of_columns = sorted(
        _once(slot.file for slot in chosen), key=lambda file: (file not in files.steps, files.step_of.get(file, 0), file)
    )
    keys = _once((slot.prompt, slot.seed) for slot in chosen)
    with_base = any(key in base for key in keys)
    rows = []
    for prompt, seed in keys:
        of = {slot.file: slot for slot in chosen if (slot.prompt, slot.seed) == (prompt, seed)}
        first = (_tile(base.get((prompt, seed))),) if with_base else ()
        rows.append(Row(f"seed {seed}  {prompt}", (*first, *(_tile(of.get(file)) for file in of_columns))))
    return Table((*(("the base",) if with_base else ()), *map(files.words, of_columns)), tuple(rows))


def _title(slot: Slot, among: Sequence[Slot], files: LoraFiles) -> str:
    """Seed and prompt, and the file if there are several."""
    several = len({other.file for other in among}) > 1
    return f"seed {slot.seed}  {slot.prompt}" + (f"  {files.words(slot.file)}" if several else "")


def _tile(slot: Slot | None) -> Tile | None:
    return None if slot is None else Tile(slot)


def _once(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _place(slot: Slot) -> tuple[str, str, int, str, float]:
    return slot.grid, slot.prompt, slot.seed, slot.file, slot.strength


def _slot(row: object) -> Slot | None:
    if not isinstance(row, dict):
        return None
    texts = [row.get(name) for name in ("grid", "prompt", "file", "path")]
    seed, strength = row.get("seed"), finite(row.get("strength"))
    if not all(isinstance(text, str) for text in texts) or not isinstance(seed, int) or strength is None:
        return None
    grid, prompt, file, path = (str(text) for text in texts)
    if leads_out(file) or leads_out(path):
        return None
    return Slot(grid, prompt, seed, file, strength, path)


def training_paths(ledger: Path) -> Mapping[str, Path]:
    """The file of each training image, by its path in the dataset; empty if the ledger is unusable."""
    try:
        images = sealed.read(ledger, ledger.parent, LIST_FILE_BYTES)["images"]
        rows = [(image["relative"], image["path"]) for image in images]
    except (OSError, TypeError, KeyError):
        return {}
    return {relative: ledger.parent / path for relative, path in rows if isinstance(relative, str) and isinstance(path, str)}
