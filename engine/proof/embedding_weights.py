"""The weights of the models that compare images with words and with each other: which they are, and their licences. Light, as `face_weights`."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.dataset.weights import Download, Weights
from loratui.engine.words import size

_GET = "Get it: loratui validate RUN --models."
NO_IMAGE_TEXT = f"No image–text model on this machine. {_GET}"
NO_THINGS = f"No image model on this machine. {_GET}"
LACKING = (NO_IMAGE_TEXT, NO_THINGS)

IMAGE_TEXT = Weights(
    what="The image–text model CLIP ViT-B/32 by LAION",
    repository="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    file="model.safetensors",
    sha256="74813fbcdc750f235c9784c367ca1394d2a5c25eb0aac92761752ac239db7cff",
    bytes=605_157_884,
    licence="MIT",
    revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
    name="clip-vit-b-32-laion2b.safetensors",
)
THINGS = Weights(
    what="The image model DINOv2 small",
    repository="facebook/dinov2-small",
    file="model.safetensors",
    sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
    bytes=88_249_960,
    licence="Apache-2.0",
    revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
    name="dinov2-small.safetensors",
)


def fetch(home: Path, download: Download | None = None) -> None:
    """Brings the weights of both models here, the small ones first. Raises `LoratuiError` if a download fails."""
    THINGS.fetch(home, download)
    IMAGE_TEXT.fetch(home, download)


def offer() -> str:
    """What a download brings, with its licences."""
    return ", ".join(f"{one.repository} ({size(one.bytes)}, {one.licence})" for one in (IMAGE_TEXT, THINGS))
