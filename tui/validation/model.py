"""The validation of one run: its images, how long they take, and what the person noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.errors import LoratuiError
from loratui.engine.proof import notes
from loratui.engine.proof.judgement import Advice, Judgement, Measures, read_measures
from loratui.engine.proof.notes import Checklist
from loratui.engine.proof.told import Row
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import lora_files, lora_paths
from loratui.engine.runs.state import RunState
from loratui.presets.schema import SchemaError, Settings
from loratui.tui.validation import grid_images
from loratui.tui.validation.grid_images import Slot, Subject, Tile
from loratui.tui.validation.verdict_words import is_for_the_person

if TYPE_CHECKING:
    from loratui.engine.runs.lora_files import LoraFiles
    from loratui.engine.runs.records import Image
    from loratui.engine.runs.summary import RunSummary


@dataclass(frozen=True, slots=True)
class GridList:
    """The list of validation images, with what else the screens need from the run."""

    stamp: tuple[int, ...]
    """Times of change and sizes of the list and of the measures."""
    slots: list[Slot]
    training: Mapping[str, Path]
    """The file of each training image, by its path in the dataset."""
    files: LoraFiles
    measures: Measures
    """What was measured, and judged of it."""


class ValidationModel:
    """What the screens of a validation show; they change only the person's notes."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.settings = read_settings(run)
        dataset = self.settings.dataset
        self.subject = Subject(dataset.trigger, dataset.class_word, self.settings.validation.likely_strength)
        self._checklist_path = run.validation / "checklist.json"
        self.kept = notes.read_checklist(self._checklist_path)
        """What the person noted."""
        self.slots: list[Slot] = []
        """All images, made or not yet."""
        self.training: Mapping[str, Path] = {}
        self.state = RunState()
        """Of the validation's log."""
        self.summary: RunSummary | None = None
        """None until it was read."""
        self.stopping = False
        """Whether the job was asked to stop, and still runs."""
        self._listed: list[Slot] = []
        self._stamp: tuple[int, ...] | None = None
        self.measured: Mapping[str, Sequence[Row]] = {}
        """What was measured for each part."""
        self.judgement: Judgement | None = None
        """What is to be said of it; None before."""
        self._measures = Measures()

    # What can be done

    @property
    def has_file(self) -> bool:
        """Whether the run has written a LoRA file."""
        return bool(lora_paths(self.run))

    @property
    def making(self) -> bool:
        """Whether images are being made."""
        return self.summary is not None and self.summary.active and self.summary.job == "validate"

    @property
    def can_make(self) -> bool:
        """Images are made from a file, and by one job at a time."""
        return self.summary is not None and not self.summary.active and self.has_file

    @property
    def can_take_newest(self) -> bool:
        """Whether the run still trains, and has a file that can be validated beside it."""
        return self.summary is not None and self.summary.active and self.summary.job == "train" and self.has_file

    @property
    def can_go_on(self) -> bool:
        """Whether some images are not made yet."""
        return self.can_make and any(not slot.made for slot in self.slots)

    @property
    def can_stop(self) -> bool:
        """Whether images are being made, and no stop was requested."""
        return self.making and not self.stopping

    def can_apply(self, advice: Advice) -> bool:
        """Whether a program can carry an advice out; the plan of another run waits until nothing works on this one."""
        at_rest = self.summary is not None and not self.summary.active
        return advice.do.use is not None or (at_rest and not is_for_the_person(advice))

    @property
    def first_to_apply(self) -> Advice | None:
        """The first advice that a program can carry out now."""
        return next((one for one in self.judgement.advice if self.can_apply(one)), None) if self.judgement else None

    # What the person noted

    def keep(self, change: Callable[[Checklist], Checklist]) -> str:
        """Changes what the person noted, and writes it. Returns what failed, else an empty text."""
        try:
            self.kept = notes.update(self._checklist_path, change)
        except LoratuiError as error:
            return str(error)
        self.judgement = self._measures.judge(self.kept)
        return ""

    # The images

    @property
    def image_s(self) -> float | None:
        """Seconds for an image, measured in the validation, else with the samples in training; None if not measured."""
        return self.state.image_s or (self.summary.state.image_s if self.summary else None)

    def read_list(self) -> GridList | None:
        """The list of images, and the rest of the run once; None if nothing is new. To be called in a thread."""
        path, measures = self.run.validation / "grid.json", self.run.validation / "measures.json"
        stamp = (*_stamp(path), *_stamp(measures))
        if stamp == self._stamp:
            return None
        first = self._stamp is None
        training = grid_images.training_paths(self.run.dataset) if first else self.training
        files = lora_files(self.run, self.settings)
        return GridList(stamp, grid_images.read_listed(path), training, files, read_measures(self.run, self.settings))

    def take_list(self, found: GridList) -> None:
        """Takes in what `read_list` found."""
        self._stamp, self._listed, self.training = found.stamp, found.slots, found.training
        self._measures = found.measures
        self.measured = {part["id"]: part["measures"] for part in found.measures.parts}
        self.judgement = found.measures.judge(self.kept)
        self.subject = replace(self.subject, files=found.files)

    def merge(self, made: Iterable[Image]) -> None:
        """Joins the list and the images in the log."""
        self.slots = [slot for slot in grid_images.merged(self._listed, made) if self.run.file(slot.path)]

    def path_of(self, tile: Tile) -> Path | None:
        """The file of an image; None if there is none yet."""
        if tile.training:
            return self.training.get(tile.slot.nearest)
        return self.run.file(tile.slot.path) if tile.slot.made else None

    def title_of(self, tile: Tile) -> str:
        """What an image is, in words."""
        slot = tile.slot
        if tile.training:
            return f"training image {slot.nearest}"
        return "the base alone" if not slot.strength else f"{self.subject.files.words(slot.file)}, strength {slot.strength:g}"

    def about(self, tile: Tile) -> str:
        """The rest about an image."""
        slot = tile.slot
        about = f"{slot.prompt}, seed {slot.seed}"
        if not slot.made:
            return f"{about}: not made yet"
        if not slot.nearest:
            return about
        figure = f" ({slot.similarity:.2f})" if slot.similarity is not None else ""
        return f"{about}; {grid_images.likeness(slot.similarity).word} {slot.nearest}{figure}"

    def words_below(self, tile: Tile) -> str:
        """The words below an image in the table."""
        slot = tile.slot
        if tile.training:
            return slot.nearest
        if not slot.made:
            return "not made yet"
        short = grid_images.likeness(slot.similarity).short
        return f"{slot.similarity:.2f} {short}" if slot.similarity is not None else slot.prompt

    def mark_of(self, file: str) -> str:
        """Stars of a file and the sign of the chosen one, to follow its name."""
        rating = self.kept.mark(file).rating
        return (f" {'★' * rating}" if rating else "") + (" ◆" if file and file == self.kept.chosen else "")


def _stamp(path: Path) -> tuple[int, int]:
    """Time of change and size of a file; zeros without one."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_settings(run: RunDirectory) -> Settings:
    """The settings of a run; the defaults where they cannot be read."""
    from loratui.engine.planning.recipe import read_recipe

    try:
        return read_recipe(run.effective).settings
    except SchemaError:
        return Settings()
