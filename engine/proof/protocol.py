"""What a measure of the validation images takes and gives."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from loratui.engine.proof.losses import Losses
from loratui.engine.proof.pixels import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_PHOTOS = 4
"""Photos that differ from which their natural range is read; fewer have none."""
LOWEST, HIGHEST = 0.05, 0.95
"""Quantiles that bound a natural range."""
CLEARLY = 0.01
"""Nearness by which an image must pass the photos' own to count as above it."""

Key = tuple[str, int]
"""Prompt and seed: what an image of the LoRA and an image of the base have in common."""


@dataclass(frozen=True, slots=True)
class Faces:
    """What a face reader found in one image."""

    count: int
    embedding: tuple[float, ...] = ()
    """Of length 1; empty unless there is exactly one face."""


@dataclass(frozen=True, slots=True)
class Near:
    """A photo and how near it is, where 1 is the same."""

    photo: str
    value: float
    sure: bool = False
    """Whether it is nearly the same image, whatever the photos are like among themselves."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of the validation and what was read from it; None for what could not be read."""

    path: str
    """Relative to the run."""
    prompt: str
    seed: int
    file: str
    """LoRA file; empty for the base alone."""
    strength: float
    grid: str = "strengths"
    alone: bool = False
    """Whether the prompt is the trigger alone."""
    pixels: Pixels | None = None
    faces: Faces | None = None
    layout: Near | None = None
    fits: float | None = None
    """How well it fits its prompt, by an image–text model."""
    thing: tuple[float, ...] = ()
    """What an image model says of it, of length 1; empty if there is none."""
    never: bool = False
    """Whether its prompt asks for something that the photos never show."""
    shows: bool | None = None
    """Whether it shows that; None where nothing can read it."""

    @property
    def key(self) -> Key:
        """What it shares with the base's image."""
        return self.prompt, self.seed


class Part(NamedTuple):
    """A part of a photo."""

    hash: int
    """64-bit perceptual hash."""
    thumbnail: bytes
    """8 × 8 pixels of RGB, row by row."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A training image and what was read from it."""

    name: str
    """Path in the dataset."""
    pixels: Pixels | None = None
    parts: tuple[Part, ...] = ()
    """Of it, also mirrored, the largest first; see `hashes.parts_of`."""
    faces: Faces | None = None
    layouts: tuple[Near, ...] = ()
    """The photos with the nearest layouts, nearest first."""
    texts: tuple[str, ...] = ()
    """Its captions, as the model reads them."""
    thing: tuple[float, ...] = ()
    """As `Shot.thing`."""


@dataclass(frozen=True)
class References:
    """What the images are compared with."""

    base: Mapping[Key, Shot] = field(default_factory=dict)
    photos: tuple[Photo, ...] = ()
    """The photos that can be read."""
    likenesses: tuple[Sequence[str], ...] = ()
    """Groups of photos that show nearly the same."""
    no_photos: str = ""
    """Why there are no photos, or why some are missing."""
    no_faces: str = ""
    """Why faces are not read; empty where they are."""
    no_layouts: str = ""
    """Why layouts are not compared."""
    no_texts: str = ""
    """Why images are not compared with their prompts."""
    no_things: str = ""
    """Why images are not compared as things and styles."""
    class_word: str = ""
    """The general noun for the subject."""
    losses: Losses = Losses()
    trigger: str = ""
    """The word that the captions should have."""
    never: tuple[str, ...] = ()
    """Prompts that ask for what the photos never show."""
    same_face: float | None = None
    """Similarity from which the makers of the face model call two faces the same."""

    def distinct(self) -> list[Photo]:
        """The photos without near-duplicates: one of each group."""
        dropped = {name for group in self.likenesses for name in group[1:]}
        return [photo for photo in self.photos if photo.name not in dropped]


@dataclass(frozen=True, slots=True)
class Value:
    """What a measure says about some images."""

    value: float | None = None
    """None: unknown, for the reason in `unknown`."""
    spread: float | None = None
    """Standard deviation over the seeds; None with one seed."""
    base: float | None = None
    """The same of the base's images, of the same prompts and seeds where they are compared one by one."""
    range: tuple[float, float] | None = None
    """What is natural: what the photos have among themselves."""
    figure: str = ""
    """The figure in words."""
    means: str = ""
    """What it says, in plain words."""
    unknown: str = ""
    """Why the value, or what it is compared with, is not known."""
    images: Mapping[str, float] = field(default_factory=dict)
    """The value of each image, by its path."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What only this measure has."""

    @classmethod
    def not_known(cls, why: str) -> Value:
        """No value, and the reason."""
        return cls(unknown=why)


