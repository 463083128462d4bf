"""Whether output has reached the person's screen: the app asks the terminal after a paint, and the answer proves it.

The buffers of ssh and of the network hold far more than a thin line carries in a second, so a write that returns proves
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

QUESTION = "\x1b[?2026$p"
"""Asks about synchronised output (DECRQM). Textual asks the same at the start, and tells the answer from a key."""

_LONGEST_S = 3.0
"""An answer that takes longer counts as lost: the screen must not freeze."""


class OutputFlow:
    """Counts questions and answers. The app never asks, or waits for, a terminal that never answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.answers = False
        self._sent_at = 0.0
        self._unanswered = 0

    def painted(self) -> bool:
        """Notes that something was sent; True if the question must follow it."""
        if self.answers:
            self._unanswered = self._unanswered + 1 if self.behind else 1
            self._sent_at = self._clock()
        return self.answers

    def answered(self) -> None:
        """Notes an answer: everything sent before its question has arrived."""
        self.answers = True
        self._unanswered = max(0, self._unanswered - 1)

    @property
    def behind(self) -> bool:
        """Whether output is still on its way. Then what can wait should wait; answers to keys never do."""
        return self._unanswered > 0 and self._clock() - self._sent_at < _LONGEST_S
