"""The reader of the demo's drawings in place of a face model: face models find no faces in what the embedded bases draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from loratui.engine.proof.protocol import Faces

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 128


class DemoFaces:
    """A drawing is described by how likely each value of each feature of the person is. It has one face, always."""

    id = "demo-reader/1"
    title = "the reader of the demo's drawings"
    same_face = 0.7
    """Seven of ten features alike."""

    def __init__(self) -> None:
        from loratui.presets.bases.make.reader import load_reader

        self._reader = load_reader()

    def attributes(self, image: Image) -> dict[str, str]:
        """The value of each feature of a drawing, also of those that are not the person's."""
        from loratui.presets.bases.make.reader import read

        return read(self._reader, _pixels(image)[None])[0]

    def read(self, image: Image) -> Faces:
        """The similarity of two drawings is about the share of features in which they are the same."""
        from loratui.presets.bases.make.people import IDENTITY
        from loratui.presets.bases.make.reader import to_pixels

        pixels = _pixels(image)
        with torch.inference_mode():
            scores = self._reader(to_pixels(torch.from_numpy(pixels.copy())[None]))
            likely = torch.cat([scores[name][0].softmax(0) for name in IDENTITY]) / len(IDENTITY) ** 0.5
        return Faces(1, tuple(likely.tolist()))


def _pixels(image: Image) -> NDArray[np.uint8]:
    return np.asarray(image.resize((_SIDE, _SIDE)) if image.size != (_SIDE, _SIDE) else image)
