"""Measures one picture's pixels. Loads numpy: only the workers of the deep pass import this module."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loratui.engine.dataset import pictures
from loratui.engine.dataset.faces import FaceDetector
from loratui.engine.dataset.facts import WHOLE, Box, Face, PictureFacts

if TYPE_CHECKING:
    from PIL.Image import Image

Plane = NDArray[np.float32]
"""Brightness, height × width, 0 to 255."""

WIDEST_AREA = 1024**2
"""Pictures are measured at no more than this area, px; also above it training sizes are rare."""

_TILES = 4
_LINES = 128
"""Rows and columns that a measure looks at; more tell nothing new and take their time."""
_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601, as Pillow's own conversion."""
_LEAST_STEP = 1.5
"""Steps between neighbours that are no edge, levels."""
_PLAIN_ROW = 2.5
"""Standard deviation up to which a row or column counts as one colour, levels."""
_PLAIN_FRAME = 8.0
"""Standard deviation up to which the frame of a picture counts as one colour, levels."""

_k, _n = np.mgrid[0:8, 0:32].astype(np.float32)
_COSINES: Plane = np.cos(np.pi * _k * (2 * _n + 1) / 64)
"""First 8 rows of the 32-point discrete cosine transform (DCT-II)."""


def measure_picture(path: Path, resolution: int, detector: FaceDetector | None = None) -> PictureFacts:
    """What the pixels at `path` show at a training `resolution` (side of a square, px).

    Decodes no more than that needs where the format allows it (JPEG). Raises `PictureError`.
    """
    with pictures.opened(path) as image:
        turned = pictures.orientation(image)
        profile = _profile_name(image)
        full = image.size
        wanted = _measured_size(*full, resolution)
        image.draft("RGB", wanted)
        image.load()
        at_full_size = image.size == full
        blocks = _blockiness(_luma(image)) if at_full_size and image.mode in ("RGB", "L") else 0.0
        if image.size != wanted and image.mode in ("RGB", "L", "RGBA", "CMYK"):
            from PIL import Image as pillow

            # Twice bilinear is enough for measures, and far quicker than one exact pass.
            icc = image.info.get("icc_profile")
            smaller = image.resize(wanted, pillow.Resampling.BILINEAR, reducing_gap=2.0)
            smaller.info["icc_profile"] = icc
            image = smaller
        transparent = _transparent_share(image)
        picture = pictures.upright(pictures.to_rgb(image, (255, 255, 255)), turned)
    return _facts(picture, transparent, profile, blocks, detector)


def _facts(picture: Image, transparent: float, profile: str, blockiness: float, detector: FaceDetector | None) -> PictureFacts:
    grey = picture.convert("L")
    luma = np.asarray(grey, dtype=np.float32)
    levels = np.cumsum(grey.histogram()) / luma.size
    pixels = np.asarray(picture, dtype=np.uint8)
    tiny = np.asarray(_shrunk(picture, 32), dtype=np.float32)
    small = tiny.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).astype(np.uint8)
    red, _, blue = (float(value) for value in small.reshape(-1, 3).mean(axis=0))
    content, bars = _content(luma)
    hashed: Plane = tiny @ _LUMA_WEIGHTS
    return PictureFacts(
        blur=round(blur_effect(luma), 4),
        noise=round(noise_level(luma), 3),
        luma_dark=float(np.searchsorted(levels, 0.05)),
        luma_mean=round(float(luma.mean()), 2),
        luma_bright=float(np.searchsorted(levels, 0.95)),
        tint=round(red - blue, 2),
        blockiness=round(blockiness, 3),
        hash=perceptual_hash(hashed),
        mirrored_hash=perceptual_hash(hashed[:, ::-1]),
        thumbnail=small.tobytes(),
        content=content,
        bars=bars,
        detail=_detail(luma),
        background=_plain_background(pixels),
        transparent=round(transparent, 4),
        profile=profile,
        faces=_faces(picture, detector),
    )


