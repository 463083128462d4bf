"""What the dataset step does in threads, and the messages in which it tells the outcome. Nothing here touches a screen."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.paths import path_from_text

if TYPE_CHECKING:
    from loratui.engine.dataset.facts import ImageFacts
    from loratui.engine.dataset.scan import ImageEntry
    from loratui.engine.planning.recipe import Recipe
    from loratui.tui.dataset.edits import DatasetEdits
    from loratui.tui.dataset.judging import Judgement

_TELL_EVERY_S = 0.7
"""Least time between two reports of the deep check: each makes the screen say something new."""
_MANY = 1000
"""Images of a large set."""


@dataclass
class FolderRead(Message):
    """A folder or zip was read, or could not be."""

    typed: str
    edits: DatasetEdits | None
    problem: str = ""
    remedy: str = ""


@dataclass
class Judged(Message):
    """The checks are done."""

    judgement: Judgement
    seconds: float


@dataclass
class Measured(Message):
    """The deep check came further, or has ended."""

    root: Path
    facts: Mapping[str, ImageFacts]
    """What is new since the last message."""
    damaged: Mapping[str, str]
    done: int
    total: int
    ended: bool = False


@dataclass
class DetectorHere(Message):
    """The face detector can be used, or cannot be had."""

    problem: str = ""


@dataclass
class CaptionsSaved(Message):
    """Captions were written, or could not be."""

    taken_in: Callable[[DatasetEdits], DatasetEdits] | None
    """What follows for the choices; None if nothing was written."""
    words: str


def read_folder(typed: str, kept: str, home: Path) -> FolderRead:
    """Reads a folder or unpacks a zip. `kept` are choices of an earlier time, as text."""
    folder = path_from_text(typed)
    assert folder is not None
    try:
        edits = _opened(typed, folder, home).with_json(kept)
    except LoratuiError as error:
        return FolderRead(typed, None, error.message, error.remedy)
    except OSError as error:
        return FolderRead(typed, None, f"{folder}: {error.strerror}")
    except ValueError:
        return FolderRead(typed, None, "This is not a path.", "Type the path of a folder.")
    if len(edits.scan.images) > _MANY:
        # Else the collector of cycles walks over all of them again and again, and every key waits for it.
        gc.freeze()
    return FolderRead(typed, edits)


def judge(edits: DatasetEdits, recipe: Recipe, home: Path) -> Judged:
    """Runs the checks."""
    from loratui.engine.dataset.implications import implications
    from loratui.engine.planning.preflight import token_counter
    from loratui.tui.dataset.judging import judge

    began = time.monotonic()
    return Judged(judge(edits, recipe, token_counter(recipe.settings), implications(home)[0]), time.monotonic() - began)


def measure(
    edits: DatasetEdits,
    waiting: Sequence[ImageEntry],
    resolution: int,
    home: Path,
    tell: Callable[[Measured], object],
    cancelled: Callable[[], bool],
) -> None:
    """Looks at every pixel of the images that wait, and tells of it every now and then and at the end."""
    from loratui.engine.dataset import yunet
    from loratui.engine.dataset.deep import measure_all
    from loratui.engine.dataset.facts import ImageFacts

    facts: dict[str, ImageFacts] = {}
    damaged: dict[str, str] = {}
    total = len(edits.scan.images)
    told, done = time.monotonic(), total - len(waiting)

    def report(ended: bool = False) -> None:
        nonlocal told
        told = time.monotonic()
        tell(Measured(edits.root, dict(facts), dict(damaged), done, total, ended))
        facts.clear()
        damaged.clear()

    def found(relative: str, answer: ImageFacts | str) -> None:
        nonlocal done
        done += 1
        if isinstance(answer, ImageFacts):
            facts[relative] = answer
        else:
            damaged[relative] = answer
        if time.monotonic() - told >= _TELL_EVERY_S:
            report()

    try:
        measure_all(waiting, resolution, detector=yunet.detector_name(home), found=found, cancelled=cancelled)
    finally:
        report(ended=True)


def fetch_detector(home: Path) -> DetectorHere:
    """Brings the face detector here unless it is."""
    from loratui.engine.dataset import yunet

    try:
        yunet.fetch_weights(home)
    except LoratuiError as error:
        return DetectorHere(str(error))
    return DetectorHere()


def save_captions(edits: DatasetEdits, home: Path) -> CaptionsSaved:
    """Writes the edited captions: beside the images, or into the prepared copy where that folder cannot be written."""
    from loratui.engine.dataset import caption_store

    try:
        return _saved_beside(edits) if caption_store.is_writable(edits.scan) else _saved_in_copy(edits, home)
    except LoratuiError as error:
        return CaptionsSaved(None, str(error))


def _saved_beside(edits: DatasetEdits) -> CaptionsSaved:
    from loratui.engine.dataset import caption_store
    from loratui.engine.dataset.scan import scan

    written = caption_store.save(edits.scan, dict(edits.chosen.captions))
    found = scan(edits.root)
    words = f"{text.count(written.written, 'caption')} saved in {edits.root}; the old ones are kept in {written.kept}."
    return CaptionsSaved(lambda now: now.saved_beside(found), words)


def _saved_in_copy(edits: DatasetEdits, home: Path) -> CaptionsSaved:
    from loratui.engine.dataset.prepared_copy import copy_below
    from loratui.engine.dataset.scan import scan

    texts, chosen = dict(edits.chosen.captions), edits.chosen.remedies
    after = edits.saved_for_copy(texts)
    copy = scan(copy_below(home / "datasets", after.sound, chosen, captions=after.copied_captions))

    def taken_in(now: DatasetEdits) -> DatasetEdits:
        saved = now.saved_for_copy(texts)
        return saved.with_copy(copy) if saved.chosen.remedies == chosen else saved

    words = f"{edits.root} cannot be written, so {text.count(len(texts), 'caption')} saved in a copy: {copy.root}."
    return CaptionsSaved(taken_in, words)


def _opened(typed: str, folder: Path, home: Path) -> DatasetEdits:
    """The folder as read; a zip is unpacked below `home` once, a list of folders gathered, a prepared copy leads back to the folder it was made of.

    Raises `LoratuiError` for what cannot be trained on, and `OSError`.
    """
    from loratui.engine.dataset import gathered
    from loratui.engine.dataset.prepared_copy import read_history
    from loratui.engine.dataset.scan import scan
    from loratui.engine.dataset.similar import copies
    from loratui.tui.dataset.edits import Choices, DatasetEdits

    folder = gathered.opened(folder, home / "datasets")
    history = read_history(folder)
    if history is not None and history.source.is_dir():
        found = scan(history.source)
        edits = DatasetEdits(str(history.source), found, Choices(history.remedies), same_bytes=copies(found.images))
        captions = {} if os.access(history.source, os.W_OK) else _captions_of_copy(folder, history.sources, edits)
        return dataclasses.replace(edits, copied_captions=captions, copied=scan(folder))
    found = scan(folder)
    return DatasetEdits(typed, found, same_bytes=copies(found.images))


def _captions_of_copy(copy: Path, sources: Mapping[str, str], edits: DatasetEdits) -> dict[str, str]:
    """Captions that a copy of a read-only folder has instead of the folder's own."""
    from loratui.engine.dataset.scan import scan

    flattened = {remedy.relative for remedy in edits.chosen.remedies if remedy.kind == "flatten"}
    found = {sources.get(image.relative, ""): image.caption or "" for image in scan(copy).images}
    return {
        name: caption
        for name, caption in found.items()
        if name in edits.names and name not in flattened and caption != (edits.names[name].caption or "")
    }
