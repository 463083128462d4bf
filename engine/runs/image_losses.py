"""Which trained images the LoRA learnt otherwise than the rest: those that it hardly learnt, and those that it knows by heart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loratui.engine.findings import Finding

FEWEST = 6
"""Images without which nothing is said: the usual is not known."""
LEARNT = 0.01
"""Share of the base's loss that the usual image must have lost before one that lost nothing is odd."""
STUCK = 0.2
"""Of what the usual image gained, an image that is stuck gained less than this share."""
EXHAUSTED = 2.0
"""And one that is exhausted more than so many times as much."""
FAR = 3.5
"""In both cases it lies so many spreads from the usual: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993)."""


@dataclass(frozen=True, slots=True)
class ImageLoss:
    """The loss of one image at fixed noise and times."""

    image: str
    """Its path within the folder."""
    loss: float
    base_loss: float
    """Of the base without the LoRA."""

    @property
    def gain(self) -> float:
        """Share of the base's loss that the LoRA took away; below 0 it made it worse. NaN where it is unknown."""
        return 1 - self.loss / self.base_loss if self.base_loss > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Pull:
    """An image that was learnt otherwise than the rest."""

    image: str
    kind: str
    """`stuck` or `exhausted`."""
    gain: float
    """See `ImageLoss.gain`."""
    usual: float
    """The same of the usual image."""


def pulls(losses: Sequence[ImageLoss]) -> tuple[Pull, ...]:
    """The images that stand out, farthest first."""
    known = [one for one in losses if math.isfinite(one.gain)]
    if len(known) < FEWEST:
        return ()
    usual = statistics.median(one.gain for one in known)
    if usual < LEARNT:
        return ()
    spread = 1.4826 * statistics.median(abs(one.gain - usual) for one in known)
    found = []
    for one in known:
        away = one.gain - usual
        if abs(away) < FAR * spread or not away:
            continue
        if one.gain < STUCK * usual:
            found.append(Pull(one.image, "stuck", round(one.gain, 4), round(usual, 4)))
        elif one.gain > EXHAUSTED * usual:
            found.append(Pull(one.image, "exhausted", round(one.gain, 4), round(usual, 4)))
    return tuple(sorted(found, key=lambda pull: -abs(pull.gain - pull.usual)))


def told(found: Sequence[Pull]) -> Iterator[Finding]:
    """These images in words: a warning for each kind."""
    for kind in ("stuck", "exhausted"):
        if images := [pull.image for pull in found if pull.kind == kind]:
            yield Finding.of(f"image_{kind}", images, usual=round(100 * max(pull.usual for pull in found)))