def _faces(picture: Image, detector: FaceDetector | None) -> tuple[Face, ...] | None:
    """The faces, or None where no detector could look: a detector's fault is not the picture's."""
    try:
        return None if detector is None else tuple(detector.detect(picture))
    except Exception:  # detectors throw the errors of the libraries that they run on
        return None


def blur_effect(luma: Plane) -> float:
    """How blurred the sharpest part of a picture is: 0 (sharp) to 1.

    Compares the steps between neighbours with those after another blur, which takes little from what is blurred
    already: Crété-Roffet et al., "The Blur Effect" (2007). Steps of one level are left aside, since rounding makes sharp
    ones of every slow slope. Taken over 4 × 4 tiles, of which the sharpest with its share of the edges counts, so that
    a soft background behind a sharp face does no harm. A plain picture counts as sharp.
    """
    if min(luma.shape) < 2 * _TILES:
        return 0.0
    worst_axis = np.zeros((_TILES, _TILES), dtype=np.float64)
    weights = np.zeros((_TILES, _TILES), dtype=np.float64)
    slopes = pixels = 0.0
    for turned, lines in enumerate((_some_rows(luma), _some_rows(luma.T))):
        steps = np.abs(np.diff(lines, axis=1))
        slopes += float(steps.sum())
        pixels += lines.size
        steps[steps < _LEAST_STEP] = 0
        lost = np.maximum(0, steps - np.abs(np.diff(_blurred_rows(lines), axis=1)))
        total, gone = _tile_sums(steps), _tile_sums(lost)
        kept = np.divide(total - gone, total, out=np.zeros_like(total), where=total > 0)
        worst_axis = np.maximum(worst_axis, kept.T if turned else kept)
        weights += (total.T if turned else total) / lines.size
    if slopes < 0.01 * pixels:
        return 0.0
    if weights.sum() < 0.02:  # slopes, but not one edge
        return 1.0
    enough = weights >= 0.5 * weights.mean()
    return float(worst_axis[enough].min())


