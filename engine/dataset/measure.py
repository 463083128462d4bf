"""Measures one image's pixels. Loads numpy: only the workers of the deep pass import this module."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loratui.engine.dataset import colours, decoding, masks
from loratui.engine.dataset.faces import FaceDetector
from loratui.engine.dataset.facts import WHOLE, Box, Face, ImageFacts

if TYPE_CHECKING:
    from PIL.Image import Image

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]
"""Brightness, height × width, 0 to 255."""
Steps = NDArray[np.int16]

WIDEST_AREA = 1024**2
"""Images are measured at no more than this area, px; also above it training sizes are rare."""

_TILES = 4
_LINES = 128
"""Rows and columns that a measure looks at, at most; more tell nothing new and take their time."""
_BLOCKS_PX = 2048
"""Side of the part in which the blocks of compression are looked for."""
_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601, as Pillow's own conversion."""
_LEAST_STEP = 2
"""Steps between neighbours that are below this are no edge, levels."""
_PLAIN_ROW = 2.5
"""Standard deviation up to which a row or column counts as one colour, levels."""
_PLAIN_FRAME = 8.0
"""Standard deviation up to which the frame of an image counts as one colour, levels."""

_k, _n = np.mgrid[0:8, 0:32].astype(np.float32)
_COSINES: Plane = np.cos(np.pi * _k * (2 * _n + 1) / 64)
"""First 8 rows of the 32-point discrete cosine transform (DCT-II)."""


