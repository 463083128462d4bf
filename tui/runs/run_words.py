"""A run in training in words: progress, figures, and how it ended. Pure; the caller cleans the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from textual.content import Content

from loratui.engine.runs.clock import zone
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.measured import COPY_RISKS, Measured
from loratui.engine.runs.records import Action
from loratui.engine.runs.state import RunState
from loratui.engine.runs.summary import RunSummary
from loratui.tui import text
from loratui.tui.runs import figures, measured_words
from loratui.tui.runs.log_lines import ACTIONS
from loratui.tui.widgets import braille
from loratui.tui.widgets.line import plain

NUMBERS: dict[str, str] = {
    "smoothed": "loss, smoothed",
    "rate": "rate",
    "left": "time left",
    "money": "cost + to come",
    "lr": "learning rate",
    "norm": "gradient",
    "memory": "GPU memory",
}
"""Id -> title of each figure."""

COMMANDS: dict[str, str] = {
    "sample": "sample",
    "checkpoint": "checkpoint",
    "pause": "pause",
    "stop": "stop",
    "stop_after_epoch": "stop after this epoch",
    "set_samples": "other samples",
    "cancel_when_finished": "cancel",
}
"""Commands in words."""

_WORTH_TELLING_S = 2
"""Shorter waits are not shown."""

ASKED: dict[str, str] = {
    "sample": "Samples requested; they come after this step.",
    "checkpoint": "Checkpoint requested; it comes after this step.",
    "pause": "Pause requested: the run writes a checkpoint and ends. You can resume it.",
    "stop": "Stop requested: the run writes a checkpoint and the LoRA file, and ends.",
    "stop_after_epoch": "Requested; the trainer answers after this step.",
    "set_samples": "Change requested; the trainer answers after this step.",
    "cancel_when_finished": "Cancel requested.",
}


def steps_words(state: RunState, now: float | None = None, width: int = 200) -> Content:
    """Progress in both kinds of steps; also when the run ends, if that is known at time `now` and fits `width`."""
    progress = state.progress
    if not state.image_step and progress is not None and progress.total:
        made = f"{text.number(progress.done)} of {text.number(progress.total)}"
        return plain(f"{figures.phase(state)}: {made} {progress.text}".rstrip())
    steps = f"{figures.steps(state)} optimizer steps"
    if waits := waiting_words(state, now):
        return plain(f"{waits} · {steps}" if state.started else waits)
    if not state.started:
        return plain(figures.phase(state))
    words = f"{figures.epoch(state)} · {figures.image_steps(state)} image-steps · {steps}"
    left = state.time_left
    end = ""
    if now is not None and left and left.sure:
        end = f" · ends about {text.clock(now + left.seconds)[:5]} {zone(now + left.seconds)}"
    return plain(f"{words}{end}" if len(words) + len(end) <= width else words)


def waiting_words(state: RunState, now: float | None) -> str:
    """What the run waits for before this trainer's first step, and for how long; empty once it makes steps."""
    awaited = figures.awaited(state)
    if now is None or not awaited:
        return ""
    waited = int(state.waited_s(now))
    return f"{awaited} … {text.duration(waited)}" if waited >= _WORTH_TELLING_S else f"{awaited} …"


def fraction(state: RunState) -> float:
    """Share done of training, or of the phase before it."""
    if state.ending and state.ending.status == "done":
        return 1.0
    if state.progress and state.progress.total and not state.image_step:
        return state.progress.done / state.progress.total
    return state.fraction


