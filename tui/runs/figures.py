"""The figures of a run in words, one function each, for every screen and command. Pure; the caller cleans the texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from loratui.engine.runs.held_out import IN_WORDS
from loratui.tui import text

if TYPE_CHECKING:
    from loratui.engine.runs.held_out import HeldOut
    from loratui.engine.runs.records import Machine
    from loratui.engine.runs.state import RunState
    from loratui.engine.runs.summary import RunSummary

PHASES: dict[str, str] = {
    "loading": "loading the base",
    "caching": "preparing the images",
    "sampling": "making samples",
    "training": "training",
    "saving": "saving",
    "finishing": "finishing",
    "validating": "making validation images",
    "measuring": "measuring the images",
}
"""The trainer's phases in words."""

_LEAVING: dict[str, str] = {"pause": "pausing", "stop": "stopping"}
_ENDINGS = ("done", "paused", "stopped")


def trains(run: RunSummary) -> bool:
    """Whether the run makes steps: only then does it have a rate and a time left."""
    return run.status in ("running", "starting") and run.job == "train"


def status(run: RunSummary) -> str:
    """The status of a run in a word; with a question mark where another machine may know better."""
    word = "validating" if run.job == "validate" and run.active else run.status
    return word if run.certainty == "sure" else f"{word}?"


def signed_status(run: RunSummary) -> str:
    """The status with its sign."""
    return f"{text.STATUS_SIGNS[run.status]} {status(run)}"


def phase(state: RunState) -> str:
    """What the run does, or how it ended, in a few words."""
    if state.ending:
        return state.ending.status if state.ending.status in _ENDINGS else "failed"
    if state.leaving in _LEAVING:
        return _LEAVING[state.leaving]
    return PHASES.get(state.phase, state.phase) or "waiting for the trainer"


def awaited(state: RunState) -> str:
    """What this trainer does before its first step; empty once it makes steps, or where that is unknown."""
    if state.stepped or state.ending or not state.waiting_since:
        return ""
    words = "the first step, which may be compiled" if state.phase == "training" else state.text or phase(state)
    return words[:1].lower() + words[1:]


def held_out(state: RunState) -> str:
    """`loss on held-out images 0.0812, 6.2 % below the base's; lowest after epoch 4`; empty where it was not measured."""
    last, best = state.held_out, state.held_out_best
    if last is None or last.what not in IN_WORDS:
        return ""
    words = f"loss on {IN_WORDS[last.what]} {text.loss(last.loss)}{against_base(last)}"
    return words if best is None or best.epoch in (0, last.epoch) else f"{words}; lowest after epoch {best.epoch}"


def against_base(measured: HeldOut) -> str:
    """`, 6.2 % below the base's`; empty before the first epoch and where it is unknown."""
    change = measured.change
    if change is None or not measured.epoch:
        return ""
    return f", {abs(change):.1%} {'below' if change < 0 else 'above'} the base's".replace("%", " %")


def steps(state: RunState) -> str:
    """Optimizer steps made: `270 of 900`; `270` where the plan is unknown."""
    return _made(state.step, state.optimizer_steps)


def image_steps(state: RunState) -> str:
    """Image-steps made: `540 of 1 800`."""
    return _made(state.image_step, state.image_steps)


def epoch(state: RunState) -> str:
    """`epoch 3 of 10`; empty where the plan is unknown."""
    return f"epoch {max(1, state.epoch)} of {state.epochs}" if state.epochs else ""


def percent(state: RunState) -> str:
    """Share of the image-steps made: `30 %`; empty where the plan is unknown."""
    return f"{min(100, max(0, state.image_step * 100 // state.image_steps))} %" if state.image_steps > 0 else ""


def loss(state: RunState) -> str:
    """The smoothed loss; `–` before the first step."""
    return text.loss(state.loss_smoothed)


def rate(state: RunState, active: bool) -> str:
    """Optimizer steps a second, or seconds a step; `–` if the run makes none."""
    return text.rate(state.steps_per_s if active else None)


def seconds_left(state: RunState, active: bool) -> float | None:
    """To the last step; None if the run makes no steps, or while that is unknown."""
    left = state.time_left if active else None
    return left.seconds if left else None


def left_is_sure(state: RunState) -> bool:
    """Whether the time left rests on enough steps; True if no time is known."""
    return state.time_left is None or state.time_left.sure