class FaceReader(Protocol):
    """Finds faces and describes each by a vector; the one place where a face model is asked."""

    @property
    def id(self) -> str:
        """Model and version: its readings are kept under it."""

    @property
    def title(self) -> str:
        """The model and its licence, in words."""

    @property
    def same_face(self) -> float:
        """Similarity from which its makers call two faces the same, as 1 − d² / 2."""

    def read(self, image: Image) -> Faces:
        """The faces in an upright RGB image. Raises `FaceError` where the model fails on it."""


class ImageReader(Protocol):
    """Describes a whole image by a vector."""

    @property
    def id(self) -> str:
        """Model and version: its readings are kept under it."""

    def read(self, image: Image) -> tuple[float, ...]:
        """Of length 1, of an upright RGB image. Raises `EmbeddingError` where the model fails on it."""


class TextReader(ImageReader, Protocol):
    """Describes images and texts by vectors that can be compared."""

    def text(self, words: str) -> tuple[float, ...]:
        """Of length 1. Raises `EmbeddingError`."""


class EmbeddingError(ValueError):
    """A model failed on an image or a text."""


class AttributeReader(Protocol):
    """Says what an image shows."""

    @property
    def id(self) -> str:
        """Reader and version: its readings are kept under it."""

    def attributes(self, image: Image) -> Mapping[str, str]:
        """The value of each feature in an upright RGB image."""


class FaceError(ValueError):
    """A face model failed on an image."""


class Measure(Protocol):
    """Something that can be measured of images, as a module has it."""

    @property
    def id(self) -> str:
        """Its name in `--json`."""

    @property
    def title(self) -> str:
        """Its name on screens."""

    @property
    def unit(self) -> str:
        """Of the value."""

    @property
    def about(self) -> str:
        """What it measures, and what it means."""

    @property
    def limits(self) -> str:
        """What it does not see."""

    def needs(self, references: References) -> str:
        """What it needs and lacks, in words; empty where all is there."""

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The value of images of one file at one strength."""


def measured(measure: Measure, images: Sequence[Shot], references: References) -> Value:
    """What a measure says of images; unknown where it lacks something or there is no image. Figures that are not finite are none."""
    if not images:
        return Value.not_known("There are no images of it.")
    if lacking := measure.needs(references):
        return Value.not_known(lacking)
    found = measure.of(images, references)
    if found.value is not None and not math.isfinite(found.value):
        return Value.not_known("The figures are no numbers.")
    return found


def by_seed(images: Iterable[tuple[Shot, float]]) -> tuple[float, float | None]:
    """The mean of the images' values, and the spread of the seeds' means."""
    seeds: dict[int, list[float]] = defaultdict(list)
    for shot, value in images:
        seeds[shot.seed].append(value)
    every = [value for values in seeds.values() for value in values]
    means = [statistics.fmean(values) for values in seeds.values()]
    return statistics.fmean(every), statistics.stdev(means) if len(means) > 1 else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, between neighbours in a straight line."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def natural(values: Sequence[float]) -> tuple[float, float] | None:
    """The range of what the photos have among themselves; None if they are too few."""
    if len(values) < LEAST_PHOTOS:
        return None
    return round(quantile(values, LOWEST), 4), round(quantile(values, HIGHEST), 4)


def of_pixels(images: Sequence[Shot], take: Callable[[Pixels], float]) -> list[tuple[Shot, float]]:
    """A figure of each image that could be read."""
    return [(shot, take(shot.pixels)) for shot in images if shot.pixels is not None]


def rounded(value: Value, digits: int = 4) -> Value:
    """With fewer digits, as it is written down."""

    def less(number: float | None) -> float | None:
        return None if number is None else round(number, digits)

    images = {path: round(number, digits) for path, number in value.images.items()}
    return replace(value, value=less(value.value), spread=less(value.spread), base=less(value.base), images=images)


GONE = "Its images can no longer be read."
