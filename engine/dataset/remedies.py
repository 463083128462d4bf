"""Remedies as data: what will be done to which image, in words, before it is done; dropping one undoes it.

No original is ever changed: a remedy works on how an image is read, or on a prepared copy of the folder.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loratui.engine.dataset import decoding
from loratui.engine.dataset.facts import Box, ImageFacts
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import UsageError
from loratui.engine.findings import Finding

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["rotate", "convert", "flatten", "mirror", "crop", "shrink", "leave_out"]

ORDER: tuple[Kind, ...] = ("rotate", "convert", "flatten", "mirror", "crop", "shrink", "leave_out")
"""The order in which remedies of one image take effect, whatever order they were chosen in."""

LARGEST_PX = 3000

PLAIN_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
    "red": (190, 60, 55),
    "orange": (225, 140, 60),
    "yellow": (235, 205, 90),
    "green": (80, 150, 90),
    "blue": (70, 110, 185),
    "purple": (130, 85, 165),
    "pink": (230, 160, 180),
}
"""Backgrounds for flattening, by the name that the caption gets."""

VARIED = "varied"
"""In place of a colour: each image gets one of the plain colours, always the same."""


_OF_A_COPY = re.compile(r"(?i)(?<![a-z])(copy|kopie)(?![a-z])|\(\d+\)$")
"""In the name of a file that a file manager or a browser copied."""


@dataclass(frozen=True)
class Remedy:
    """One thing that will be done to one image."""

    kind: Kind
    relative: str
    box: Box | None = None
    """What a crop keeps, as shares of the upright (and mirrored, if it is) image."""
    colour: str = ""
    """Name of the plain colour that flattening lays beneath, or `varied`."""
    longest_px: int = LARGEST_PX
    """Longest side after shrinking."""

    def describe(self) -> str:
        """What will be done, as a sentence without the file's name."""
        match self.kind:
            case "rotate":
                return "turned upright, as its EXIF note says"
            case "convert":
                return "converted to sRGB with 8 bits a channel"
            case "flatten":
                colour = self.background_name
                return f'laid on plain {colour}, and "{colour} background" added to its caption if it has one'
            case "mirror":
                return "mirrored left to right"
            case "crop":
                assert self.box is not None
                return f"cropped to {self.box.width:.0%} of its width and {self.box.height:.0%} of its height"
            case "shrink":
                return f"shrunk to {self.longest_px} px along its longer side"
            case "leave_out":
                return "left out"

    @property
    def background_name(self) -> str:
        """Name of the colour that flattening lays beneath this image."""
        if self.colour != VARIED:
            return self.colour or "white"
        # A checksum and not hash(), which differs from start to start.
        return list(PLAIN_COLOURS)[zlib.crc32(self.relative.encode("utf-8", "surrogateescape")) % len(PLAIN_COLOURS)]


def checked(remedy: Remedy) -> Remedy:
    """`remedy`, if it can be carried out. Raises `UsageError`."""
    if remedy.kind == "crop":
        box = remedy.box
        if box is None or not (0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1):
            raise UsageError(f"{remedy.relative}: this crop lies outside the image.", "Give shares from 0 to 1.")
    if remedy.kind == "flatten" and remedy.colour not in (*PLAIN_COLOURS, VARIED, ""):
        raise UsageError(f"{remedy.colour}: no such background.", f"There are {', '.join(PLAIN_COLOURS)} and {VARIED}.")
    if remedy.kind == "shrink" and remedy.longest_px < 64:
        raise UsageError(f"{remedy.relative}: {remedy.longest_px} px are too few.", "Give 64 or more.")
    return remedy


def by_image(remedies: Iterable[Remedy]) -> dict[str, tuple[Remedy, ...]]:
    """Remedies of each image, in the order in which they take effect."""
    grouped: dict[str, list[Remedy]] = {}
    for remedy in remedies:
        grouped.setdefault(remedy.relative, []).append(remedy)
    return {name: tuple(sorted(own, key=lambda r: ORDER.index(r.kind))) for name, own in sorted(grouped.items())}


def as_read(image: ImageEntry) -> tuple[Remedy, ...]:
    """What is done to every image of this kind as it is read, without being asked for."""
    traits = image.traits
    done: list[Remedy] = []
    if traits.orientation != 1:
        done.append(Remedy("rotate", image.relative))
    if traits.bits != 8 or traits.profile or traits.mode not in ("RGB", "RGBA", "L", "LA"):
        done.append(Remedy("convert", image.relative))
    if traits.alpha:
        done.append(Remedy("flatten", image.relative, colour="white"))
    return tuple(done)


def proposed(
    findings: Iterable[Finding], scan: DatasetScan, facts: Mapping[str, ImageFacts] | None = None, colour: str = VARIED
) -> tuple[Remedy, ...]:
    """A remedy for every finding that one can fix; nothing is done by proposing it.

    Of duplicates all but one are left out, see `_worth`; crops keep the subject as far as `facts` show where it is.
    """
    images = {image.relative: image for image in scan.images}
    found: dict[tuple[Kind, str], Remedy] = {}
    for finding in findings:
        for remedy in _for_finding(finding, images, facts or {}, colour):
            found.setdefault((remedy.kind, remedy.relative), remedy)
    return tuple(found.values())


