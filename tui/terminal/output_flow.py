"""Whether what was sent has come to the person's screen: the terminal is asked after a paint, and answers when it has got there.

Between here and there stand the buffers of ssh and of the network, which take in far more than a thin line carries in a
second, so that a write that returns tells nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

QUESTION = "\x1b[?2026$p"
"""Whether synchronised output is known (DECRQM). Textual asks it at the start, and knows the answer from a key."""

_LONGEST_S = 3.0
"""An answer that takes longer is taken for lost; nobody shall look at a screen that stands still."""


class OutputFlow:
    """Keeps the account of questions and answers. A terminal that never answers is never asked, nor waited for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.answers = False
        """Whether this terminal answers at all."""
        self._sent_at = 0.0
        self._unanswered = 0

    def painted(self) -> bool:
        """Something was sent. Whether to send the question after it."""
        if self.answers:
            self._wait()
        return self.answers

    def answered(self) -> None:
        """An answer is here, and so is everything that was sent before its question."""
        self.answers = True
        self._unanswered = max(0, self._unanswered - 1)

    @property
    def behind(self) -> bool:
        """Whether something is still on its way. What can wait should wait then; answers to keys never do."""
        return self._unanswered > 0 and self._clock() - self._sent_at < _LONGEST_S

    def _wait(self) -> None:
        if not self.behind:
            self._unanswered = 0
        self._unanswered += 1
        self._sent_at = self._clock()