def noise_level(luma: Plane) -> float:
    """Standard deviation of the noise in the flattest tiles, levels.

    Source: Immerkær, "Fast Noise Variance Estimation" (1996); its mask ignores slopes and answers to grain.
    """
    if min(luma.shape) < 16:
        return 0.0
    every = max(1, len(luma) // _LINES)
    rows = luma[:-2:every] - 2 * luma[1:-1:every] + luma[2::every]
    mask = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    counts = _tile_sums(np.ones(mask.shape, dtype=np.float32))
    per_tile = math.sqrt(math.pi / 2) / 6 * _tile_sums(mask) / counts
    return float(np.percentile(per_tile, 25))


def perceptual_hash(grey: Plane) -> int:
    """64 bits from the 8 × 8 lowest frequencies of a 32 × 32 picture: whether each lies above their median."""
    frequencies = (_COSINES @ grey @ _COSINES.T).ravel()
    above = frequencies > np.median(frequencies[1:])
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def _measured_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    scale = min(1.0, math.sqrt(min(resolution**2, WIDEST_AREA) / (width * height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _luma(image: Image) -> Plane:
    return np.asarray(image.convert("L"), dtype=np.float32)


def _some_rows(plane: Plane) -> Plane:
    """About 128 rows at even distances."""
    return np.ascontiguousarray(plane[:: max(1, len(plane) // _LINES)])


def _shrunk(picture: Image, side: int) -> Image:
    """The picture as a small square, by plain averages."""
    from PIL import Image as pillow

    return picture.resize((side, side), pillow.Resampling.BOX, reducing_gap=1.0)


def _blurred_rows(rows: Plane) -> Plane:
    """Mean of 9 neighbours along each row; the edge is repeated."""
    sums = np.cumsum(np.pad(rows, ((0, 0), (5, 4)), mode="edge"), axis=1, dtype=np.float32)
    return (sums[:, 9:] - sums[:, :-9]) / np.float32(9)


def _tile_sums(values: Plane) -> NDArray[np.float64]:
    """Sums over 4 × 4 tiles of nearly equal size; a picture narrower than that gives some pixels twice."""
    down, across = (np.linspace(0, count, _TILES, endpoint=False).astype(int) for count in values.shape)
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values, down, axis=0), across, axis=1).astype(np.float64)
    return sums


def _blockiness(luma: Plane) -> float:
    """Mean step across the edges of 8 × 8 blocks over the mean step beside them; both directions, the larger."""
    worst = 0.0
    for plane in (luma, luma.T):
        if plane.shape[1] < 256:
            continue
        steps = np.abs(np.diff(_some_rows(plane), axis=1)).mean(axis=0)
        edges, others = steps[7::8], np.concatenate([steps[at::8] for at in (2, 3, 4)])
        worst = max(worst, float((edges.mean() + 0.5) / (others.mean() + 0.5)))
    return worst


def _content(luma: Plane) -> tuple[Box, bool]:
    """The picture without rows and columns at its edges that are of one colour, the same as the first of them.

    And whether borders at two opposite sides are bars: they end in a straight line, where a plain background ends at
    a part of the subject.
    """
    (left, left_sharp), (right, right_sharp) = _border(luma.T), _border(luma.T[::-1])
    (top, top_sharp), (bottom, bottom_sharp) = _border(luma), _border(luma[::-1])
    if left + right >= 1 or top + bottom >= 1:
        return WHOLE, False
    box = Box(left, top, round(1 - right, 4), round(1 - bottom, 4))
    return box, (left_sharp and right_sharp) or (top_sharp and bottom_sharp)


def _border(rows: Plane) -> tuple[float, bool]:
    """Share of the rows before the first that is not plain, and whether most of that row differs from them."""
    some = np.ascontiguousarray(rows[:, :: max(1, rows.shape[1] // _LINES)])
    means = some.mean(axis=1)
    same = (some.std(axis=1) <= _PLAIN_ROW) & (np.abs(means - means[0]) <= 2 * _PLAIN_ROW)
    run = len(rows) if same.all() else int(np.argmin(same))
    if run == 0 or run >= len(rows) - 1:
        return round(run / len(rows), 4), False
    # The row after the next: a resized line is soft.
    differs = np.abs(rows[run + 1] - means[0]) > 4 * _PLAIN_ROW
    return round(run / len(rows), 4), bool(differs.mean() > 0.6)


def _detail(luma: Plane) -> Box:
    spans = []
    for plane in (luma, luma.T):
        edges = np.abs(np.diff(_some_rows(plane.T).T, axis=1)).sum(axis=1)
        total = float(edges.sum())
        if total <= 0:
            return WHOLE
        reached = np.cumsum(edges) / total
        spans.append((np.searchsorted(reached, 0.05) / len(reached), (np.searchsorted(reached, 0.95) + 1) / len(reached)))
    (top, bottom), (left, right) = spans
    return Box(*(round(min(1.0, float(value)), 4) for value in (left, top, right, bottom)))


def _plain_background(pixels: NDArray[np.uint8]) -> tuple[int, int, int] | None:
    """The colour along the left, right and upper edge, if it is one; the lower edge often shows the body."""
    height, width = pixels.shape[:2]
    across, down = max(1, width // 20), max(1, height // 20)
    sides = (pixels[: height * 2 // 3, :across], pixels[: height * 2 // 3, -across:], pixels[:down])
    frame = np.concatenate([part.reshape(-1, 3)[:: max(1, part.size // 6000)] for part in sides]).astype(np.float32)
    if frame.std(axis=0).max() > _PLAIN_FRAME:
        return None
    red, green, blue = (round(float(value)) for value in frame.mean(axis=0))
    return red, green, blue


def _transparent_share(image: Image) -> float:
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return 0.0
    histogram = image.convert("RGBA").getchannel("A").histogram()
    return sum(histogram[:250]) / max(1, sum(histogram))


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