def _for_finding(
    finding: Finding, images: Mapping[str, ImageEntry], facts: Mapping[str, ImageFacts], colour: str
) -> Iterator[Remedy]:
    """What the quick fix of its kind comes to for each of its images."""
    files = [name for name in finding.files if name in images]
    match finding.kind.fix:
        case "rotate" | "convert" | "flatten" | "shrink" | "leave_out" as kind:
            yield from (Remedy(kind, name, colour=colour if kind == "flatten" else "") for name in files)
        case "crop":
            crops = ((name, crop_proposal(images[name], facts.get(name))) for name in files)
            yield from (Remedy("crop", name, box=box) for name, box in crops if box is not None)
        case "keep_best":
            best = max(files, key=lambda name: _worth(images[name]), default="")
            yield from (Remedy("leave_out", name) for name in files if name != best)


def _worth(image: ImageEntry) -> tuple[int, bool, int, bool, int]:
    """By what one of several images that are alike is kept: its size, a caption, and a name that is nobody's copy."""
    stem = Path(image.relative).stem
    return image.width * image.height, bool(image.caption), image.bytes, not _OF_A_COPY.search(stem), -len(image.relative)


def crop_proposal(image: ImageEntry, facts: ImageFacts | None, longest_shape: float = 1.5) -> Box | None:
    """A crop around the subject: without plain borders, and no longer than `longest_shape` : 1; None if none is needed.

    The subject is the largest face if one was found, else where the edges are; a standing image keeps a little more
    above its middle, where heads are.
    """
    content = facts.content if facts and (facts.bars or 1 - facts.content.area > 0.05) else Box(0, 0, 1, 1)
    content = content if facts and facts.bars else _with_margin(content, 0.04)
    width, height = content.width * image.width, content.height * image.height
    left, top, right, bottom = content.left, content.top, content.right, content.bottom
    focus_x, focus_y = _focus(facts)
    if width > longest_shape * height:
        share = longest_shape * height / image.width
        left, right = _around(focus_x, share, left, right)
    elif height > longest_shape * width:
        share = longest_shape * width / image.height
        top, bottom = _around(focus_y - 0.05, share, top, bottom)
    box = Box(*(round(value, 4) for value in (left, top, right, bottom)))
    return box if box.area < 0.98 else None


def _focus(facts: ImageFacts | None) -> tuple[float, float]:
    if facts is None:
        return 0.5, 0.5
    box = max((face.box for face in facts.faces or ()), key=lambda b: b.area, default=facts.detail)
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _with_margin(box: Box, margin: float) -> Box:
    return Box(
        max(0.0, box.left - margin), max(0.0, box.top - margin), min(1.0, box.right + margin), min(1.0, box.bottom + margin)
    )


def _around(middle: float, share: float, low: float, high: float) -> tuple[float, float]:
    start = min(max(middle - share / 2, low), high - share)
    return start, start + share


def render(path: Path, remedies: Sequence[Remedy]) -> Image:
    """The image as it is after its remedies: upright 8-bit sRGB. The file is only read. Raises `ImageError`."""
    flatten = next((r for r in remedies if r.kind == "flatten"), None)
    background = PLAIN_COLOURS[flatten.background_name] if flatten else (255, 255, 255)
    return transformed(decoding.load_rgb(path, background), remedies)


def transformed(image: Image, remedies: Iterable[Remedy]) -> Image:
    """`image`, upright already, mirrored, cropped and shrunk as the remedies say."""
    from PIL import Image as pillow

    for remedy in sorted(remedies, key=lambda r: ORDER.index(r.kind)):
        if remedy.kind == "mirror":
            image = image.transpose(pillow.Transpose.FLIP_LEFT_RIGHT)
        elif remedy.kind == "crop" and remedy.box is not None:
            image = image.crop(_pixels(remedy.box, *image.size))
        elif remedy.kind == "shrink" and max(image.size) > remedy.longest_px:
            scale = remedy.longest_px / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, pillow.Resampling.LANCZOS)
    return image


def _pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Whole pixels of a box; at least one each way."""
    left, top = min(width - 1, round(box.left * width)), min(height - 1, round(box.top * height))
    return left, top, max(left + 1, round(box.right * width)), max(top + 1, round(box.bottom * height))


def to_json(remedies: Iterable[Remedy]) -> list[dict[str, Any]]:
    """Plain values, to be kept beside a prepared copy."""
    return [asdict(remedy) for remedy in remedies]


def from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Remedy, ...]:
    """The remedies of `to_json`. Raises `UsageError` for what is none."""
    try:
        return tuple(checked(Remedy(**{**row, "box": Box(**row["box"]) if row.get("box") else None})) for row in rows)
    except (TypeError, KeyError) as error:
        raise UsageError(f"This list of remedies is damaged: {error}.", "Choose the remedies again.") from error
