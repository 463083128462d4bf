"""When a trainer lives and gets no further: how long what it does takes as a rule, and when it takes too long. One rule for all viewers
and for the supervisor."""

from __future__ import annotations

import statistics

from loratui.engine.runs.state import RunState

TIMES = 20
"""A step may take this many times the median."""
LEAST_S = 30.0
"""Nothing is too long before that: a recording, a new bucket, and a checkpoint that waits for a disk hold up single steps."""
LONGEST_STEP_S = 3600.0
FIRST_STEP_S = 1800.0
"""Until the first step: it loads kernels and compiles, on a CPU for a quarter of an hour."""
_OTHER_S = {"loading": 1800.0, "caching": 600.0, "sampling": 600.0, "saving": 600.0, "finishing": 600.0, "measuring": 600.0}
"""Between two signs of progress in the other phases: a base may come over a slow network, an image be encoded on the CPU."""


def usual_s(state: RunState) -> float:
    """Seconds without progress after which a trainer in this state is stalled."""
    if state.phase != "training":
        longest = _OTHER_S.get(state.phase, FIRST_STEP_S)
        image_s = state.image_s if state.phase == "sampling" else None
        return longest if image_s is None else max(longest, TIMES * image_s)
    if not state.stepped or not state.eta.shown:
        return FIRST_STEP_S
    return min(LONGEST_STEP_S, max(LEAST_S, TIMES * statistics.median(state.eta.shown)))


def words(state: RunState, idle_s: float) -> str:
    """What a trainer that has got no further for so long is stalled at; "" for one that is not."""
    if idle_s <= usual_s(state) or state.waiting is not None:  # what a disk that is full explains
        return ""
    waited = round_about(idle_s)
    if state.phase == "training" and state.stepped and state.eta.shown:
        return f"No step for {waited}, where one takes {_seconds(statistics.median(state.eta.shown))}."
    return f"The trainer has got no further for {waited}{_doing(state)}."


def round_about(seconds: float) -> str:
    """A time in steps that one need not look at each second: 10 s up to a minute, then minutes, then hours."""
    if seconds < 60:
        return f"{seconds // 10 * 10:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"


def _doing(state: RunState) -> str:
    doing = state.text or state.phase
    return f" ({doing[:1].lower()}{doing[1:]})" if doing else ""


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
