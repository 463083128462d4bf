"""What was measured of a run's samples, in words and as curves. Pure; the caller cleans the texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from loratui.engine.runs.measured import COPY_RISKS
from loratui.tui import text

if TYPE_CHECKING:
    from loratui.engine.runs.measured import LikelyBest, Measured
    from loratui.engine.runs.state import RunState

_SINCE: dict[str, str] = {
    "plateau": "likeness has not risen since",
    "turn": "likeness has fallen since",
    "copies": "later samples copy photos",
    "held_out": "held-out loss now rises",
}


def sentence(point: Measured) -> str:
    """The measures of one step: `likeness 0.83 (photos 0.78–0.92) · no copies`."""
    return " · ".join(parts(point))


def parts(point: Measured) -> list[str]:
    """Likeness, or in a few words why it is unknown; then copies; then variety, where it is known."""
    why = unknown(point).partition(". ")[0].rstrip(".")
    likeness = _likeness(point) + (f": {why[:1].lower()}{why[1:]}" if why else "")
    return [likeness, _copies(point), *_variety(point)]


def unknown(point: Measured) -> str:
    """Why likeness is unknown; empty where it is known."""
    return next((one.unknown for one in point.measures if one.id == "likeness" and one.value is None), "")


def best(found: LikelyBest, steps_per_epoch: int) -> str:
    """Which samples are likely the best, and why: `Epoch 4 is likely the best: likeness has not risen since.`"""
    since = _SINCE.get(found.kind)
    return f"{place(found, steps_per_epoch)} is likely the best" + (f": {since}." if since else ".")


def place(found: LikelyBest, steps_per_epoch: int) -> str:
    """`Epoch 4`, or `Step 400` within an epoch."""
    whole = not steps_per_epoch or found.step == found.epoch * steps_per_epoch
    return f"Epoch {found.epoch}" if whole else f"Step {text.number(found.step)}"


def newest(state: RunState) -> str:
    """The measures of the newest samples; empty where none were measured."""
    return f"samples at {text.number(state.measured[-1].step)}: {sentence(state.measured[-1])}" if state.measured else ""


def likely_best(state: RunState, key: str = "") -> str:
    """Which samples are likely the best, with the key that ends after this epoch while it is of use; empty where that is unknown."""
    if state.likely_best is None:
        return ""
    asked = state.changes.stop_after_epoch is not None
    words = best(state.likely_best, state.steps_per_epoch)
    return f"{words} {key}: stop after epoch" if key and not asked else words


def curve(points: Iterable[Measured], *ids: str) -> list[tuple[int, float]]:
    """Steps and values of the first of the measures that is known."""
    points = list(points)
    for id in ids:
        if found := [(point.step, value) for point in points if (value := point.value(id)) is not None]:
            return found
    return []


def _likeness(point: Measured) -> str:
    found = point.get("likeness")
    if found is None or found.value is None:
        return "likeness unknown"
    if found.low is not None and found.high is not None:
        return f"likeness {found.value:.2f} (photos {found.low:.2f}–{found.high:.2f})"
    return f"likeness {found.value:.2f}" + ("" if found.base is None else f" (base {found.base:.2f})")


def _copies(point: Measured) -> str:
    share = point.copied
    if share is not None:
        copies = round(share * point.images)
        return f"{copies} of {point.images} copy a photo" if copies else "no copies"
    near = next((value for id in COPY_RISKS if (value := point.value(id)) is not None), None)
    return "copies unknown" if near is None else f"nearest photo {near:.2f}"


def _variety(point: Measured) -> Iterator[str]:
    found = point.get("variety")
    if found is not None and found.value is not None and found.base:
        yield f"variety {found.value / found.base:.2f} of the base's"
