"""What the events of a run add up to, without a screen: every view of a run, full-screen or plain, reads a `RunState`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from loratui.engine.runs.contents import leads_out
from loratui.engine.runs.eta import LONGEST_SILENCE_S, EtaEstimator, TimeLeft
from loratui.engine.runs.records import (
    Acknowledgement,
    Checkpoint,
    Ending,
    Image,
    InForce,
    Level,
    LogLine,
    Machine,
    Output,
    Progress,
    Sample,
    Warning,
)
from loratui.engine.runs.series import LossHistory, Series
from loratui.engine.untrusted import finite
from loratui.tui import text

if TYPE_CHECKING:
    from loratui.engine.runs.events import Event, EventBatch

PHASES: dict[str, str] = {
    "loading": "loading the base",
    "caching": "preparing the images",
    "sampling": "making samples",
    "training": "training",
    "saving": "saving",
    "finishing": "finishing",
    "validating": "making the check's images",
}
"""The trainer's phases in words."""

LEAVING: dict[str, str] = {"pause": "pausing", "stop": "stopping"}
"""Commands after which a trainer saves and ends -> what it does then."""

_LONGEST_TEXT = 2000
"""Characters of a warning or a line of the log."""
_MOST_WARNINGS = 200
_LONGEST_STEP_S = 1e7
"""A step that took longer was not measured rightly."""

_EXPECTED_ENDS = (0, 10, 143)
"""Exit codes of a trainer that ended as it should: done, paused, stopped."""

ENDINGS: dict[str, str] = {"done": "done", "paused": "paused", "stopped": "stopped", "failed": "failed"}


def damage(lines: int) -> str:
    """What is said of lines of the log that could not be used."""
    return f"{text.count(lines, 'damaged line')} of the log {'was' if lines == 1 else 'were'} left out"


