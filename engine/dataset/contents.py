"""What a folder of training images holds, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from loratui.engine.dataset import decoding
from loratui.engine.findings import Finding
from loratui.presets.schema import Dataset


@dataclass(frozen=True)
class MaskFile:
    """A file that says which parts of an image matter."""

    kind: str
    """The value of `dataset.masks` that uses it: `folder`, `person` or `face`."""
    path: Path
    width: int
    """px, after rotation by EXIF; so is `height`."""
    height: int
    problem: str = ""
    """Why it cannot be read; continues its name to a sentence."""


@dataclass(frozen=True)
class ImageEntry:
    """One image to train on."""

    path: Path
    relative: str
    """Path within the folder, with `/`."""
    width: int
    """px, after rotation by EXIF; so is `height`."""
    height: int
    format: str
    caption: str | None
    """Text of its caption file, its lines parted by line ends; None where there is none or it is empty."""
    caption_path: Path | None
    concept: str
    """Words behind the number of its `N_token class` folder, or the name of its folder where several without numbers are
    read; empty in a plain folder."""
    folder_repeats: int | None
    """The N of its folder's name."""
    regularisation: bool
    bytes: int
    traits: decoding.Traits = decoding.Traits()
    made: bool = False
    """Whether the base makes it before training; its file is not there before."""
    held_out: bool = False
    """Whether the recipe keeps it out of the training (`held_out.with_held_out`)."""
    caption_encoding: str = "utf-8"
    """How the bytes of its caption file were read: see `captions.Decoded`."""
    apart: bool = False
    """Whether each line of its caption is a caption of its own, whatever the recipe says: they come from several files, or from a list."""
    further: tuple[Path, ...] = ()
    """Its caption files beside `caption_path`, such as `a.2.txt`, with one caption each."""
    caption_list: str = ""
    """Path within the folder of the list that its caption comes from, such as `metadata.jsonl`; empty for caption files."""
    masks: tuple[MaskFile, ...] = ()
    """The files with its masks (`mask_files`), one of a kind, whether the recipe uses it or not."""

    def with_caption(self, text: str) -> ImageEntry:
        """The same image with another caption, which is in no file yet. `dataclasses.replace` takes ten times as long, and an undo
        makes one for each of 10 000 images while a person waits."""
        other = object.__new__(ImageEntry)
        other.__dict__.update(self.__dict__, caption=text or None, caption_encoding="utf-8")
        return other

    def mask(self, kind: str) -> MaskFile | None:
        """Its mask of a kind, if there is one that can be read."""
        return next((mask for mask in self.masks if mask.kind == kind and not mask.problem), None)

    @property
    def modified_ns(self) -> int:
        """When its file was changed; 0 once it is gone."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def caption_file(self) -> str:
        """Path of its caption file within the folder; empty without one."""
        return str(PurePosixPath(self.relative).parent / self.caption_path.name) if self.caption_path else ""


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not trained on, and why: `reason` continues its name to a sentence."""

    path: Path
    relative: str
    reason: str
    image: bool
    """Whether it looked like an image, so that its loss matters."""


@dataclass(frozen=True)
class Concept:
    """One subject of the set: the images of a folder, or all of a plain folder."""

    name: str
    folder: str
    images: int
    folder_repeats: int | None
    regularisation: bool


@dataclass(frozen=True)
class DatasetScan:
    """What a folder holds."""

    root: Path
    images: tuple[ImageEntry, ...]
    """In the order of their relative paths, regularisation images among them; those that are held out come last."""
    left_out: tuple[LeftOut, ...]
    concepts: tuple[Concept, ...]
    notes: tuple[Finding, ...]
    """What a person should know, as far as reading the folder tells it."""

    @cached_property
    def training(self) -> tuple[ImageEntry, ...]:
        """The images of the subject that are trained on, without regularisation."""
        return tuple(image for image in self.images if not (image.regularisation or image.held_out))

    @cached_property
    def held_out(self) -> tuple[ImageEntry, ...]:
        """The images of the subject that are kept out of the training."""
        return tuple(image for image in self.images if image.held_out)

    @cached_property
    def regularisation(self) -> tuple[ImageEntry, ...]:
        """The images that only remind the base of the class."""
        return tuple(image for image in self.images if image.regularisation)

    @property
    def several_concepts(self) -> bool:
        """Whether more than one subject is taught."""
        return len({concept.name for concept in self.concepts if not concept.regularisation}) > 1

    def own_words(self, image: ImageEntry) -> tuple[str, str] | None:
        """Trigger and class word of an image's own folder, if there are several `N_token class` folders."""
        if not self.several_concepts or image.folder_repeats is None:
            return None
        trigger, _, class_word = image.concept.partition(" ")
        return trigger, class_word.strip()

    def words_by_folder(self, dataset: Dataset) -> dict[str, str]:
        """Settings by dotted key that the name of the only `N_token class` folder gives, where no trigger was given."""
        subjects = {concept.name for concept in self.concepts if not concept.regularisation}
        trigger, _, class_word = (subjects.pop() if len(subjects) == 1 else "").partition(" ")
        if dataset.trigger or not trigger:
            return {}
        return {"dataset.trigger": trigger, "dataset.class_word": dataset.class_word or class_word.strip()}


def without(found: DatasetScan, reasons: dict[str, str]) -> DatasetScan:
    """`found` with the images at these relative paths left out, each with its reason."""
    if not reasons:
        return found
    gone = tuple(
        LeftOut(image.path, image.relative, reasons[image.relative], image=True)
        for image in found.images
        if image.relative in reasons
    )
    kept = tuple(image for image in found.images if image.relative not in reasons)
    left_out = tuple(sorted((*found.left_out, *gone), key=lambda item: item.relative))
    return dataclasses.replace(found, images=kept, left_out=left_out, concepts=concepts_of(kept))


def concepts_of(images: Sequence[ImageEntry]) -> tuple[Concept, ...]:
    """The concepts of images: one for each folder, the subject's before regularisation. What is held out counts for none."""
    groups: dict[tuple[bool, str, str], list[ImageEntry]] = {}
    for image in images:
        if image.held_out:
            continue
        folder = image.relative.rpartition("/")[0]
        groups.setdefault((image.regularisation, folder, image.concept), []).append(image)
    return tuple(
        Concept(concept, folder, len(members), members[0].folder_repeats, regularisation)
        for (regularisation, folder, concept), members in sorted(groups.items())
    )