@dataclass(frozen=True)
class Lines:
    """Some rows and columns of an image's brightness at even distances, each line contiguous."""

    rows: Steps
    """At most 128 × the image's width."""
    columns: Steps
    """At most 128 × the image's height."""

    @classmethod
    def of(cls, luma: Luma) -> Lines:
        """Lines of a whole image. Of 16 bits with a sign, so that differences fit."""
        down, across = (-(-count // _LINES) for count in luma.shape)
        return cls(luma[::down].astype(np.int16), luma[:, ::across].T.astype(np.int16, order="C"))


def measure_image(
    path: Path, resolution: int, detector: FaceDetector | None = None, mask_files: Mapping[str, Path] | None = None
) -> ImageFacts:
    """What the pixels at `path` show at a training `resolution` (side of a square, px), and how much of them mask files mark.

    Decodes no more than that needs where the format allows it (JPEG). Raises `ImageError`.
    """
    from PIL import Image as pillow

    with decoding.opened(path) as source:
        profile = _profile_name(source.image)
        full = source.width, source.height
        wanted = _measured_size(*full, resolution)
        mode = source.image.mode
        image = source.decode(wanted)
        # Whether blocks are where the encoder put them.
        seeable = image.size == source.as_decoded(full) and mode in ("RGB", "L")
        whole = full == wanted and source.turned == 1
        blocks = 0.0 if not seeable else None if whole else _blockiness(_part(image))
        smaller = source.as_decoded(wanted)
        if image.size != smaller:
            # Twice bilinear is enough for measures, and far quicker than one exact pass.
            icc = image.info.get("icc_profile")
            image = image.resize(smaller, pillow.Resampling.BILINEAR, reducing_gap=2.0)
            image.info["icc_profile"] = icc
        transparent = colours.transparent_share(image)
        upright = source.upright(colours.to_rgb(image, (255, 255, 255)))
    facts = _facts(upright, transparent, profile, blocks, detector)
    shares = {kind: share for kind, mask in (mask_files or {}).items() if (share := masks.share(mask)) is not None}
    return replace(facts, marked=shares) if shares else facts


def _facts(
    image: Image, transparent: float, profile: str, blockiness: float | None, detector: FaceDetector | None
) -> ImageFacts:
    """The facts of an upright RGB image; its blockiness is measured here if it is not known."""
    from PIL import Image as pillow

    grey = image.convert("L")
    luma = np.asarray(grey, dtype=np.uint8)
    lines = Lines.of(luma)
    histogram = np.bincount(lines.rows.ravel(), minlength=256)
    levels = np.cumsum(histogram) / lines.rows.size
    tiny = np.asarray(image.resize((32, 32), pillow.Resampling.BOX, reducing_gap=1.0), dtype=np.float32)
    small = tiny.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).astype(np.uint8)
    red, _, blue = (float(value) for value in small.reshape(-1, 3).mean(axis=0))
    content, bars = _content(lines)
    hashed: Plane = tiny @ _LUMA_WEIGHTS
    return ImageFacts(
        blur=round(blur_effect(lines), 4),
        noise=round(noise_level(luma), 3),
        luma_dark=float(np.searchsorted(levels, 0.05)),
        luma_mean=round(float(histogram @ np.arange(256)) / lines.rows.size, 2),
        luma_bright=float(np.searchsorted(levels, 0.95)),
        tint=round(red - blue, 2),
        blockiness=round(_blockiness(lines) if blockiness is None else blockiness, 3),
        hash=perceptual_hash(hashed),
        mirrored_hash=perceptual_hash(hashed[:, ::-1]),
        thumbnail=small.tobytes(),
        content=content,
        bars=bars,
        detail=_detail(lines),
        background=_plain_background(image, luma),
        transparent=round(transparent, 4),
        profile=profile,
        faces=_faces(image, detector),
    )


def _faces(image: Image, detector: FaceDetector | None) -> tuple[Face, ...] | None:
    """The faces, or None where no detector could look: a detector's fault is not the image's."""
    try:
        return None if detector is None else tuple(detector.detect(image))
    except Exception:  # detectors throw the errors of the libraries that they run on
        return None


def blur_effect(lines: Lines) -> float:
    """How blurred the sharpest part of an image is: 0 (sharp) to 1.

    Compares the steps between neighbours with those after another blur, which takes little from what is blurred
    already: Crété-Roffet et al., "The Blur Effect" (2007), here with a mean of 9 neighbours, whose own step from pixel
    i to i + 1 is (x[i+5] - x[i-4]) / 9. Steps of one level are left aside, since rounding makes sharp ones of every slow
    slope. Taken over 4 × 4 tiles, of which the sharpest with its share of the edges counts, so that a soft background
    behind a sharp face does no harm. A plain or tiny image counts as sharp.
    """
    if min(lines.rows.shape[1], lines.columns.shape[1]) < 4 * _TILES:
        return 0.0
    worst_axis = np.zeros((_TILES, _TILES), dtype=np.float32)
    weights = np.zeros((_TILES, _TILES), dtype=np.float32)
    slopes = pixels = 0.0
    for turned, along in enumerate((lines.rows, lines.columns)):
        steps = np.abs(along[:, 5:-4] - along[:, 4:-5])
        slopes += float(_tile_sums(steps).sum())
        pixels += steps.size
        steps *= steps >= _LEAST_STEP
        kept = np.minimum(9 * steps, np.abs(along[:, 9:] - along[:, :-9]))
        total, left = 9 * _tile_sums(steps), _tile_sums(kept)
        share = np.divide(left, total, out=np.zeros_like(total), where=total > 0)
        worst_axis = np.maximum(worst_axis, share.T if turned else share)
        weights += (total.T if turned else total) / (9 * steps.size)
    if slopes < 0.01 * pixels:
        return 0.0
    if weights.sum() < 0.02:  # slopes, but not one edge
        return 1.0
    enough = weights >= 0.5 * weights.mean()
    return float(worst_axis[enough].min())


def noise_level(luma: Luma) -> float:
    """Standard deviation of the noise in the flattest tiles, levels.

    Source: Immerkær, "Fast Noise Variance Estimation" (1996); its mask ignores slopes and answers to grain.
    """
    if min(luma.shape) < 16:
        return 0.0
    every = -(-len(luma) // _LINES)
    above, here, below = (luma[at : len(luma) - 2 + at : every].astype(np.int16) for at in range(3))
    rows = above - 2 * here + below
    mask = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    counts = np.outer(*(np.diff(np.append(_tile_starts(count), count)) for count in mask.shape))
    per_tile = np.sort((math.sqrt(math.pi / 2) / 6 * _tile_sums(mask) / counts).ravel())
    return float(per_tile[len(per_tile) // 4])


def perceptual_hash(grey: Plane) -> int:
    """64 bits from the 8 × 8 lowest frequencies of a 32 × 32 image: whether each lies above their median."""
    frequencies = (_COSINES @ grey @ _COSINES.T).ravel()
    above = frequencies > np.sort(frequencies[1:])[31]  # the median of 63
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def _measured_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    scale = min(1.0, math.sqrt(min(resolution**2, WIDEST_AREA) / (width * height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile_starts(count: int) -> list[int]:
    return [tile * count // _TILES for tile in range(_TILES)]


@lru_cache(maxsize=64)
def _tile_rows(count: int) -> Plane:
    """4 × `count`: which line belongs to which tile. Sums by a product with it take a tenth of the time of others."""
    tiles: Plane = np.zeros((_TILES, count), dtype=np.float32)
    starts = _tile_starts(count)
    for tile, (start, end) in enumerate(zip(starts, (*starts[1:], count), strict=True)):
        tiles[tile, start : max(end, start + 1)] = 1
    return tiles


def _tile_sums(values: Steps) -> Plane:
    """Sums over 4 × 4 tiles of nearly equal size; an image narrower than that gives some pixels twice."""
    sums: Plane = _tile_rows(values.shape[0]) @ values.astype(np.float32) @ _tile_rows(values.shape[1]).T
    return sums


def _sums(values: Steps | Plane) -> Plane:
    sums: Plane = np.ones(len(values), dtype=np.float32) @ values.astype(np.float32, copy=False)
    return sums


def _part(image: Image) -> Lines:
    """Lines of the upper left part of an image that may be large."""
    part = image.crop((0, 0, min(image.width, _BLOCKS_PX), min(image.height, _BLOCKS_PX)))
    return Lines.of(np.asarray(part.convert("L"), dtype=np.uint8))


def _blockiness(lines: Lines) -> float:
    """Mean step across the edges of 8 × 8 blocks over the mean step beside them; both directions, the larger."""
    worst = 0.0
    for along in (lines.rows, lines.columns):
        if along.shape[1] < 256:
            continue
        steps = _sums(np.abs(along[:, 1:] - along[:, :-1])) / len(along)
        edges, others = steps[7::8], np.concatenate([steps[at::8] for at in (2, 3, 4)])
        worst = max(worst, float((edges.mean() + 0.5) / (others.mean() + 0.5)))
    return worst


def _content(lines: Lines) -> tuple[Box, bool]:
    """The image without rows and columns at its edges that are of one colour, the same as the first of them.

    And whether borders at two opposite sides are bars: they end in a straight line, where a plain background ends at
    a part of the subject.
    """
    # Each row is known by the sampled columns that cross it, and each column by the sampled rows.
    (top, top_sharp), (bottom, bottom_sharp) = _borders(lines.columns)
    (left, left_sharp), (right, right_sharp) = _borders(lines.rows)
    if left + right >= 1 or top + bottom >= 1:
        return WHOLE, False
    box = Box(left, top, round(1 - right, 4), round(1 - bottom, 4))
    return box, (left_sharp and right_sharp) or (top_sharp and bottom_sharp)


def _borders(crossing: Steps) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """For the first and the last of the lines that `crossing` crosses: share of the lines before the first that is not
    plain, and whether most of that line differs from them."""
    levels = crossing.astype(np.float32)
    means: Plane = _sums(levels) / np.float32(len(levels))
    # Variance as the mean square less the squared mean, which is exact enough for 8-bit levels.
    plain = _sums(levels * levels) / len(levels) - means * means <= _PLAIN_ROW**2
    return _border(crossing, means, plain), _border(crossing[:, ::-1], means[::-1], plain[::-1])


def _border(crossing: Steps, means: Plane, plain: NDArray[np.bool_]) -> tuple[float, bool]:
    count = len(means)
    same = plain & (np.abs(means - means[0]) <= 2 * _PLAIN_ROW)
    run = count if same.all() else int(np.argmin(same))
    if run == 0 or run >= count - 1:
        return round(run / count, 4), False
    # The line after the next: a resized line is soft.
    differs = np.abs(crossing[:, run + 1] - means[0]) > 4 * _PLAIN_ROW
    return round(run / count, 4), bool(differs.mean() > 0.6)


def _detail(lines: Lines) -> Box:
    spans = []
    for crossing in (lines.columns, lines.rows):
        edges = _sums(np.abs(crossing[1:] - crossing[:-1]))
        total = float(edges.sum())
        if total <= 0:
            return WHOLE
        reached = np.cumsum(edges) / total
        spans.append((np.searchsorted(reached, 0.05) / len(reached), (np.searchsorted(reached, 0.95) + 1) / len(reached)))
    (top, bottom), (left, right) = spans
    return Box(*(round(min(1.0, float(value)), 4) for value in (left, top, right, bottom)))


def _plain_background(image: Image, luma: Luma) -> tuple[int, int, int] | None:
    """The colour along the left, right and upper edge, if it is one; the lower edge often shows the body."""
    width, height = image.size
    across, down, low = max(1, width // 20), max(1, height // 20), max(1, height * 2 // 3)
    sides = ((0, 0, across, low), (width - across, 0, width, low), (0, 0, width, down))
    # Colours that are close together are close in brightness too, which is quicker to see.
    if any(luma[top:bottom:2, left:right:2].std() > 2 * _PLAIN_FRAME for left, top, right, bottom in sides):
        return None
    parts = [np.asarray(image.crop(side), dtype=np.uint8).reshape(-1, 3) for side in sides]
    frame = np.concatenate([part[:: max(1, part.size // 6000)] for part in parts]).astype(np.float32)
    if frame.std(axis=0).max() > _PLAIN_FRAME:
        return None
    red, green, blue = (round(float(value)) for value in frame.mean(axis=0))
    return red, green, blue


def _profile_name(image: Image) -> str:
    """Name of the embedded profile, unless it is sRGB by another name."""
    data: Any = image.info.get("icc_profile")
    if not isinstance(data, bytes):
        return ""
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "an unreadable profile"
    name = " ".join(name.split())[:60]
    return "" if "srgb" in name.lower().replace(" ", "") else name or "an unnamed profile"
