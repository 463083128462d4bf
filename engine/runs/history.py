"""What a run's log holds beyond its state: curves, epochs, samples, files, images, and what became of commands."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from loratui.engine.runs.eta import LONGEST_SILENCE_S
from loratui.engine.runs.events import Event, EventBatch
from loratui.engine.runs.held_out import HeldOut
from loratui.engine.runs.measured import Measured
from loratui.engine.runs.records import Acknowledgement, Checkpoint, Epoch, Image, LossMark, Output, Sample, record
from loratui.engine.runs.series import Series
from loratui.engine.runs.state import RunState, step_seconds
from loratui.engine.runs.tail import Tail

_MOST_ACKNOWLEDGED = 100
_RECORDS: dict[str, tuple[str, type]] = {
    "epoch_finished": ("epochs", Epoch),
    "held_out": ("held_out", HeldOut),
    "loss_unusual": ("loss_marks", LossMark),
    "sample_written": ("samples", Sample),
    "checkpoint_written": ("checkpoints", Checkpoint),
    "output_written": ("outputs", Output),
    "image_written": ("grid_images", Image),
}
"""Type of event -> the queue that takes its record."""


class RunHistory:
    """Takes in the events of a log from its start, in bounded memory. Its `state` takes them in first, each once."""

    def __init__(self) -> None:
        self.state = RunState()
        self.seq = 0
        """The last event that was taken in. The state may be that of a later one (`Tail.glance` passes most of a long log over,
        `read_state` none of it)."""
        self.losses = Series()
        self.rates = Series()
        """Steps a second."""
        self.learning_rates = Series()
        self.busy: deque[float] = deque(maxlen=240)
        """How busy the GPU was, else the CPUs, percent of what they could, by reading."""
        self.epochs: deque[Epoch] = deque(maxlen=2000)
        self.held_out: deque[HeldOut] = deque(maxlen=2000)
        self.loss_marks: deque[LossMark] = deque(maxlen=200)
        self.samples: deque[Sample] = deque(maxlen=2000)
        self.measured: deque[Measured] = deque(maxlen=2000)
        """What was measured of samples, by step."""
        self.checkpoints: deque[Checkpoint] = deque(maxlen=200)
        self.outputs: deque[Output] = deque(maxlen=2000)
        self.grid_images: deque[Image] = deque(maxlen=10_000)
        self.acknowledged: dict[str, Acknowledgement] = {}
        """By the id of the command."""

    def apply_batch(self, batch: EventBatch, keep_every: int = 1) -> None:
        """As `RunState.apply_batch`."""
        self.state.apply_batch(batch, keep_every, self.apply)

    def apply(self, event: Event, longest_silence_s: float = LONGEST_SILENCE_S) -> bool:
        """Takes in one event and says whether it was new; as `RunState.apply`."""
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        self.state.apply(event, longest_silence_s)
        if event.type in _RECORDS:
            name, kind = _RECORDS[event.type]
            getattr(self, name).append(record(kind, event))
        handler = getattr(self, f"_on_{event.type}", None)
        if handler is not None:
            handler(event)
        return True

    @property
    def newest_output(self) -> Output | None:
        """The LoRA file that the state names."""
        return next((output for output in reversed(self.outputs) if output.path == self.state.output), None)

    def _on_run_started(self, event: Event) -> None:
        resumed = event.count("resumed_step")
        for series in (self.losses, self.rates, self.learning_rates):
            series.drop_after(resumed)
        while self.epochs and self.epochs[-1].step > resumed:
            self.epochs.pop()
        while self.held_out and self.held_out[-1].step > resumed:
            self.held_out.pop()
        while self.loss_marks and self.loss_marks[-1].step > resumed:
            self.loss_marks.pop()

        while self.measured and self.measured[-1].step > resumed:
            self.measured.pop()

    def _on_samples_measured(self, event: Event) -> None:
        self.measured.append(Measured.of(event))

    def _on_step(self, event: Event) -> None:
        step, seconds = event.count("step"), step_seconds(event)
        self.losses.add(step, event.number("loss"), self.state.loss_smoothed)
        if event.get("left_out") is True:
            self.loss_marks.append(LossMark("left_out", step))
        self.learning_rates.add(step, event.number("lr"))
        self.rates.add(step, 1 / seconds if seconds else None)

    def _on_command_acknowledged(self, event: Event) -> None:
        self.acknowledged[event.text("id")] = record(Acknowledgement, event)
        while len(self.acknowledged) > _MOST_ACKNOWLEDGED:
            del self.acknowledged[next(iter(self.acknowledged))]

    def _on_telemetry(self, event: Event) -> None:
        del event
        machine = self.state.machine
        busy = None if machine is None else machine.cpu_share if machine.gpu_percent is None else machine.gpu_percent
        if busy is not None:
            self.busy.append(min(100.0, max(0.0, busy)))


def history_of(log: Path) -> RunHistory:
    """What a log holds now; of a long one not each step."""
    history = RunHistory()
    for batch, keep_every in Tail(log).glance():
        history.apply_batch(batch, keep_every)
    return history