class RunState:
    """Takes in events in order and holds what they add up to. Never raises for an event that lacks a field."""

    def __init__(self) -> None:
        self.name = ""
        self.preset = ""
        self.family = ""
        self.base = ""
        self.trigger = ""
        self.device = ""
        self.images = 0
        self.epochs = 0
        self.image_steps = 0
        """Image-steps planned."""
        self.optimizer_steps = 0
        """Optimizer steps planned."""
        self.steps_per_epoch = 0
        self.batch_size = 0
        self.accumulation = 0
        self.started = False
        """Whether the trainer has told its numbers."""
        self.attempt = 0
        self.phase = ""
        self.phase_text = ""
        self.waiting_since = 0.0
        """When what it does now was begun, by the writer's clock; 0 where that is unknown."""
        self.progress: Progress | None = None
        self.step = 0
        self.image_step = 0
        self.epoch = 0
        self.loss: float | None = None
        self.loss_finite = True
        self.repeated = 0
        self.learning_rate: float | None = None
        self.grad_norm: float | None = None
        self.memory_gib: float | None = None
        self.losses = LossHistory()
        self.rates = Series()
        """Steps a second."""
        self.learning_rates = Series()
        self.pace = EtaEstimator()
        self.machine: Machine | None = None
        self.busy: deque[float] = deque(maxlen=240)
        """How busy the GPU was, else the CPUs, percent of what they could, by reading."""
        self.changes = InForce()
        self.epoch_ends: deque[int] = deque(maxlen=2000)
        """The optimizer steps with which epochs ended."""
        self.samples: deque[Sample] = deque(maxlen=2000)
        self.checkpoints: deque[Checkpoint] = deque(maxlen=200)
        self.outputs: deque[Output] = deque(maxlen=2000)
        self.grid_images: list[Image] = []
        self._warnings: dict[Warning, None] = {}
        """Each once, the one that was said last at the end."""
        self.log: deque[LogLine] = deque(maxlen=500)
        self.log_count = 0
        """Lines that were ever logged, so that a view knows which of `log` are new."""
        self.acknowledged: dict[str, Acknowledgement] = {}
        self.leaving = ""
        """`pause` or `stop` once the trainer has agreed to it: it ends as soon as it has saved, and takes no more commands."""
        self.stepped = False
        """Whether the trainer that works now, or worked last, has made a step."""
        self.error: Warning | None = None
        """What the trainer said before it ended with an error."""
        self.ending: Ending | None = None
        self.last_ts = 0.0
        """When the last event was written, by the writer's clock; 0 before the first."""
        self.events = 0
        self.skipped = 0
        """Lines of the log that could not be used."""
        self._skipped_told = 0
        self._seq = 0
        self._longest_silence_s = LONGEST_SILENCE_S

    def apply_batch(self, batch: EventBatch, keep_every: int = 1) -> None:
        """Takes in what one read of the log found. `keep_every`: of the frequent events only each so many-th was kept."""
        self._longest_silence_s = LONGEST_SILENCE_S * keep_every
        self.apply_all(batch.events)
        self.skipped += batch.skipped
        # Said again only when there are twice as many: a log that is all damage would else fill every line.
        if self.skipped >= max(1, 2 * self._skipped_told):
            self._skipped_told = self.skipped
            self._log_line(self.last_ts, damage(self.skipped), "warning")

    def apply_all(self, events: Iterable[Event]) -> None:
        """Takes in events in order."""
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Takes in one event; one that was seen before and types that are unknown change nothing."""
        if event.seq <= self._seq:
            return
        self._seq = event.seq
        self.events += 1
        self.last_ts = event.ts
        if event.type != "trainer_started":  # nobody worked between two trainers
            self.pace.tick(event.ts, self._longest_silence_s)
        handler = self._HANDLERS.get(event.type)
        if handler:
            handler(self, event)

    @property
    def fraction(self) -> float:
        """Share of the image-steps that is done, 0 to 1."""
        return min(1.0, self.image_step / self.image_steps) if self.image_steps > 0 else 0.0

    @property
    def smoothed_loss(self) -> float | None:
        """The smoothed loss; None before the first step."""
        return self.losses.smoothed

    @property
    def steps_per_s(self) -> float | None:
        """Optimizer steps a second, of the last steps; pauses and samples do not count. None until a trainer that was
        started again has made a step."""
        return self.pace.steps_per_s if self.stepped else None

    @property
    def time_left(self) -> TimeLeft | None:
        """What is left and whether that is sure; None while it is unknown or the run has ended."""
        return None if self.ending or not self.optimizer_steps else self.pace.time_left()

    @property
    def eta_s(self) -> float | None:
        """Seconds left; None while that is unknown or the run has ended."""
        left = self.time_left
        return left.seconds if left else None

    @property
    def last_step(self) -> int:
        """The optimizer step with which the run ends: the last of the plan, or of the epoch after which it shall stop."""
        epoch = self.changes.stop_after_epoch
        if epoch is None or not self.steps_per_epoch:
            return self.optimizer_steps
        return min(self.optimizer_steps, max(self.step, epoch * self.steps_per_epoch))

    @property
    def warnings(self) -> Sequence[Warning]:
        """The last warnings, each once, the newest at the end."""
        return tuple(self._warnings)

    @property
    def newest_sample(self) -> Sample | None:
        """The sample that was written last."""
        return self.samples[-1] if self.samples else None

    @property
    def newest_output(self) -> Output | None:
        """The finished LoRA file, else the one that was written last."""
        return next((o for o in reversed(self.outputs) if o.final), self.outputs[-1] if self.outputs else None)

    @property
    def finished(self) -> bool:
        """Whether the last word on the run was said."""
        return self.ending is not None

    @property
    def status(self) -> str:
        """How the run stands, in a word or three."""
        if self.ending:
            return ENDINGS.get(self.ending.status, "failed")
        if self.phase:
            return PHASES.get(self.phase, self.phase)
        return "waiting for the trainer"

    @property
    def awaited(self) -> str:
        """What this trainer does before its first step, for people; empty once steps are made, or where that is unknown."""
        if self.stepped or self.finished or not self.waiting_since:
            return ""
        words = "the first step, which may be compiled" if self.phase == "training" else self.phase_text or self.status
        return words[:1].lower() + words[1:]

    def _say(self, event: Event, words: str, level: Level = "info") -> None:
        self._log_line(event.ts, words, level)

    def _log_line(self, ts: float, words: str, level: Level) -> None:
        self.log.append(LogLine(ts, text.both_ends(words, _LONGEST_TEXT), level))
        self.log_count += 1

    def _run_started(self, event: Event) -> None:
        for name in ("name", "preset", "family", "base", "trigger", "device"):
            setattr(self, name, _text(event, name))
        for name in ("images", "epochs", "image_steps", "optimizer_steps", "steps_per_epoch", "batch_size", "accumulation"):
            setattr(self, name, _int(event, name))
        resumed = _int(event, "resumed_step")
        self.started, self.ending, self.error = True, None, None
        self.pace.restart(event.ts)
        self.losses.smoothing.plan(self.optimizer_steps)
        for series in (self.losses, self.rates, self.learning_rates):
            series.drop_after(resumed)
        while self.epoch_ends and self.epoch_ends[-1] > resumed:
            self.epoch_ends.pop()
        self.changes = InForce()
        if resumed or self.step:
            self.step = resumed
            self._say(event, f"training goes on from step {text.number(resumed)}")
        else:
            amounts = (
                text.count(self.images, "image"),
                text.count(self.epochs, "epoch"),
                text.count(self.image_steps, "image-step"),
                text.count(self.optimizer_steps, "optimizer step"),
            )
            scaled = ", in fp16 with a scaled loss" if _text(event, "dtype") == "float16" else ""
            self._say(event, f"{', '.join(amounts)}, on {self.device or 'this machine'}{scaled}")

    def _trainer_started(self, event: Event) -> None:
        self.attempt = _int(event, "attempt")
        self.ending, self.phase, self.phase_text, self.progress = None, "", "", None
        self.leaving, self.stepped = "", False
        self.waiting_since = event.ts
        self.pace.restart(event.ts)
        self._say(event, "the trainer starts" if self.attempt <= 1 else f"the trainer starts again (attempt {self.attempt})")

    def _phase_changed(self, event: Event) -> None:
        self.phase, self.phase_text, self.progress = _text(event, "phase"), _text(event, "text"), None
        self.waiting_since = event.ts
        if self.phase_text:
            self._say(event, self.phase_text)

    def _progress(self, event: Event) -> None:
        phase = _text(event, "phase")
        self.phase = phase or self.phase
        self.progress = Progress(phase, _int(event, "done"), _int(event, "total"), _text(event, "text"))

    def _step(self, event: Event) -> None:
        self.step = _int(event, "step")
        self.image_step = _int(event, "image_step")
        self.epoch = _int(event, "epoch")
        self.loss = _number(event, "loss")
        self.learning_rate = _number(event, "lr")
        self.grad_norm = _number(event, "grad_norm")
        self.memory_gib = _number(event, "memory_gib")
        self.phase, self.progress, self.stepped = "training", None, True
        self.losses.add(self.step, self.loss)
        self.learning_rates.add(self.step, self.learning_rate)
        step_s = _number(event, "step_s")
        if step_s is not None and step_s > _LONGEST_STEP_S:
            step_s = None
        self.rates.add(self.step, 1 / step_s if step_s and step_s > 1e-9 else None)
        self.pace.step(self.step, step_s, self.last_step - self.step)
        if self.loss is None and self.loss_finite:
            self._say(event, f"the loss of step {text.number(self.step)} is not a finite number", "error")
        self.loss_finite = self.loss is not None
        again, self.repeated = _int(event, "repeated") - self.repeated, _int(event, "repeated")
        if again > 0:
            many = text.count(again, "attempt")
            words = f"{many} at a step left the range of fp16; made again with a smaller loss scale, and no step is missing"
            self._say(event, f"step {text.number(self.step)}: {words}")

    def _epoch_finished(self, event: Event) -> None:
        loss = _number(event, "loss")
        shown = f"mean loss {loss:.4f}" if loss is not None else "no finite loss"
        if _int(event, "step") > 0:
            self.epoch_ends.append(_int(event, "step"))
        self.pace.end_epoch()
        self._say(event, f"epoch {_int(event, 'epoch')} of {self.epochs} done, {shown}")

    def _sample_written(self, event: Event) -> None:
        step = _int(event, "step")
        path, prompt = _place(event, "path"), _text(event, "prompt")
        self.samples.append(Sample(step, _int(event, "image_step"), _int(event, "index"), path, prompt, _int(event, "seed")))
        self._say(event, f"sample at step {text.number(step)}: {path}")

    def _checkpoint_written(self, event: Event) -> None:
        step, reason = _int(event, "step"), _text(event, "reason")
        size = _int(event, "bytes")
        self.checkpoints.append(Checkpoint(step, _int(event, "image_step"), _place(event, "path"), size, reason))
        if reason in ("asked", "stopping"):
            self._say(event, f"checkpoint at step {text.number(step)}", "good")

    def _output_written(self, event: Event) -> None:
        final = bool(event.get("final"))
        path = _place(event, "path")
        self.outputs.append(Output(_int(event, "step"), _int(event, "epoch"), path, _int(event, "bytes"), final))
        self._say(event, f"{'the finished LoRA' if final else 'LoRA file'}: {path}", "good" if final else "info")

    def _image_written(self, event: Event) -> None:
        strength = _number(event, "strength")
        image = Image(
            path=_place(event, "path"),
            prompt=_text(event, "prompt"),
            strength=math.nan if strength is None else strength,
            seed=_int(event, "seed"),
            grid=_text(event, "grid") or "strengths",
            file=_place(event, "file"),
            nearest=_text(event, "nearest"),
            similarity=_number(event, "similarity"),
        )
        if len(self.grid_images) < 10_000:
            self.grid_images.append(image)

    def _warning(self, event: Event) -> None:
        warning = Warning(*(text.both_ends(_text(event, name), _LONGEST_TEXT) for name in ("code", "message", "remedy")))
        self._warnings.pop(warning, None)  # said again after a restart: one thing to know, not two
        self._warnings[warning] = None
        if len(self._warnings) > _MOST_WARNINGS:
            del self._warnings[next(iter(self._warnings))]
        self._say(event, f"{warning.message} {warning.remedy}".strip(), "warning")

    def _command_acknowledged(self, event: Event) -> None:
        done = Acknowledgement(_text(event, "command"), bool(event.get("ok")), _text(event, "message"))
        self.acknowledged[_text(event, "id")] = done
        while len(self.acknowledged) > 100:
            del self.acknowledged[next(iter(self.acknowledged))]
        if done.ok and done.command in LEAVING:
            self.leaving = done.command
        outcome = "was carried out" if done.ok else "was refused"
        words = f"{done.command} {outcome}".replace("_", " ")
        self._say(event, f"{words}: {done.message}" if done.message else words, "good" if done.ok else "warning")

    def _telemetry(self, event: Event) -> None:
        self.machine = Machine(
            ts=event.ts,
            gpu=_text(event, "gpu"),
            throttle=tuple(word for word in _list(event, "throttle") if isinstance(word, str)),
            cpus=_int(event, "cpus"),
            **{name: _number(event, name) for name in _MACHINE_NUMBERS},
        )
        busy = self.machine.gpu_percent
        if busy is None:
            busy = self.machine.cpu_share
        if busy is not None:
            self.busy.append(min(100.0, max(0.0, busy)))

    def _changes_in_force(self, event: Event) -> None:
        prompts = [prompt for prompt in _list(event, "prompts") if isinstance(prompt, str)]
        every = _number(event, "every_image_steps")
        self.changes = InForce(
            tuple(prompts) or None, None if every is None else int(every), _int(event, "stop_after_epoch") or None
        )

    def _run_failed_with(self, event: Event) -> None:
        self.error = Warning("", _text(event, "message"), _text(event, "remedy"))
        self._say(event, f"{self.error.message} {self.error.remedy}".strip(), "error")

    def _trainer_ended(self, event: Event) -> None:
        self.phase, self.progress = "", None
        if event.get("exit_code") not in _EXPECTED_ENDS:
            self._say(event, _text(event, "reason") or "the trainer ended", "warning")

    def _run_finished(self, event: Event) -> None:
        code = _int(event, "exit_code")
        ending = Ending(
            _text(event, "status"), code, _text(event, "reason"), _text(event, "advice"), _int(event, "step") or self.step
        )
        self.ending, self.phase, self.progress = ending, "", None
        levels: dict[str, Level] = {"done": "good", "paused": "info", "stopped": "info"}
        words = ending.reason or self.status
        if not (self.log and self.log[-1].text == words):
            self._say(event, words, levels.get(ending.status, "error"))

    _HANDLERS: ClassVar[dict[str, Callable[[RunState, Event], None]]] = {
        "run_started": _run_started,
        "trainer_started": _trainer_started,
        "phase_changed": _phase_changed,
        "progress": _progress,
        "step": _step,
        "epoch_finished": _epoch_finished,
        "sample_written": _sample_written,
        "checkpoint_written": _checkpoint_written,
        "output_written": _output_written,
        "image_written": _image_written,
        "warning": _warning,
        "command_acknowledged": _command_acknowledged,
        "telemetry": _telemetry,
        "changes_in_force": _changes_in_force,
        "run_failed_with": _run_failed_with,
        "trainer_ended": _trainer_ended,
        "run_finished": _run_finished,
    }


_MACHINE_NUMBERS = (
    "gpu_percent",
    "gpu_memory_gib",
    "gpu_memory_total_gib",
    "gpu_c",
    "gpu_w",
    "gpu_limit_w",
    "cpu_percent",
    "machine_cpu_percent",
    "ram_gib",
    "ram_total_gib",
    "disk_free_gib",
)


def _list(event: Event, name: str) -> list[Any]:
    value: Any = event.get(name)
    return value if isinstance(value, list) else []


def _place(event: Event, name: str) -> str:
    """A file of the run; empty for a name that leads out of it."""
    relative = _text(event, name)
    return "" if leads_out(relative) else relative


def _text(event: Event, name: str) -> str:
    value: Any = event.get(name)
    return value if isinstance(value, str) else ""


def _number(event: Event, name: str) -> float | None:
    return finite(event.get(name))


def _int(event: Event, name: str) -> int:
    number = _number(event, name)
    return int(number) if number is not None else 0
