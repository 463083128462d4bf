"""What a captioner's module must offer, and what passes between a captioning job and whoever asks it.

The job `caption` (`engine/jobs.py`) begins with the captioner's id, the folder of its files (or null) and the options for `load`. A
request is `{"images": [paths], "instruction": text}`. Before each batch it tells `{"done": images, "said": how it runs, "at_once": images}`.
Its answer is a list as long as the images: each `{"answer": …}`, as `Answer.to_json` has it, or `{"failed": {"message": …, "remedy": …}}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

    from loratui.engine.captioning.captioners import Captioner


@dataclass(frozen=True)
class Tag:
    """A tag, as the captioner's own table writes it."""

    name: str
    category: str
    """`general`, `character`, `rating`, or another word of the captioner's table."""
    score: float
    """How sure it is, 0 to 1."""


@dataclass(frozen=True)
class Answer:
    """What a captioner said of one image, as it said it: the rules of training are in `rules`, not in the models."""

    text: str
    tags: tuple[Tag, ...] = ()
    """The most certain first; empty unless it writes tags."""

    def to_json(self) -> dict[str, Any]:
        """Its form in a job's answer."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Answer:
        """What `to_json` made. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        tags = tuple(Tag(str(tag["name"]), str(tag["category"]), float(tag["score"])) for tag in told["tags"])
        return cls(str(told["text"]), tags)


class Model(Protocol):
    """A captioner at work."""

    @property
    def most_at_once(self) -> int:
        """Images that fit into one call."""

    @property
    def said(self) -> str:
        """How it runs, for people: `bf16 on the GPU`."""

    def captions(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """One answer for each image (RGB, upright). Raises `LoratuiError` for what asking again does not mend."""


class Load(Protocol):
    """A captioner module's `load`."""

    def __call__(self, captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Model:
        """Loads it from the folder of its files (None where it has none). Raises `LoratuiError`.

        `options` are plain JSON: what of the person's choices the module knows (thresholds, URL and model of a server).
        """