def numbers(state: RunState, *, active: bool, price_per_hour: float) -> dict[str, tuple[str, str]]:
    """Id -> title and value of each figure; a value that does not apply is empty and not shown."""
    to_come = figures.cost_to_come(state, price_per_hour, active)
    so_far = figures.cost_so_far(state, price_per_hour)
    values = {
        "smoothed": figures.loss(state),
        "rate": figures.rate(state, active),
        "left": figures.time_left(state, active),
        "money": (f"{so_far} + {to_come}" if to_come else so_far) if price_per_hour else "",
        "lr": figures.learning_rate(state),
        "norm": figures.grad_norm(state),
        "memory": figures.memory(state),
    }
    unsure = active and not figures.left_is_sure(state)
    titles = {**NUMBERS, "left": "left, not sure" if unsure else NUMBERS["left"]}
    if values["money"] and not to_come:
        titles["money"] = "cost so far"
    return {name: (titles[name], value) for name, value in values.items()}


def warning_words(state: RunState) -> Content:
    """The last warning with its remedy, and how many there are."""
    if not state.warnings:
        return Content("")
    last = next(reversed(state.warnings))
    count = len(state.warnings)
    more = f" ({count - 1} more: w)" if count > 1 else ""
    return Content("").join([plain("! ", "bold $warning"), plain(last.sentence), plain(more, "$muted")])


def loss_title(history: RunHistory, room: int) -> str:
    """What the loss panel is about and, where it was measured, the loss on images that are not trained on, as a curve by epoch: as much
    of it as fits into `room` cells."""
    last, best = history.state.held_out, history.state.held_out_best
    if last is None or last.change is None or not last.epoch or last.what not in _CURVES:
        return "loss"
    curve = _bars([one.change for one in history.held_out if one.change is not None and one.what == last.what])
    change = f"{abs(last.change):.1%} {'below' if last.change < 0 else 'above'} base".replace("%", " %")
    name, lowest = _CURVES[last.what], f", lowest: epoch {best.epoch}" if best and best.epoch else ""
    sizes = (f"{name} {curve} {change}{lowest}", f"{name} {last.change:+.1%}{lowest}".replace("-", "−").replace("%", " %"))
    return next((f"loss · {words}" for words in (*sizes, f"{name} {change}") if len(words) + 7 <= room), "loss")


_CURVES: dict[str, str] = {"held_out": "held out", "regularisation": "regularisation", "class_images": "class images"}
_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 10


