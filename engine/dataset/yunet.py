"""The face detector YuNet, run by OpenCV: where its weights are, how they come here, and how it is asked.

MIT licence, 230 KB: https://huggingface.co/opencv/face_detection_yunet. OpenCV is the extra `faces`.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset.facts import Box, Face
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.untrusted import read_whole

if TYPE_CHECKING:
    from PIL.Image import Image

REPOSITORY = "opencv/face_detection_yunet"
FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
BYTES = 232_589

LONGEST_PX = 640
"""Longest side of what the detector looks at; its smallest faces have about 10 px."""
LEAST_CONFIDENCE = 0.8
_OVERLAP = 0.3
"""Intersection over union from which two boxes are one face, OpenCV's own default."""
_MOST_CANDIDATES = 5000

Download = Callable[[str, str], Path]
"""(repository, file name) -> the file on this machine; raises `LoratuiError` or `OSError`."""


def detector_name(home: Path) -> str:
    """The detector for the deep pass, as `faces.load_detector` takes it; empty without OpenCV or without weights."""
    weights = find_weights(home) if opencv_is_there() else None
    return f"{__name__}:YuNet:{weights}" if weights else ""


def opencv_is_there() -> bool:
    """Whether the extra `faces` is installed."""
    return importlib.util.find_spec("cv2") is not None


def find_weights(home: Path) -> Path | None:
    """The weights below `home`, else in the cache of the hub; None where they are not, or not as they were published."""
    return next(filter(_is_whole, (home / "models" / FILE, *_in_hub_cache())), None)


def fetch_weights(home: Path, download: Download | None = None) -> Path:
    """The weights, downloaded from the hub unless they are here.

    Raises `UsageError` without OpenCV, and `LoratuiError` if the download fails or brings something else.
    """
    if not opencv_is_there():
        raise UsageError("Looking for faces needs OpenCV.", "pip install 'loratui[faces]'")
    found = find_weights(home)
    if found is not None:
        return found
    by_hand = f"Put {FILE} of huggingface.co/{REPOSITORY} into {home / 'models'}."
    try:
        path = (download or _from_hub)(REPOSITORY, FILE)
    except LoratuiError:
        raise
    except Exception as error:  # the hub's client throws its own, its transport's and the system's errors
        raise LoratuiError(f"The face detector could not be downloaded: {error}.", by_hand) from error
    if not _is_whole(path):
        raise LoratuiError(f"{path}: these are not the weights of the face detector that loratui knows.", by_hand)
    return path


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
        import numpy as np

        image = _no_larger(image)
        self._network.setInputSize(image.size)
        _, rows = self._network.detect(self._cv2.cvtColor(np.asarray(image), self._cv2.COLOR_RGB2BGR))
        faces = [_face(row, *image.size) for row in ([] if rows is None else rows.tolist())]
        return sorted(faces, key=lambda face: -face.confidence)


def _face(row: Sequence[float], width: int, height: int) -> Face:
    """A face from the left, top, width and height of its box (px), 5 landmarks (x, y), and its confidence."""
    left, top, right, bottom = row[0] / width, row[1] / height, (row[0] + row[2]) / width, (row[1] + row[3]) / height
    return Face(Box(*(round(min(1.0, max(0.0, at)), 4) for at in (left, top, right, bottom))), round(row[14], 3))


def _no_larger(image: Image) -> Image:
    scale = LONGEST_PX / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), reducing_gap=2.0)


def _is_whole(path: Path) -> bool:
    try:
        data = read_whole(path, BYTES)
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == SHA256


def _in_hub_cache() -> tuple[Path, ...]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return ()
    found: Any = try_to_load_from_cache(REPOSITORY, FILE)
    return (Path(found),) if isinstance(found, str) else ()


def _from_hub(repository: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name))
