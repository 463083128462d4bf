"""What a face detector must offer, and how the workers of the deep pass are told of one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from loratui.engine.dataset.facts import Face
from loratui.engine.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image


class FaceDetector(Protocol):
    """Finds faces; `yunet` has one. Without any, the checks of faces say that they were not made."""

    def detect(self, image: Image) -> Sequence[Face]:
        """The faces in an upright RGB image, in any order."""


def load_detector(name: str) -> FaceDetector | None:
    """The detector that `module:factory` or `module:factory:argument` makes; None for an empty name.

    Raises `UsageError` if there is no such factory, or if it fails.
    """
    if not name:
        return None
    module, _, rest = name.partition(":")
    factory, _, argument = rest.partition(":")
    try:
        make = getattr(importlib.import_module(module), factory)
        made: FaceDetector = make(argument) if argument else make()
    except Exception as error:  # whatever a factory throws, OpenCV's own errors among it
        raise UsageError(f"{name}: this face detector cannot be loaded: {error}.", "Leave it out.") from error
    return made