def _bars(values: Sequence[float]) -> str:
    """A curve in one line; of many values some, evenly spread, the last among them."""
    count = min(len(values), _MOST_BARS)
    chosen = [values[(at + 1) * len(values) // count - 1] for at in range(count)]
    least, most = min(chosen), max(chosen)
    return "".join(_BARS[round((value - least) / (most - least) * 7) if most > least else 0] for value in chosen)


def measured(state: RunState, *, active: bool) -> Content:
    """What was measured of the newest samples, and which are likely the best; of a run that has ended only these, if there are some."""
    best = measured_words.likely_best(state, "e" if active else "")
    lines = [plain(best, "bold $success")] if best else []
    if state.measured and (active or not best):
        newest = state.measured[-1]
        likeness, *others = measured_words.parts(newest)
        step = plain(f"samples at {text.number(newest.step)}: ", "$muted")
        found = [plain(likeness, _TONES[braille.LIKENESS]), *(plain(words, _TONES[braille.NEAREST]) for words in others[:1])]
        lines.insert(0, step + Content(" · ").join([*found, *map(plain, others[1:])]))
    return Content("\n").join(lines)


_NAMES: dict[int, str] = {braille.LIKENESS: "likeness", braille.NEAREST: "nearest photo"}
_TONES: dict[int, str] = {braille.LIKENESS: "$success", braille.NEAREST: "$warning"}
"""Colours of the curves, in which the words about them are too."""


def curves(points: Iterable[Measured]) -> dict[int, list[tuple[int, float]]]:
    """What is drawn beside the loss, each with its points."""
    points = list(points)
    found = {
        braille.NEAREST: measured_words.curve(points, *COPY_RISKS),
        braille.LIKENESS: measured_words.curve(points, "likeness"),
    }
    return {kind: line for kind, line in found.items() if line}


def plot_title(history: RunHistory, room: int) -> Content:
    """What the plot shows: the loss on images that are not trained on, else the curves beside the loss in their colours."""
    title = loss_title(history, room)
    shown = curves(history.measured)
    if title != "loss" or not shown:
        return plain(title)
    named = [plain(words, _TONES[kind]) for kind, words in _NAMES.items() if kind in shown]
    return Content.assemble("loss · ", Content(", ").join(named), " (0–1)")


def pointed_words(history: RunHistory, step: int | None) -> str:
    """The figures of the chosen step; empty if none is chosen."""
    if step is None:
        return ""
    there, rate = history.losses.at(step), history.learning_rates.at(step)
    if step < 1 or there is None:
        return "before the first step"
    shown = f"step {text.number(step)}: loss {text.loss(there.mean)}, smoothed {text.loss(there.smoothed)}"
    return f"{shown}, lr {text.learning_rate(rate.mean)}" if rate else shown


def verdict(summary: RunSummary | None, history: RunHistory, file: Callable[[str], Path | None]) -> Content:
    """How the run ended, or what is wrong with it; empty while all is well."""
    if summary is None or (summary.active and not summary.reason):
        return Content("")
    done = summary.status == "done"
    said = summary.reason if done or summary.status == "finishing" else f"{summary.reason} {what_to_do(summary)}".strip()
    sign, tone = text.STATUS_SIGNS[summary.status], f"bold {text.STATUS_TONES[summary.status]}"
    status = "" if done or said.lower().startswith(summary.status) else f"{summary.status}. "  # not "paused. Paused as asked."
    parts = [plain(f"{sign} {status}", tone), plain(said)]
    output = history.newest_output
    if output and summary.status in ("done", "stopped"):
        where = file(output.path) or output.path
        parts += [Content("\n"), plain(f"LoRA file ({text.size(output.bytes)}): {where}")]
    if done:
        parts += [Content("\n"), plain("v", "bold $accent"), plain("  validation: is it any good?")]
    return Content("").join(parts)


def actions_words(state: RunState, now: float) -> Content:
    """What became of what follows the end, a line each; of a countdown the seconds that are left, and the key."""
    return Content("\n").join([_action_words(action, now) for action in state.actions])


def _action_words(action: Action, now: float) -> Content:
    if action.state == "waiting" and action.until is not None:
        left = max(0, round(action.until - now))
        return Content.assemble(
            plain(f"◐ The pod stops in {left} s. ", "bold $warning"), plain("k", "bold $accent"), plain("  cancels.")
        )
    signs = {"done": ("✔", "$success"), "failed": ("✖", "$error"), "begun": ("●", "$accent")}
    sign, tone = signs.get(action.state, ("–", "$muted"))
    said = action.message or ("" if action.state == "done" else action.state)
    return Content.assemble(plain(f"{sign} ", f"bold {tone}"), plain(f"{ACTIONS.get(action.action, action.action)}: {said}"))


def what_to_do(summary: RunSummary) -> str:
    """What to do about a run that ended, with the key for it."""
    return f"r {summary.goes_on}." if summary.resumable and summary.status != "failed" else summary.advice


def standing(summary: RunSummary | None, state: RunState, asked: list[str]) -> Content:
    """The status for the corner of the screen: sign, words, and what was requested."""
    if summary is None:
        return Content("")
    words = figures.status(summary)
    if summary.status == "running" and summary.job != "validate":
        words = figures.phase(state)
    if summary.status == "waiting":
        words = "waiting for the disk"
    if asked:
        words += f", {' and '.join(sorted({COMMANDS[command] for command in asked}))} requested"
    elif state.changes.stop_after_epoch and summary.status != "done" and summary.job != "validate":
        words += f", stops after epoch {state.changes.stop_after_epoch}"
    return plain(f"{text.STATUS_SIGNS[summary.status]} {words}", f"bold {text.STATUS_TONES[summary.status]}")
