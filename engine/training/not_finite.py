"""What a run does about a step whose numbers are not finite: leave it out and name its images, a few times in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.errors import NotFiniteError
from loratui.engine.training.data import AccumulationWindow
from loratui.engine.training.reporting import Reporter

MOST_IN_A_ROW = 3
"""Steps left out in a row. A bad image or a bad draw is past by then; what is still not finite is the LoRA or the base."""
_MOST_NAMES = 8


class NotFinite:
    """Counts the steps of one run that are left out."""

    def __init__(self, images: Sequence[LedgerEntry], dtype: torch.dtype, report: Reporter) -> None:
        self._images, self._dtype, self._report = images, dtype, report
        self.most = MOST_IN_A_ROW
        self._in_a_row = 0

    def leaves_out(self, window: AccumulationWindow, norm: float, loss: float) -> bool:
        """Whether the step of a window with these figures is left out; then its images are named in a warning.

        Raises `NotFiniteError` for one more in a row than `most`.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        names = sorted({self._images[i].relative for batch in window.batches for i in batch})
        what = "loss" if not math.isfinite(loss) else "gradient"
        if self._in_a_row > self.most:
            raise self._too_many(what, window.after.step, names)
        self._report.warn(
            "batch_left_out", what=what, step=window.after.step, files=names, number=self._in_a_row, most=self.most
        )
        return True

    def _too_many(self, what: str, step: int, files: Sequence[str]) -> NotFiniteError:
        before = f", like the {self.most} before it" if self.most else ""
        more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
        fp32 = "Set training.precision to fp32 or lower" if self._dtype == torch.float16 else "Lower"
        return NotFiniteError(
            f"The {what} of step {step} is not a finite number; the step was not made{before}. "
            f"Its images: {', '.join(files[:_MOST_NAMES])}{more}.",
            f"{fp32} the learning rate, then start a new run; the last checkpoint and the LoRA files are good.",
        )
