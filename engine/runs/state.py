"""The one reducer of the event log: `RunState.apply` adds up what lists, screens, plain lines and commands say of a run."""

from __future__ import annotations

import dataclasses
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loratui.engine.runs import ages
from loratui.engine.runs.changes import Changes
from loratui.engine.runs.eta import LONGEST_SILENCE_S, EtaEstimator, TimeLeft
from loratui.engine.runs.events import Event, EventBatch
from loratui.engine.runs.held_out import HeldOut, lowest
from loratui.engine.runs.image_losses import Pull
from loratui.engine.runs.measured import LikelyBest, Measured, measured_in, taken
from loratui.engine.runs.records import Action, Ending, Failure, Machine, Progress, TrainerEnd, Waiting, Warning, record
from loratui.engine.runs.smoothing import SmoothedLoss
from loratui.engine.runs.snapshot import dumped, filled

_RECORDS: dict[str, tuple[str, type]] = {
    "progress": ("progress", Progress),
    "telemetry": ("machine", Machine),
    "changes_in_force": ("changes", Changes),
    "run_failed_with": ("error", Failure),
    "trainer_ended": ("trainer_end", TrainerEnd),
    "run_finished": ("ending", Ending),
    "disk_waiting": ("waiting", Waiting),
    "held_out": ("held_out", HeldOut),
    "likely_best": ("likely_best", LikelyBest),
}
"""Type of event -> the field that holds the record of the last one."""

_KEPT: dict[str, type] = {**dict(_RECORDS.values()), "held_out_best": HeldOut}
"""Field -> record in it."""

LEAVING = ("pause", "stop")
"""Commands after which a trainer saves and ends."""

_MOST_WARNINGS = 200
_MOST_PLANS = 50
_MOST_ACTIONS = 10
_MOST_PULLS = 20
MOST_MEASURED = 100
"""Samples of which a state holds what was measured."""
_LONGEST_IMAGE_S = 3600.0
"""A gap beyond that is a pause or a clock that was set, and no image."""
_LONGEST_STEP_S = 1e7
"""A step that took longer was not measured rightly."""
_SUPERVISORS_TYPES = frozenset({"trainer_started", "trainer_ended", "run_finished"})
_NO_WORK = frozenset(
    {"heartbeat", "telemetry", "warning", "checkpoint_written", "output_written", "samples_measured", "likely_best"}
)
"""Types that threads beside the training write: they tell that the process lives, not that it gets further."""


_FIGURES = [
    "preset",
    "family",
    "base",
    "trigger",
    "images",
    "epochs",
    "epoch",
    "step",
    "optimizer_steps",
    "steps_per_epoch",
    "image_step",
    "image_steps",
    "loss",
    "epoch_loss",
    "loss_smoothed",
    "last_step",
    "phase",
    "text",
    "sample",
    "output",
    "checkpoint_step",
    "seconds",
]


