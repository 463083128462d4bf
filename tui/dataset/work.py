"""What the data-set step does beside the screen: reading the folder, checking it, and measuring its pixels, each in a thread."""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from loratui.tui.paths import path_from_text
from loratui.tui.wizard.draft import CHOICES
from loratui.tui.wizard.steps import StepScreen

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
_TURNS_S = 0.0005
"""After this time a thread that counts gives way to the screen; a key needs several turns until it is seen."""
_PAUSE_S = 0.15
"""Choices that follow each other faster than this are checked together."""


@dataclass
class FolderRead(Message):
    """A folder or zip was read, or could not be."""

    typed: str
    prepared: DatasetEdits | None
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


class DatasetWork(StepScreen):
    """The threads of the data-set step. Their results come as messages; what was chosen lies in the app's draft."""

    def __init__(self) -> None:
        super().__init__()
        self.judgement: Judgement | None = None
        """What the checks said last; None until they have."""
        self.measuring: tuple[int, int] | None = None
        """Images measured, and all that are to be; None while nothing is measured."""
        self._judge_runs = False
        self._judge_again = False
        self._judged_at = 0.0
        self._judge_took_s = 0.0
        self._stop_measuring = threading.Event()
        self._turns_before_s = sys.getswitchinterval()

    @property
    def prepared(self) -> DatasetEdits | None:
        """The folder and what was chosen for it."""
        return self.loratui.draft.preparation

    def choose(self, prepared: DatasetEdits) -> None:
        """Takes other choices in and has them checked."""
        self.loratui.draft = self.loratui.draft.with_preparation(prepared)
        self.prepared_changed()
        self.judge_soon()

    def prepared_changed(self) -> None:
        """The choices or the measures are others: what is shown follows."""

    def progress_changed(self) -> None:
        """The deep check came further; what it found is shown after the next checks."""

    # Reading

    @work(thread=True, exclusive=True, group="scan", description="read the folder")
    def read_folder(self, typed: str, kept: str) -> None:
        """Reads a folder or unpacks a zip, and posts `FolderRead`. `kept` are choices of an earlier time."""
        from loratui.engine.errors import LoratuiError

        folder = path_from_text(typed)
        assert folder is not None
        try:
            prepared = opened(typed, folder, self.loratui.home).with_json(kept)
            message = FolderRead(typed, prepared)
        except LoratuiError as error:
            message = FolderRead(typed, None, error.message, error.remedy)
        except OSError as error:
            message = FolderRead(typed, None, f"{folder}: {error.strerror}")
        except ValueError:
            message = FolderRead(typed, None, "This is no path.", "Type the path of a folder.")
        if message.prepared is not None and len(message.prepared.scan.images) > _MANY:
            # Else the collector of cycles walks over all of them again and again, and every key waits for it.
            gc.freeze()
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    # Checking

    def judge_soon(self) -> None:
        """Has the set checked, once however often it is asked for in a moment."""
        self.set_timer(_PAUSE_S, self._judge_now)

    def _judge_now(self) -> None:
        prepared, recipe = self.prepared, self.loratui.draft.recipe
        if prepared is None or recipe is None:
            return
        if self._judge_runs:
            self._judge_again = True
            return
        self._judge_runs, self._judge_again = True, False
        self._judged_at = time.monotonic()
        self._judge(prepared, recipe)

    @work(thread=True, group="judge", description="check the images")
    def _judge(self, prepared: DatasetEdits, recipe: Recipe) -> None:
        from loratui.engine.planning.preflight import token_counter
        from loratui.tui.dataset.judging import judge

        began = time.monotonic()
        judgement = judge(prepared, recipe, token_counter(recipe.settings))
        self.post_message(Judged(judgement, time.monotonic() - began))

    def on_judged(self, message: Judged) -> None:
        """Takes the findings in, and checks again if something was chosen meanwhile."""
        message.stop()
        self.judgement = message.judgement
        self._judge_runs, self._judge_took_s = False, message.seconds
        prepared = self.prepared
        if prepared is not None and not message.judgement.damaged.keys() <= prepared.damaged.keys():
            known = {name: why for name, why in message.judgement.damaged.items() if name in prepared.names}
            self.loratui.draft = self.loratui.draft.with_preparation(prepared.with_measured({}, known))
        if self._judge_again:
            self._judge_now()
        self.prepared_changed()

    # Measuring

    def measure(self, faces: bool = False) -> None:
        """Begins or goes on with the deep check of what was not measured yet; with `faces` also of what was measured
        without looking for them."""
        prepared = self.prepared
        if prepared is None or self.measuring is not None:
            return
        waiting = [image for image in prepared.scan.images if _is_to_be_measured(image.relative, prepared, faces)]
        self._stop_measuring = threading.Event()
        total = len(prepared.scan.images)
        self.measuring = (total - len(waiting), total)
        self._measure(prepared.root, waiting, total, self.loratui.draft.value("dataset.resolution"), self._stop_measuring)
        self.prepared_changed()

    def stop_measuring(self) -> None:
        """Ends the deep check; what it found stays."""
        self._stop_measuring.set()

    def on_mount(self) -> None:
        """Lets the screen have its turn more often than Python's threads do by themselves."""
        self._turns_before_s = sys.getswitchinterval()
        sys.setswitchinterval(_TURNS_S)

    def on_unmount(self) -> None:
        """The deep check ends with the step: its figures stay in the draft, and it can go on later."""
        sys.setswitchinterval(self._turns_before_s)
        self._stop_measuring.set()

    @work(thread=True, exclusive=True, group="measure", description="measure the images")
    def _measure(self, root: Path, waiting: Sequence[ImageEntry], total: int, resolution: int, stop: threading.Event) -> None:
        from loratui.engine.dataset import yunet
        from loratui.engine.dataset.deep import measure_all
        from loratui.engine.dataset.facts import ImageFacts

        facts: dict[str, ImageFacts] = {}
        damaged: dict[str, str] = {}
        told, done = time.monotonic(), total - len(waiting)

        def tell(ended: bool = False) -> None:
            nonlocal told
            told = time.monotonic()
            self.post_message(Measured(root, dict(facts), dict(damaged), done, total, ended))
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
                tell()

        worker = get_current_worker()
        try:
            detector = yunet.detector_name(self.loratui.home)
            measure_all(
                waiting,
                resolution,
                detector=detector,
                found=found,
                cancelled=lambda: stop.is_set() or worker.is_cancelled,
            )
        finally:
            tell(ended=True)

    @work(thread=True, exclusive=True, group="detector", description="fetch the face detector")
    def fetch_detector(self) -> None:
        """Brings the face detector here unless it is, and posts `DetectorHere`."""
        from loratui.engine.dataset import yunet
        from loratui.engine.errors import LoratuiError

        try:
            yunet.fetch_weights(self.loratui.home)
            message = DetectorHere()
        except LoratuiError as error:
            message = DetectorHere(str(error))
        self.post_message(message)

    def on_detector_here(self, message: DetectorHere) -> None:
        """Looks for faces, or says why not."""
        message.stop()
        if message.problem:
            self.loratui.tell(message.problem, "warning")
        else:
            self.measure(faces=True)

    def on_measured(self, message: Measured) -> None:
        """Takes the measures in; the checks follow, but take no more than a fifth of the time."""
        message.stop()
        if message.ended:
            self.measuring = None
        elif self.measuring is not None:
            self.measuring = (message.done, message.total)
        prepared = self.prepared
        if prepared is None or prepared.root != message.root:
            return
        after = prepared.with_measured(message.facts, message.damaged)
        self.loratui.draft = dataclasses.replace(self.loratui.draft, preparation=after)
        if message.damaged or message.ended:
            self.prepared_changed()
        else:
            self.progress_changed()
        if message.ended or time.monotonic() - self._judged_at > max(2.0, 5 * self._judge_took_s):
            self.judge_soon()