def time_left(state: RunState, active: bool) -> str:
    """`3 min`; `–` where that is unknown."""
    return text.time_left(seconds_left(state, active))


def worked(state: RunState) -> str:
    """Time in which trainers have worked; `–` before the first."""
    return text.duration(state.worked_s or None)


def cost_so_far(state: RunState, price_per_hour: float) -> str:
    """Cost of the machine for this run so far: `0.31`."""
    return f"{state.worked_s / 3600 * price_per_hour:.2f}"


def cost_to_come(state: RunState, price_per_hour: float, active: bool) -> str:
    """Cost to the last step; empty where that is unknown."""
    seconds = seconds_left(state, active)
    return "" if seconds is None else f"{seconds / 3600 * price_per_hour:.2f}"


def learning_rate(state: RunState) -> str:
    """Of the last step."""
    return text.learning_rate(state.learning_rate)


def grad_norm(state: RunState) -> str:
    """Of the last step, before it was clipped."""
    return text.loss(state.grad_norm)


def memory(state: RunState) -> str:
    """Peak GPU memory of the trainer; empty without a GPU."""
    return f"{state.memory_gib:.1f} GiB" if state.memory_gib else ""


def file(state: RunState) -> str:
    """Name of the LoRA file; `–` before the first."""
    return PurePosixPath(state.output).name or "–"


def progress(state: RunState, active: bool) -> Iterator[str]:
    """Where training is: `step 270 of 900`, `epoch 3 of 10`, `smoothed loss 0.1234`, `9.1 steps/s`, `3 min left`.

    A run that makes no steps (`active` False) has no rate and no time left.
    """
    yield f"step {steps(state)}"
    if epoch(state):
        yield epoch(state)
    if state.loss_smoothed is not None:
        yield f"smoothed loss {loss(state)}"
    if active and state.steps_per_s:
        yield rate(state, active)
    if seconds_left(state, active) is not None:
        yield f"{time_left(state, active)} left" + ("" if left_is_sure(state) else ", not sure yet")


def sentence(state: RunState, active: bool) -> str:
    """`progress` in one sentence, with the share made: `step 270 of 900 (30 %), epoch 3 of 10, …`."""
    first, *others = progress(state, active)
    share_made = f" ({percent(state)})" if percent(state) else ""
    return ", ".join([f"{first}{share_made}", *others])


def costs(state: RunState, price_per_hour: float, active: bool) -> Iterator[str]:
    """`worked 12 min 04 s` and, where the price of the machine is known, `cost so far 0.31, 0.12 to come`."""
    if state.worked_s >= 1:
        yield f"worked {worked(state)}"
    if price_per_hour and state.worked_s:
        to_come = cost_to_come(state, price_per_hour, active)
        yield f"cost so far {cost_so_far(state, price_per_hour)}" + (f", {to_come} to come" if to_come else "")


def machine(seen: Machine | None) -> str:
    """What the machine does, in one line; empty if it was not measured."""
    return "  ".join(_machine(seen)) if seen is not None else ""


def _machine(seen: Machine) -> Iterator[str]:
    if seen.gpu:
        yield f"GPU {share(seen.gpu_percent)}"
        yield f"VRAM {of_gib(seen.gpu_memory_gib, seen.gpu_memory_total_gib)}"
        if seen.gpu_c is not None:
            yield f"{seen.gpu_c:.0f} °C"
        if seen.gpu_w is not None:
            yield f"{seen.gpu_w:.0f} W"
        if seen.throttle:
            yield f"slowed by {' and '.join(seen.throttle)}"
    elif seen.cpu_share is not None:
        yield f"CPU {share(seen.cpu_share)}"
    if seen.ram_gib is not None:
        yield f"RAM {of_gib(seen.ram_gib, None if seen.gpu else seen.ram_total_gib)}"
    if seen.disk_free_gib is not None:
        yield f"disk {seen.disk_free_gib:.0f} GiB free"


def share(percent: float | None) -> str:
    """A share of the machine: `97 %`."""
    return "–" if percent is None else f"{percent:.0f} %"


def of_gib(used: float | None, total: float | None) -> str:
    """Memory in use: `12.3 of 24 GiB`."""
    if used is None:
        return "–"
    return f"{used:.1f} of {total:.0f} GiB" if total else f"{used:.1f} GiB"


def _made(made: int, planned: int) -> str:
    return f"{text.number(made)} of {text.number(planned)}" if planned else text.number(made)
