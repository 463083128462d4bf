"""Makes masks of persons or faces for the images of a folder, in a process of its own, into a folder beside the images."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loratui.engine import durable
from loratui.engine.dataset import yunet
from loratui.engine.dataset.caption_names import key
from loratui.engine.dataset.contents import DatasetScan, ImageEntry
from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.display import DISPLAY
from loratui.engine.dataset.mask_files import FOLDERS
from loratui.engine.dataset.weights import Download, Weights
from loratui.engine.dataset.worker_limits import why_no_answer
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import LoratuiError
from loratui.engine.jobs import Cancelled, JobDied, JobFailed, Process
from loratui.engine.words import size

SEGMENTER = Weights(
    what="The segmenter CLIPSeg",
    repository="Kijai/clipseg-rd64-refined-fp16",
    file="model.safetensors",
    sha256="3bfcd7b05b526f849cf18c3102fed42c48ef396377b8e11b777a691029ca1295",
    bytes=302_000_000,
    licence="Apache-2.0",
    name="clipseg-rd64-refined-fp16.safetensors",
)
"""CIDAS/clipseg-rd64-refined in half precision, half as much to download; OneTrainer makes its masks by the same model. `bytes` is the
most that the file can have: 150 747 746 values of 2 bytes and a header."""

LONGEST_PX = 512
"""Longest side of a mask: it is used at the size of latents."""

WEIGHTS: Mapping[str, Weights] = {"person": SEGMENTER, "face": yunet.WEIGHTS}
"""Kind of masks that can be made -> the model that finds it."""


@dataclass(frozen=True)
class Made:
    """What came of it."""

    made: Sequence[str]
    """Relative paths of the images that have a new mask."""
    nothing: Sequence[str]
    """Images on which nothing of the kind was found: they get no mask."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Image -> why it has none; continues its name to a sentence."""


def offer(kind: str) -> str:
    """What a download brings, with its licence."""
    weights = WEIGHTS[kind]
    return f"{weights.repository} ({size(weights.bytes)}, {weights.licence})"


def find(kind: str, home: Path) -> Path | None:
    """The model on this machine. Raises `UsageError` where the library that runs it is missing."""
    if kind == "face":
        yunet.require_opencv()
    return WEIGHTS[kind].find(home)


def fetch(kind: str, home: Path, download: Download | None = None) -> Path:
    """The model, downloaded from the hub unless it is here. Raises `LoratuiError`."""
    return find(kind, home) or WEIGHTS[kind].fetch(home, download)


def scaled(shape: tuple[int, int]) -> tuple[int, int]:
    """The size in px of the mask of an image of this size."""
    scale = min(1.0, LONGEST_PX / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def missing(scan: DatasetScan, kind: str) -> list[ImageEntry]:
    """The images without a mask of this kind."""
    return [image for image in scan.images if image.mask(kind) is None and not image.made]


def make(
    scan: DatasetScan,
    kind: str,
    weights: Path,
    *,
    progress: Callable[[int, int], object] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Made:
    """Makes the missing masks of a kind, each written as it comes; none is replaced.

    Returns early where it is cancelled. Raises `LoratuiError` if the process cannot begin, and `DiskError`.
    """
    images = missing(scan, kind)
    shared = Counter(_place(image, kind) for image in scan.images)
    made: list[str] = []
    nothing: list[str] = []
    failed: dict[str, str] = {}
    process = Process("masks", {"kind": kind, "weights": str(weights)}, cancelled=cancelled)
    try:
        for done, image in enumerate(images):
            progress(done, len(images))
            if cancelled():
                break
            if shared[_place(image, kind)] > 1:
                failed[image.relative] = "shares its name with another image but for the ending: rename one"
                continue
            try:
                DISPLAY.check(image.path)  # a decoder that crashes shall not do so beside the model
            except ImageError as error:
                failed[image.relative] = str(error)
                continue
            try:
                if not process.runs:
                    process.begin()
                process.ask({"path": str(image.path)})
                answer = process.answer()
            except JobFailed as error:
                if not process.runs:
                    raise
                failed[image.relative] = error.message
            except JobDied as error:
                if not process.runs:
                    raise
                failed[image.relative] = why_no_answer(error)
                process.end()
            else:
                if answer.content:
                    _write(image, kind, answer.value["size"], answer.content)
                    made.append(image.relative)
                else:
                    nothing.append(image.relative)
        else:
            progress(len(images), len(images))
    except Cancelled:
        process.cancel()
    finally:
        process.end()
    return Made(made, nothing, failed)


def _place(image: ImageEntry, kind: str) -> tuple[Path, str]:
    return image.path.parent / FOLDERS[kind], key(image.path.stem)


def _write(image: ImageEntry, kind: str, shape: tuple[int, int], levels: bytes) -> None:
    from PIL import Image

    path = image.path.parent / FOLDERS[kind] / f"{image.path.stem}.png"
    data = io.BytesIO()
    try:
        Image.frombytes("L", (shape[0], shape[1]), levels).save(data, "PNG")
    except ValueError as error:
        raise LoratuiError(f"{image.relative}: its mask came damaged: {error}.", "Try again.") from error
    try:
        durable.make_directory(path.parent)
        durable.write_new(path, data.getvalue())
    except OSError as error:
        raise disk_error(error, path) from error