def _is_to_be_measured(name: str, prepared: DatasetEdits, faces: bool) -> bool:
    facts = prepared.facts.get(name)
    return name not in prepared.damaged and (facts is None or (faces and facts.faces is None))


def opened(typed: str, folder: Path, home: Path) -> DatasetEdits:
    """The folder as read; a zip is unpacked below `home` once, a prepared copy leads back to the folder it was made of.

    Raises `LoratuiError` for what cannot be trained on, and `OSError`.
    """
    from loratui.engine.dataset import archives
    from loratui.engine.dataset.prepared_copy import read_history
    from loratui.engine.dataset.scan import scan
    from loratui.engine.dataset.similar import copies
    from loratui.tui.dataset.edits import Choices, DatasetEdits

    if archives.is_archive(folder):
        folder = archives.unpack_once(folder, home / "datasets")
    history = read_history(folder)
    if history is not None and history.source.is_dir():
        found = scan(history.source)
        kept = tuple(remedy for remedy in history.remedies)
        prepared = DatasetEdits(str(history.source), found, Choices(kept), same_bytes=copies(found.images))
        captions = {} if os.access(history.source, os.W_OK) else _captions_of_copy(folder, history.sources, prepared)
        return dataclasses.replace(prepared, copied_captions=captions, copied=scan(folder))
    found = scan(folder)
    return DatasetEdits(typed, found, same_bytes=copies(found.images))


def _captions_of_copy(copy: Path, sources: Mapping[str, str], prepared: DatasetEdits) -> dict[str, str]:
    """Captions that a copy of a read-only folder has instead of the folder's own."""
    from loratui.engine.dataset.scan import scan

    flattened = {remedy.relative for remedy in prepared.chosen.remedies if remedy.kind == "flatten"}
    found = {sources.get(image.relative, ""): image.caption or "" for image in scan(copy).images}
    return {
        name: caption
        for name, caption in found.items()
        if name in prepared.names and name not in flattened and caption != (prepared.names[name].caption or "")
    }


def kept_choices(typed: Mapping[str, str]) -> str:
    """The choices that a draft on disk had; empty if it had none."""
    return typed.get(CHOICES, "")
