"""Faces by OpenCV: YuNet finds them, SFace describes each. Weights by the hub, after a yes.

SFace: Apache-2.0, 39 MB, https://huggingface.co/opencv/face_recognition_sface. OpenCV is the extra `faces`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.dataset import yunet
from loratui.engine.proof import face_weights
from loratui.engine.proof.protocol import FaceError, Faces

if TYPE_CHECKING:
    from PIL.Image import Image


def find(home: Path) -> SFace | None:
    """The reader, if OpenCV and the weights of both models are here."""
    if not yunet.opencv_is_there():
        return None
    detector, recogniser = yunet.find_weights(home), face_weights.SFACE.find(home)
    return SFace(detector, recogniser) if detector and recogniser else None


class SFace:
    """The two models, loaded at the first image."""

    id = "sface-2021dec+yunet-2023mar/1"
    title = f"SFace and YuNet by OpenCV ({face_weights.SFACE.licence} and {yunet.WEIGHTS.licence})"
    same_face = 0.363

    def __init__(self, detector: Path, recogniser: Path) -> None:
        self._paths = detector, recogniser
        self._detector: yunet.YuNet | None = None

    def read(self, image: Image) -> Faces:
        """The faces, and the description of a single one."""
        import cv2
        import numpy as np

        try:
            if self._detector is None:
                self._recogniser = cv2.FaceRecognizerSF.create(str(self._paths[1]), "")
                self._detector = yunet.YuNet(str(self._paths[0]))
            pixels, rows = self._detector.rows(image)
            if len(rows) != 1:
                return Faces(len(rows))
            features = self._recogniser.feature(self._recogniser.alignCrop(pixels, rows[0])).ravel()
        except cv2.error as error:
            raise FaceError(f"OpenCV failed: {error}") from error
        length = float(np.linalg.norm(features))
        if not length > 0:
            raise FaceError("SFace described a face by nothing")
        return Faces(1, tuple((features / length).tolist()))