@dataclass(slots=True)
class RunState:
    """What the events of one log add up to, in bounded size.

    A state does not depend on how the log was cut: all events at once, one by one, or a snapshot (`to_json`, `from_json`) and
    the events after it give equal states. What grows with the log (curves, samples, files) is in `RunHistory`.
    """

    name: str = ""
    run_id: str = ""
    """The id of the run whose log this is; "" in logs of earlier versions."""
    preset: str = ""
    family: str = ""
    base: str = ""
    trigger: str = ""
    device: str = ""
    images: int = 0
    epochs: int = 0
    image_steps: int = 0
    """Image-steps planned."""
    optimizer_steps: int = 0
    """Optimizer steps planned."""
    steps_per_epoch: int = 0
    """0 in runs of versions that did not tell."""
    batch_size: int = 0
    accumulation: int = 0
    started: bool = False
    """Whether a trainer has told its numbers."""
    attempt: int = 0
    """Which trainer of this start of the run works."""
    restarts: int = 0
    """Restarts by the supervisor, in a row without a new checkpoint or image."""
    told: bool = False
    """Whether the trainer that works now has said anything."""
    stepped: bool = False
    """Whether the trainer that works now, or worked last, has made a step."""
    phase: str = ""
    text: str = ""
    """What it does in this phase, in its own words."""
    waiting_since: float = 0.0
    """When what it does now was begun, by the writer's clock; 0 where that is unknown."""
    waiting_up: float = 0.0
    """The same, in seconds since the writer's machine was started."""
    progress: Progress | None = None
    epoch: int = 0
    step: int = 0
    """Optimizer steps made."""
    image_step: int = 0
    loss: float | None = None
    """Of the last step; None if it was no finite number."""
    epoch_loss: float | None = None
    """Mean of the last epoch that is over."""
    held_out: HeldOut | None = None
    """The last loss on images that are not trained on; None where none was measured."""
    held_out_best: HeldOut | None = None
    """The lowest of them."""
    pulls: tuple[Pull, ...] = ()
    """The trained images that stood out when each was last measured."""
    smoothing: SmoothedLoss = field(default_factory=SmoothedLoss)
    smoothing_saved: SmoothedLoss = field(default_factory=SmoothedLoss)
    """As it was at the last checkpoint, from which a trainer that is started again goes on."""
    learning_rate: float | None = None
    grad_norm: float | None = None
    memory_gib: float | None = None
    repeated: int = 0
    """Attempts at steps that left the range of fp16 and were made again."""
    eta: EtaEstimator = field(default_factory=EtaEstimator)
    machine: Machine | None = None
    changes: Changes = field(default_factory=Changes)
    image_times: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    """Seconds that the last samples took, or the last images of the validation."""
    image_since: float | None = None
    """When the one that is made now was begun."""
    sample: str = ""
    """The newest sample, relative to the run."""
    measured: tuple[Measured, ...] = ()
    """What was measured of the last samples, by step."""
    likely_best: LikelyBest | None = None
    """Which of them were last said to be likely the best."""
    output: str = ""
    """The finished LoRA file, else the newest, relative to the run."""
    final: bool = False
    """Whether the trainer that was started last has written the finished file."""
    checkpoint_step: int = 0
    checkpoint_image_step: int = 0
    seconds: float = 0.0
    """Time that trainers of this run had worked when the last checkpoint was written."""
    leaving: str = ""
    """`pause` or `stop` once the trainer has agreed to it: it ends as soon as it has saved, and takes no more commands."""
    warnings: dict[Warning, None] = field(default_factory=dict)
    """Each once, the newest at the end."""
    failed_plans: tuple[str, ...] = ()
    """The memory plans (`MemoryPlan.way`) with which GPU memory ran out on this device."""
    next_plan: str = ""
    """The memory plan that the next trainer takes, where this one ran out of GPU memory and another plan is left."""
    error: Failure | None = None
    """What the trainer said before it ended with an error."""
    trainer_end: TrainerEnd | None = None
    """How the last trainer ended; None while one works."""
    waiting: Waiting | None = None
    """Why it waits for its disk; None while that takes what is written."""
    ending: Ending | None = None
    """The last word on the run; None while it goes on."""
    actions: tuple[Action, ...] = ()
    """What became of the actions that were chosen for this ending, each once, in the order in which they were begun."""
    last_ts: float = 0.0
    """When the last event was written, by the writer's clock; 0 before the first."""
    last_up: float = 0.0
    """The same, in seconds since the writer's machine was started."""
    work_ts: float = 0.0
    """When the trainer last got further, by the writer's clock: heartbeats, telemetry and what other threads do are no work."""
    work_up: float = 0.0
    work_seq: int = 0
    """The event that says so."""
    clock: str = ""
    """Which clock `last_up` and the like are of (`ages.clock_name`); "" in runs of versions that did not tell."""
    skipped: int = 0
    """Lines of the log that could not be used."""
    seq: int = 0
    """The last event that is contained in this."""

    # ---- taking events in

    def apply_batch(
        self, batch: EventBatch, keep_every: int = 1, through: Callable[[Event, float], object] | None = None
    ) -> None:
        """Takes in one read of the log, which kept every `keep_every`-th of the frequent events.

        `through` takes each event in place of `apply`, and passes it on: a history adds its own records.
        """
        apply = through or self.apply
        for event in batch.events:
            apply(event, LONGEST_SILENCE_S * keep_every)
        self.skipped += batch.skipped

    def apply(self, event: Event, longest_silence_s: float = LONGEST_SILENCE_S) -> bool:
        """Takes in one event and says whether it was new. Never raises for an event that lacks a field; unknown types
        change nothing."""
        if event.seq <= self.seq:
            return False
        self.seq, self.last_ts, self.last_up = event.seq, event.ts, event.up
        self.told = event.type not in _SUPERVISORS_TYPES
        if event.type not in _NO_WORK:
            self.work_seq, self.work_ts, self.work_up = event.seq, event.ts, event.up
        if event.type != "trainer_started":  # nobody worked between two trainers
            self.eta.tick(event.at, longest_silence_s, waited=self.waiting is not None)
        if event.type in _RECORDS:
            name, kind = _RECORDS[event.type]
            setattr(self, name, record(kind, event))
        handler = getattr(self, f"_on_{event.type}", None)
        if handler is not None:
            handler(event)
        return True

    def _on_run_started(self, event: Event) -> None:
        if event.text("device") != self.device:  # what was too much for one card may fit on another
            self.failed_plans = ()
        for name in ("name", "run_id", "preset", "family", "base", "trigger", "device"):
            setattr(self, name, event.text(name))
        for name in ("images", "epochs", "image_steps", "optimizer_steps", "steps_per_epoch", "batch_size", "accumulation"):
            setattr(self, name, event.count(name))
        resumed = event.count("resumed_step")
        if resumed < self.step:  # what came after the checkpoint is lost and made again
            at_checkpoint = resumed == self.checkpoint_step
            share = resumed * self.image_steps // max(1, self.optimizer_steps)
            self.image_step = (self.checkpoint_image_step if at_checkpoint else 0) or share
            self.epoch = -(-resumed // self.steps_per_epoch) if self.steps_per_epoch > 0 else 0
            self.smoothing = dataclasses.replace(self.smoothing_saved if at_checkpoint else self.smoothing, last_step=resumed)
            if not resumed:
                self.smoothing = SmoothedLoss()
        elif resumed and not self.step:  # a checkpoint of another run, which this one continues
            self.image_step = resumed * self.image_steps // max(1, self.optimizer_steps)
            self.epoch = -(-resumed // self.steps_per_epoch) if self.steps_per_epoch > 0 else 0
        self.step = resumed
        if self.held_out is not None and self.held_out.step > resumed:
            self.held_out = None
        if self.held_out_best is not None and self.held_out_best.step > resumed:
            self.held_out_best = self.held_out
        self.measured = tuple(one for one in self.measured if one.step <= resumed)
        if self.likely_best is not None and self.likely_best.seen_step > resumed:
            self.likely_best = None
        self.started, self.final = True, False
        self.ending = self.error = self.trainer_end = None
        self.changes = Changes()
        self.eta.restart(event.at)

    def _on_trainer_started(self, event: Event) -> None:
        self.attempt, self.restarts, self.clock = event.count("attempt"), event.count("restarts"), event.text("clock")
        self.waiting_since, self.waiting_up = event.ts, event.up
        if self.attempt <= 1 and not self.device:  # a validation, which tells no device, tries again
            self.failed_plans = ()
        self.phase, self.text, self.progress = "", "", None
        self.leaving, self.stepped, self.final, self.ending, self.next_plan, self.actions = "", False, False, None, "", ()
        self.image_since = self.error = self.trainer_end = self.waiting = None
        self.eta.restart(event.at)

    def _on_phase_changed(self, event: Event) -> None:
        self.phase, self.text, self.progress = event.text("phase"), event.text("text"), None
        self.waiting_since, self.waiting_up = event.ts, event.up
        self.image_since = event.at if self.phase == "sampling" else None

    def _on_progress(self, event: Event) -> None:
        self.phase = event.text("phase") or self.phase

    def _on_step(self, event: Event) -> None:
        self.step, self.image_step, self.epoch = event.count("step"), event.count("image_step"), event.count("epoch")
        self.loss, self.learning_rate = event.number("loss"), event.number("lr")
        self.grad_norm, self.memory_gib = event.number("grad_norm"), event.number("memory_gib")
        self.repeated = event.count("repeated")
        self.phase, self.progress, self.stepped = "training", None, True
        self.smoothing.add(self.step, self.loss, self.optimizer_steps)
        self.eta.step(self.step, step_seconds(event), self.last_step - self.step)

    def _on_epoch_finished(self, event: Event) -> None:
        self.epoch_loss = event.number("loss")
        self.eta.end_epoch()

    def _on_held_out(self, event: Event) -> None:
        del event
        self.held_out_best = lowest(one for one in (self.held_out_best, self.held_out) if one is not None)

    def _on_image_losses(self, event: Event) -> None:
        self.pulls = _pulls(event.get("pulls"))

    def _on_sample_written(self, event: Event) -> None:
        self.sample = event.path("path")
        self._image_made(event)

    def _on_samples_measured(self, event: Event) -> None:
        self.measured = taken(self.measured, Measured.of(event), MOST_MEASURED)

    def _on_image_written(self, event: Event) -> None:
        seconds = event.number("seconds")
        if seconds is not None and 0 < seconds < _LONGEST_IMAGE_S:  # its share of a batch
            self.restarts, self.image_since = 0, event.at
            self.image_times.append(seconds)
        elif event.text("nearest"):  # of an earlier version
            self.restarts = 0
            self._image_made(event)
        else:  # it was there already, is told again without what it is like, and took no time
            self.image_since = event.at

    def _image_made(self, event: Event) -> None:
        if self.image_since is not None and 0 < event.at - self.image_since < _LONGEST_IMAGE_S:
            self.image_times.append(event.at - self.image_since)
        self.image_since = event.at

    def _on_checkpoint_written(self, event: Event) -> None:
        step, image_step = event.count("step"), event.count("image_step")
        if step > self.checkpoint_step:
            self.restarts = 0
        self.checkpoint_step, self.checkpoint_image_step = step, image_step
        if step > self.step:  # of many fast steps not each is told
            self.step, self.image_step = step, image_step
        self.smoothing_saved, self.seconds = dataclasses.replace(self.smoothing), round(self.worked_s, 3)

    def _on_output_written(self, event: Event) -> None:
        final = bool(event.get("final"))
        if final or not self.final:
            self.output, self.final = event.path("path"), final

    def _on_warning(self, event: Event) -> None:
        warning = record(Warning, event)
        self.warnings.pop(warning, None)  # said again after a restart: one thing to know, not two
        self.warnings[warning] = None
        if len(self.warnings) > _MOST_WARNINGS:
            del self.warnings[next(iter(self.warnings))]

    def _on_memory_plan_failed(self, event: Event) -> None:
        failed = dict.fromkeys([*self.failed_plans, event.text("way")])
        self.failed_plans, self.next_plan = tuple(failed)[-_MOST_PLANS:], event.text("next")

    def _on_command_acknowledged(self, event: Event) -> None:
        command = event.text("command")
        if command in LEAVING and event.get("ok") is True:
            self.leaving = command

    def _on_disk_resumed(self, event: Event) -> None:
        del event
        self.waiting = None

    def _on_trainer_ended(self, event: Event) -> None:
        del event
        self.phase, self.progress, self.waiting = "", None, None

    def _on_run_finished(self, event: Event) -> None:
        del event
        self.phase, self.progress, self.image_since, self.actions, self.waiting = "", None, None, (), None

    def _on_action(self, event: Event) -> None:
        new = record(Action, event)
        self.actions = tuple({**{one.action: one for one in self.actions}, new.action: new}.values())[-_MOST_ACTIONS:]

    # ---- what follows

    def quiet_s(self, now: float | None = None) -> float:
        """Seconds since the last event; `now` is the wall clock's time, for what was written on another machine."""
        return ages.age_s(self.last_ts, self.last_up, self.clock, now=now)

    def idle_s(self, now: float | None = None) -> float:
        """Seconds in which the trainer got no further; 0 where a version that did not tell has written the state."""
        return self.work_ts and ages.age_s(self.work_ts, self.work_up, self.clock, now=now)

    def waited_s(self, now: float | None = None) -> float:
        """Seconds since the trainer turned to what it does."""
        return ages.age_s(self.waiting_since, self.waiting_up, self.clock, now=now)

    def action(self, name: str) -> Action | None:
        """What became of an action for the end of the run; None if it was not begun."""
        return next((one for one in self.actions if one.action == name), None)

    @property
    def fraction(self) -> float:
        """Share of the image-steps that is done, 0 to 1."""
        return min(1.0, max(0.0, self.image_step / self.image_steps)) if self.image_steps > 0 else 0.0

    @property
    def loss_smoothed(self) -> float | None:
        """The smoothed loss; None before the first step."""
        return self.smoothing.value

    @property
    def steps_per_s(self) -> float | None:
        """Optimizer steps a second, of the last steps; pauses and samples do not count. None until a trainer that was
        started again has made a step."""
        return self.eta.steps_per_s if self.stepped else None

    @property
    def image_s(self) -> float | None:
        """Seconds an image, the median of the last; None before one was measured."""
        return statistics.median(self.image_times) if self.image_times else None

    @property
    def worked_s(self) -> float:
        """Time in which trainers of this run have worked, also for what was lost and made again. What a rented machine costs."""
        return self.eta.worked_s

    @property
    def time_left(self) -> TimeLeft | None:
        """What is left to the last step, with samples and checkpoints; None while it is unknown or the run has ended."""
        return None if self.ending or not self.optimizer_steps else self.eta.time_left()

    @property
    def last_step(self) -> int:
        """The optimizer step with which the run ends: the last of the plan, or of the epoch after which it is to stop."""
        epoch = self.changes.stop_after_epoch
        if not epoch or not self.steps_per_epoch:
            return self.optimizer_steps
        return min(self.optimizer_steps, max(self.step, epoch * self.steps_per_epoch))

    @property
    def ends_early(self) -> bool:
        """Whether the recipe ends the run before its last step, since the samples get no better."""
        return self.likely_best is not None and self.likely_best.stops and 0 < self.step < self.optimizer_steps

    # ---- on the disk

    def figures(self) -> dict[str, Any]:
        """The figures of a run as one flat object, for `--json` and whoever reads `state.json` with `jq`."""
        left = self.time_left
        return {
            **{name: getattr(self, name) for name in _FIGURES},
            "step_s": self.eta.step_s,
            "worked_s": round(self.worked_s, 3),
            "seconds_left": round(left.seconds, 3) if left else None,
            "seconds_left_sure": left is not None and left.sure,
        }

    def to_json(self) -> dict[str, Any]:
        """All of the state: its fields, and the figures that follow from them, which `from_json` does not read."""
        warnings = [dumped(warning) for warning in self.warnings]
        own = {f.name: dumped(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "warnings"}
        return {**dumped(self.figures()), **own, "warnings": warnings}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RunState:
        """The state in what `to_json` gave. What is missing there or of the wrong kind is as in a new state."""
        state = cls()
        filled(state, {name: table[name] for name in table.keys() - _KEPT.keys()})
        state.sample, state.output = (Event("", 0, 0.0, table).path(name) for name in ("sample", "output"))
        for name, kind in _KEPT.items():
            if isinstance(inner := table.get(name), dict):
                setattr(state, name, record(kind, _as_event(inner)))
        state.failed_plans = Event("", 0, 0.0, table).texts("failed_plans")[-_MOST_PLANS:]
        state.measured = measured_in(table.get("measured"), MOST_MEASURED)
        actions = table.get("actions")
        done = actions[-_MOST_ACTIONS:] if isinstance(actions, list) else []
        state.actions = tuple(record(Action, _as_event(inner)) for inner in done if isinstance(inner, dict))
        state.pulls = _pulls(table.get("pulls"))
        warnings = table.get("warnings")
        said = warnings[-_MOST_WARNINGS:] if isinstance(warnings, list) else []
        state.warnings = {record(Warning, _as_event(inner)): None for inner in said if isinstance(inner, dict)}
        return state


def _pulls(listed: Any) -> tuple[Pull, ...]:
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    found = (record(Pull, _as_event(row)) for row in rows[:_MOST_PULLS])
    return tuple(pull for pull in found if pull.kind in ("stuck", "exhausted"))


def step_seconds(event: Event) -> float | None:
    """How long the step of an event took; None where that is unknown or beyond all sense."""
    seconds = event.number("step_s")
    return seconds if seconds is not None and 1e-9 < seconds <= _LONGEST_STEP_S else None


def _as_event(table: Mapping[str, Any]) -> Event:
    """A record of a snapshot as the event that it was made of, so that both are read by the same rules."""
    return Event("", 0, Event("", 0, 0.0, table).number("ts") or 0.0, table)
