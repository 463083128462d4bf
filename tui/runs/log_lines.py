"""The lines of a run's log in words: what one event tells a person. Pure; the texts are still to be cleaned for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loratui.engine.runs.events import Event
from loratui.engine.runs.records import Acknowledgement, Epoch, Output, Warning, record
from loratui.engine.runs.state import RunState
from loratui.tui import text

Level = Literal["info", "good", "warning", "error"]
Said = tuple[str, Level] | None

_LONGEST = 2000
"""Characters of a line."""
_EXPECTED_ENDS = (0, 10, 143)
"""Exit codes of a trainer that ended as it should: done, paused, stopped."""
_ENDINGS: dict[str, Level] = {"done": "good", "paused": "info", "stopped": "info"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for the person."""

    ts: float
    text: str
    level: Level = "info"


def line(event: Event, before: RunState) -> LogLine | None:
    """The line of an event, if it has one; `before` is the state without it."""
    words = _WORDS.get(event.type)
    said = words(event, before) if words else None
    return LogLine(event.ts, text.both_ends(said[0], _LONGEST), said[1]) if said else None


def damage(lines: int) -> str:
    """What is said of lines of the log that could not be used."""
    return f"{text.count(lines, 'damaged line')} of the log {'was' if lines == 1 else 'were'} left out"


def _run_started(event: Event, before: RunState) -> Said:
    resumed = event.count("resumed_step")
    if resumed or before.step:
        return f"training goes on from step {text.number(resumed)}", "info"
    planned = (("images", "image"), ("epochs", "epoch"), ("image_steps", "image-step"), ("optimizer_steps", "optimizer step"))
    amounts = ", ".join(text.count(event.count(name), noun) for name, noun in planned)
    scaled = ", in fp16 with a scaled loss" if event.text("dtype") == "float16" else ""
    return f"{amounts}, on {event.text('device') or 'this machine'}{scaled}", "info"


def _trainer_started(event: Event, _: RunState) -> Said:
    attempt = event.count("attempt")
    return "the trainer starts" if attempt <= 1 else f"the trainer starts again (attempt {attempt})", "info"


def _phase_changed(event: Event, _: RunState) -> Said:
    return (event.text("text"), "info") if event.text("text") else None


def _step(event: Event, before: RunState) -> Said:
    if event.number("loss") is None:
        said_already = before.stepped and before.loss is None
        return (
            None if said_already else (f"the loss of step {text.number(event.count('step'))} is not a finite number", "error")
        )
    again = event.count("repeated") - before.repeated
    if again <= 0:
        return None
    many = text.count(again, "attempt")
    words = f"{many} at a step left the range of fp16; made again with a smaller loss scale, and no step is missing"
    return f"step {text.number(event.count('step'))}: {words}", "info"


def _epoch_finished(event: Event, before: RunState) -> Said:
    epoch = record(Epoch, event)
    shown = f"mean loss {text.loss(epoch.loss)}" if epoch.loss is not None else "no finite loss"
    return f"epoch {epoch.epoch} of {before.epochs} done, {shown}", "info"


def _sample_written(event: Event, _: RunState) -> Said:
    return f"sample at step {text.number(event.count('step'))}: {event.path('path')}", "info"


def _checkpoint_written(event: Event, _: RunState) -> Said:
    wished = event.text("reason") in ("asked", "stopping")
    return (f"checkpoint at step {text.number(event.count('step'))}", "good") if wished else None


def _output_written(event: Event, _: RunState) -> Said:
    output = record(Output, event)
    return (f"the finished LoRA: {output.path}", "good") if output.final else (f"LoRA file: {output.path}", "info")


def _warning(event: Event, _: RunState) -> Said:
    return record(Warning, event).sentence, "warning"


def _command_acknowledged(event: Event, _: RunState) -> Said:
    done = record(Acknowledgement, event)
    words = f"{done.command} {'was carried out' if done.ok else 'was refused'}".replace("_", " ")
    return f"{words}: {done.message}" if done.message else words, "good" if done.ok else "warning"


def _run_failed_with(event: Event, _: RunState) -> Said:
    return record(Warning, event).sentence, "error"


def _trainer_ended(event: Event, _: RunState) -> Said:
    expected = event.get("exit_code") in _EXPECTED_ENDS
    return None if expected else (event.text("reason") or "the trainer ended", "warning")


def _run_finished(event: Event, _: RunState) -> Said:
    status = event.text("status")
    return event.text("reason") or (status if status in _ENDINGS else "failed"), _ENDINGS.get(status, "error")


_WORDS: dict[str, Callable[[Event, RunState], Said]] = {
    "run_started": _run_started,
    "trainer_started": _trainer_started,
    "phase_changed": _phase_changed,
    "step": _step,
    "epoch_finished": _epoch_finished,
    "sample_written": _sample_written,
    "checkpoint_written": _checkpoint_written,
    "output_written": _output_written,
    "warning": _warning,
    "command_acknowledged": _command_acknowledged,
    "run_failed_with": _run_failed_with,
    "trainer_ended": _trainer_ended,
    "run_finished": _run_finished,
}
