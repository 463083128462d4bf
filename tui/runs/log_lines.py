"""The events of a run's log as lines for a person. Pure; the caller cleans the texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loratui.engine.runs.events import Event
from loratui.engine.runs.held_out import IN_WORDS, HeldOut
from loratui.engine.runs.measured import LikelyBest, Measured
from loratui.engine.runs.records import Acknowledgement, Action, Epoch, Waiting, Warning, record
from loratui.engine.runs.state import RunState
from loratui.tui import text
from loratui.tui.runs import figures, measured_words

Level = Literal["info", "good", "warning", "error"]
Said = tuple[str, Level] | None

_LONGEST = 2000
"""Characters of a line."""
_EXPECTED_ENDS = (0, 10, 143)
"""Exit codes of a trainer that ended as it should: done, paused, stopped."""
ACTIONS: dict[str, str] = {"copy": "copy", "command": "command", "notify": "message", "pod": "stop of the pod"}
"""What follows the end of a run, in words."""
_ENDINGS: dict[str, Level] = {"done": "good", "paused": "info", "stopped": "info"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for the person."""

    ts: float
    text: str
    level: Level = "info"


def line(event: Event, before: RunState) -> LogLine | None:
    """The line of an event, if it has one; `before` is the state without it."""
    said = _words(event, before)
    return LogLine(event.ts, text.both_ends(said[0], _LONGEST), said[1]) if said and said[0] else None


def damage(lines: int) -> str:
    """The line about damaged lines of the log."""
    return f"{text.count(lines, 'damaged line')} of the log {'was' if lines == 1 else 'were'} left out"


def _words(event: Event, before: RunState) -> Said:
    step, path, status = text.number(event.count("step")), event.path("path"), event.text("status")
    match event.type:
        case "run_started":
            return _run_started(event, before), "info"
        case "trainer_started":
            attempt = event.count("attempt")
            return "the trainer starts" if attempt <= 1 else f"the trainer starts again (attempt {attempt})", "info"
        case "phase_changed":
            return event.text("text"), "info"
        case "step":
            return _step(event, before, step)
        case "epoch_finished":
            epoch = record(Epoch, event)
            shown = f"mean loss {text.loss(epoch.loss)}" if epoch.loss is not None else "no finite loss"
            return f"epoch {epoch.epoch} of {before.epochs} done, {shown}", "info"
        case "held_out":
            measured = record(HeldOut, event)
            on = IN_WORDS.get(measured.what)
            return f"loss on {on} {text.loss(measured.loss)}{figures.against_base(measured)}" if on else "", "info"
        case "sample_written":
            return f"sample at step {step}: {path}", "info"
        case "samples_measured":
            return _measured(Measured.of(event), before), "info"
        case "likely_best":
            return _likely_best(record(LikelyBest, event), before), "good"
        case "checkpoint_written" if event.text("reason") in ("asked", "stopping"):
            return f"checkpoint at step {step}", "good"
        case "output_written":
            return (f"the finished LoRA: {path}", "good") if event.get("final") is True else (f"LoRA file: {path}", "info")
        case "warning":
            return record(Warning, event).sentence, "warning"
        case "disk_waiting":
            waiting = record(Waiting, event)
            return f"waits for its disk: {waiting.reason} {waiting.advice}", "error"
        case "disk_resumed":
            return (
                f"the disk takes writes again, after {text.duration(event.number('seconds') or 0.0)}; the run goes on",
                "good",
            )
        case "run_failed_with":
            return record(Warning, event).sentence, "error"
        case "command_acknowledged":
            done = record(Acknowledgement, event)
            words = f"{done.command} {'was carried out' if done.ok else 'was refused'}".replace("_", " ")
            return f"{words}: {done.message}" if done.message else words, "good" if done.ok else "warning"
        case "trainer_ended" if event.get("exit_code") not in _EXPECTED_ENDS:
            return event.text("reason") or "the trainer ended", "warning"
        case "run_finished":
            return event.text("reason") or (status if status in _ENDINGS else "failed"), _ENDINGS.get(status, "error")
        case "action":
            return _action(record(Action, event))
    return None


def _likely_best(found: LikelyBest, before: RunState) -> str:
    if found.stops:
        way = "The run ends after this epoch, as its recipe says."
    elif before.changes.stop_after_epoch or not before.name:
        way = ""
    else:
        way = f"To stop after this epoch: loratui stop {before.name} --after-epoch"
    return f"{measured_words.best(found, before.steps_per_epoch)} {way}".rstrip()


def _measured(point: Measured, before: RunState) -> str:
    """With all that is to be said about an unknown likeness, once."""
    why = measured_words.unknown(point)
    said = any(measured_words.unknown(one) == why for one in before.measured)
    words = f"samples at step {text.number(point.step)}: {measured_words.sentence(point)}"
    return words if said or not why else f"{words}. {why}"


def _action(action: Action) -> Said:
    said = f"{ACTIONS.get(action.action, action.action)}: {action.state}. {action.message}".rstrip()
    if action.attempts > 1:
        said += f" ({action.attempts} attempts)"
    return said, "good" if action.state == "done" else "error" if action.state == "failed" else "info"


def _run_started(event: Event, before: RunState) -> str:
    resumed = event.count("resumed_step")
    if resumed or before.step:
        return f"training resumes from step {text.number(resumed)}"
    planned = (("images", "image"), ("epochs", "epoch"), ("image_steps", "image-step"), ("optimizer_steps", "optimizer step"))
    amounts = ", ".join(text.count(event.count(name), noun) for name, noun in planned)
    scaled = ", in fp16 with a scaled loss" if event.text("dtype") == "float16" else ""
    return f"{amounts}, on {event.text('device') or 'this machine'}{scaled}"


def _step(event: Event, before: RunState, step: str) -> Said:
    if event.get("left_out") is True:
        return None  # a warning says so
    if event.number("loss") is None:
        said_already = before.stepped and before.loss is None
        return None if said_already else (f"the loss of step {step} is not a finite number", "error")
    again = event.count("repeated") - before.repeated
    if again <= 0:
        return None
    many = text.count(again, "attempt")
    return f"step {step}: {many} left the range of fp16; repeated with a smaller loss scale, and no step is missing", "info"
