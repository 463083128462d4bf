"""The loss on images that are not trained on, as events tell it: what the LoRA does to images that it never saw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

IN_WORDS: Mapping[str, str] = {
    "held_out": "held-out images",
    "regularisation": "regularisation images",
    "class_images": "class images",
}
"""What the loss is measured on, in words."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The loss after an epoch, at noise and times that never change, so that epochs and runs can be compared."""

    epoch: int
    """0 before the first."""
    step: int
    loss: float | None
    """Mean over the images, with the values that a LoRA file of this step has."""
    base_loss: float | None
    """The same without the LoRA."""
    what: str
    """`held_out`, `regularisation` or `class_images`."""

    @property
    def change(self) -> float | None:
        """What the LoRA does to the base's loss, as a share of it: below 0 it predicts these images better."""
        if self.loss is None or not self.base_loss or self.base_loss < 0:
            return None
        return self.loss / self.base_loss - 1


def lowest(measured: Iterable[HeldOut]) -> HeldOut | None:
    """The one with the lowest loss, of equal ones the first; None where no loss is known."""
    return min((one for one in measured if one.loss is not None), key=lambda one: one.loss or math.inf, default=None)
