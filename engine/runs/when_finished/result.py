"""What becomes of an action, and how one that failed is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from loratui.engine.runs.when_finished.stopping import Stopping

State = Literal["begun", "waiting", "done", "failed", "cancelled", "interrupted", "skipped"]

PAUSES_S = (2.0, 10.0, 60.0)
"""Before each further try."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an action ended."""

    state: State
    message: str
    attempts: int = 1
    passing: bool = False
    """Whether another try may go better."""


def stopped(stopping: Stopping) -> Result:
    """The result of an action that was to stop."""
    if stopping.why == "cancelled":
        return Result("cancelled", "Cancelled as asked.")
    return Result("interrupted", "Ended with loratui or the machine before it was done.")


def tried(once: Callable[[], Result], stopping: Stopping, pauses_s: tuple[float, ...] = PAUSES_S) -> Result:
    """The result of an action, tried again as long as its failure may pass."""
    for attempt, pause_s in enumerate((*pauses_s, None), 1):
        result = replace(once(), attempts=attempt)
        if pause_s is None or result.state != "failed" or not result.passing:
            break
        if stopping.wait(pause_s):
            return replace(stopped(stopping), attempts=attempt)
    return result
