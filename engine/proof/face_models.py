"""Which face model this machine has."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.proof import dlib_faces, sface
from loratui.engine.proof.protocol import FaceReader


def find(home: Path) -> FaceReader | None:
    """OpenCV's models, else dlib's; None if neither is here. Nothing is downloaded."""
    return sface.find(home) or dlib_faces.find()
