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
    """Finds faces. None comes with loratui: without one, the checks of faces say that they were not made."""

    def detect(self, picture: Image) -> Sequence[Face]:
        """The faces in an upright RGB picture, in any order."""


def load_detector(name: str) -> FaceDetector | None:
    """The detector that `module:factory` makes; None for an empty name.

    Raises `UsageError` if there is no such factory.
    """
    if not name:
        return None
    module, _, factory = name.partition(":")
    try:
        made: FaceDetector = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{name}: this face detector cannot be loaded: {error}.", "Leave it out.") from error
    return made
