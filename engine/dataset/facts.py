"""What the deep pass measures of an image's pixels, as plain numbers that every process can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Box:
    """A rectangle within an image, as shares of its width and height from the top left."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Share of the image's width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Share of the image's height."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Share of the image's area."""
        return self.width * self.height


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Face:
    """A face that a detector found."""

    box: Box
    confidence: float
    """0 to 1."""


@dataclass(frozen=True)
class ImageFacts:
    """What the pixels of one image show, measured upright, in sRGB, no larger than it will be trained."""

    blur: float
    """0 (sharp) to 1, of the sharpest part; see `measure.blur_effect`."""
    noise: float
    """Standard deviation of the noise in the flattest part, levels of 255."""
    luma_dark: float
    """5th percentile of the brightness, 0 to 255."""
    luma_mean: float
    luma_bright: float
    """95th percentile."""
    tint: float
    """Mean red minus mean blue, levels: positive is warm."""
    blockiness: float
    """Steps at the edges of 8 × 8 blocks against steps within them; 1 is none. 0: not measurable at this size."""
    hash: int
    """64-bit perceptual hash; near images differ in few bits."""
    mirrored_hash: int
    """The hash of the mirrored image."""
    thumbnail: bytes
    """8 × 8 pixels of RGB, row by row."""
    content: Box
    """What remains without the borders of one plain colour."""
    bars: bool
    """Whether such borders are bars at two opposite sides."""
    detail: Box
    """Where nine tenths of the image's edges are."""
    background: tuple[int, int, int] | None
    """Colour of the frame of the image if that is plain."""
    transparent: float
    """Share of the pixels that can be seen through."""
    profile: str
    """Name of an embedded colour profile other than sRGB; empty otherwise."""
    faces: tuple[Face, ...] | None = None
    """None where no detector looked."""
    marked: Mapping[str, float] = field(default_factory=dict)
    """Kind of mask file -> share of the image that it marks, for those that can be read."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for one JSON line."""
        return {**asdict(self), "thumbnail": self.thumbnail.hex()}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> ImageFacts:
        """The facts of `to_json`."""
        background, faces = table["background"], table["faces"]
        found = None if faces is None else tuple(Face(Box(**face["box"]), face["confidence"]) for face in faces)
        return cls(
            **{
                **table,
                "thumbnail": bytes.fromhex(table["thumbnail"]),
                "content": Box(**table["content"]),
                "detail": Box(**table["detail"]),
                "background": None if background is None else tuple(background),
                "faces": found,
            }
        )
