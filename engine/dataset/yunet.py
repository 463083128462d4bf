"""The face detector YuNet, run by OpenCV: where its weights are, how they come here, and how it is asked.

MIT licence, 230 KB: https://huggingface.co/opencv/face_detection_yunet. OpenCV is the extra `faces`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset.facts import Box, Face
from loratui.engine.dataset.weights import Download, Weights
from loratui.engine.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

WEIGHTS = Weights(
    what="The face detector",
    repository="opencv/face_detection_yunet",
    file="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    bytes=232_589,
    licence="MIT",
)

LONGEST_PX = 640
"""Longest side of what the detector looks at; its smallest faces have about 10 px."""
LEAST_CONFIDENCE = 0.8
_OVERLAP = 0.3
"""Intersection over union from which two boxes are one face, OpenCV's own default."""
_MOST_CANDIDATES = 5000


def detector_name(home: Path) -> str:
    """The detector for the deep pass, as `faces.load_detector` takes it; empty without OpenCV or without weights."""
    weights = find_weights(home) if opencv_is_there() else None
    return f"{__name__}:YuNet:{weights}" if weights else ""


def opencv_is_there() -> bool:
    """Whether the extra `faces` is installed."""
    return importlib.util.find_spec("cv2") is not None


def find_weights(home: Path) -> Path | None:
    """The weights on this machine; see `Weights.find`."""
    return WEIGHTS.find(home)


def fetch_weights(home: Path, download: Download | None = None) -> Path:
    """The weights, downloaded from the hub unless they are here.

    Raises `UsageError` without OpenCV, and `LoratuiError` if the download fails or brings something else.
    """
    require_opencv()
    return WEIGHTS.fetch(home, download)


def require_opencv() -> None:
    """Raises `UsageError` without OpenCV."""
    if not opencv_is_there():
        raise UsageError("Looking for faces needs OpenCV.", "pip install 'loratui[faces]'")


class YuNet:
    """The detector; lives in a worker of the deep pass."""

    def __init__(self, weights: str) -> None:
        import cv2

        cv2.setNumThreads(1)  # there are as many workers as cores
        self._cv2 = cv2
        self._network = cv2.FaceDetectorYN.create(
            weights, "", (LONGEST_PX, LONGEST_PX), LEAST_CONFIDENCE, _OVERLAP, _MOST_CANDIDATES
        )

    def detect(self, image: Image) -> Sequence[Face]:
        """The faces in an upright RGB image, the surest first."""
        pixels, rows = self.rows(image)
        height, width = pixels.shape[:2]
        return sorted((_face(row, width, height) for row in rows.tolist()), key=lambda face: -face.confidence)

    def rows(self, image: Image) -> tuple[Any, Any]:
        """The image as OpenCV has it, no larger than is looked at, and a row of its numbers for each face in it."""
        import numpy as np

        image = _no_larger(image)
        self._network.setInputSize(image.size)
        pixels = self._cv2.cvtColor(np.asarray(image), self._cv2.COLOR_RGB2BGR)
        _, rows = self._network.detect(pixels)
        return pixels, np.empty((0, 15), np.float32) if rows is None else rows


def _face(row: Sequence[float], width: int, height: int) -> Face:
    """A face from the left, top, width and height of its box (px), 5 landmarks (x, y), and its confidence."""
    left, top, right, bottom = row[0] / width, row[1] / height, (row[0] + row[2]) / width, (row[1] + row[3]) / height
    return Face(Box(*(round(min(1.0, max(0.0, at)), 4) for at in (left, top, right, bottom))), round(row[14], 3))


def _no_larger(image: Image) -> Image:
    scale = LONGEST_PX / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), reducing_gap=2.0)
