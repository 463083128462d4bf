"""What a run's events add up to: numbers, phases, endings, resumes, and events that lack everything."""

from __future__ import annotations

import math
import time
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.runs.events import EVENT_TYPES, Event, EventBatch
from loratui.tui.runs import figures
from loratui.tui.runs.store import RunStore

_NUMBERS = {
    "name": "anafox-1",
    "preset": "demo",
    "trigger": "anafox",
    "images": 18,
    "epochs": 10,
    "image_steps": 1800,
    "optimizer_steps": 900,
    "steps_per_epoch": 90,
    "batch_size": 2,
    "accumulation": 1,
    "resumed_step": 0,
    "device": "cpu",
}


class Log:
    """Makes events with rising numbers and times."""

    def __init__(self) -> None:
        self.seq = count(1)
        self.now = 1_800_000_000.0

    def __call__(self, type: str, after_s: float = 0.0, **fields: Any) -> Event:
        self.now += after_s
        return Event(type, next(self.seq), self.now, fields)

    def step(self, step: int, loss: float | None = 0.1, after_s: float = 0.5, step_s: float = 0.5) -> Event:
        return self("step", after_s, step=step, image_step=step * 2, epoch=1, loss=loss, lr=1e-3, grad_norm=1.0, step_s=step_s)


@pytest.fixture
def log() -> Log:
    return Log()


def take(store: RunStore, *events: Event) -> None:
    for event in events:
        store.apply(event)


def left_s(store: RunStore) -> float | None:
    left = store.state.time_left
    return left.seconds if left else None


def _running(log: Log) -> RunStore:
    store = RunStore()
    take(store, *[log("trainer_started", attempt=1, pid=7), log("run_started", **_NUMBERS)])
    return store


def test_a_new_run_waits_then_tells_its_numbers(log: Log) -> None:
    store = RunStore()
    assert figures.phase(store.state) == "waiting for the trainer"
    assert store.state.fraction == 0
    store = _running(log)
    assert (store.state.image_steps, store.state.optimizer_steps, store.state.trigger) == (1800, 900, "anafox")


def test_phases_are_told_in_words(log: Log) -> None:
    store = _running(log)
    store.apply(log("phase_changed", phase="caching", text="latents"))
    assert figures.phase(store.state) == "preparing the images"
    store.apply(log("progress", phase="caching", done=3, total=18, text="latents"))
    assert store.state.progress is not None
    assert (store.state.progress.done, store.state.progress.total) == (3, 18)
    store.apply(log.step(1))
    assert (figures.phase(store.state), store.state.progress) == ("training", None)


def test_a_step_sets_what_is_shown(log: Log) -> None:
    store = _running(log)
    store.apply(log.step(90, loss=0.25))
    assert (store.state.step, store.state.image_step, store.state.loss, store.state.learning_rate) == (90, 180, 0.25, 1e-3)
    assert store.state.fraction == pytest.approx(0.1)


def test_an_event_seen_twice_counts_once(log: Log) -> None:
    store = _running(log)
    sample = log("sample_written", step=1, image_step=2, index=0, path="samples/a.png", prompt="p", seed=1)
    take(store, *[sample, sample])
    assert len(store.samples) == 1


def test_rate_and_time_left_do_not_know_pauses(log: Log) -> None:
    store = _running(log)
    take(store, *(log.step(n) for n in range(1, 101)))
    assert store.state.steps_per_s == pytest.approx(2.0)
    assert left_s(store) == pytest.approx(400, rel=0.02)
    take(
        store,
        *[
            log("run_finished", status="paused", exit_code=10, reason="Paused.", advice="", step=100),
            log("trainer_started", after_s=86_400, attempt=1, pid=8),
            log("run_started", **{**_NUMBERS, "resumed_step": 100}),
        ],
    )
    take(store, *(log.step(n) for n in range(101, 121)))
    assert store.state.steps_per_s == pytest.approx(2.0)
    assert left_s(store) == pytest.approx(390, rel=0.02)


def test_time_left_counts_samples_at_their_share(log: Log) -> None:
    store = _running(log)
    for n in range(1, 201):
        store.apply(log.step(n))
        if n % 50 == 0:
            store.apply(log("sample_written", after_s=5.0, step=n, image_step=2 * n, index=0, path="a", prompt="p", seed=1))
    assert left_s(store) == pytest.approx(700 * 0.6, rel=0.08)


def test_a_suspended_machine_or_a_set_clock_does_not_spoil_the_time_left(log: Log) -> None:
    store = _running(log)
    take(store, *(log.step(n) for n in range(1, 51)))
    store.apply(log.step(51, after_s=50_000))
    store.apply(log.step(52, after_s=-40_000))
    take(store, *(log.step(n) for n in range(53, 101)))
    assert left_s(store) == pytest.approx(400, rel=0.3)


def test_a_loss_that_is_not_finite_is_said_once_and_leaves_a_gap(log: Log) -> None:
    store = _running(log)
    take(store, *[log.step(1), log.step(2, loss=None), log.step(3, loss=None)])
    assert store.state.loss is None
    assert [b.mean for b in store.losses.bins] == [pytest.approx(0.1), None, None]
    assert sum("not a finite number" in line.text for line in store.log) == 1
    assert store.state.loss_smoothed == pytest.approx(0.1)


def test_resuming_forgets_the_steps_that_are_made_again(log: Log) -> None:
    store = _running(log)
    take(store, *(log.step(n, loss=1.0) for n in range(1, 81)))
    take(store, *[log("trainer_started", attempt=2, pid=9), log("run_started", **{**_NUMBERS, "resumed_step": 60})])
    assert store.state.step == 60
    assert store.losses.last_step == 60
    assert len(store.losses.bins) == 60
    assert any("attempt 2" in line.text for line in store.log)
    store.apply(log.step(61, loss=1.0))
    assert store.state.loss_smoothed == pytest.approx(1.0)


def test_a_warning_said_again_after_a_restart_is_one_warning(log: Log) -> None:
    store = _running(log)
    said = [log("warning", code=code, message=f"about {code}", remedy="") for code in ("slow", "full", "slow")]
    take(store, *said)
    assert [warning.code for warning in store.state.warnings] == ["full", "slow"]  # and the newest is the last
    assert sum("about slow" in line.text for line in store.log) == 2  # the log tells what happened when


def test_samples_files_and_the_finished_one(log: Log) -> None:
    store = _running(log)
    take(
        store,
        *[
            log("sample_written", step=90, image_step=180, index=0, path="samples/step-000090/00.png", prompt="p", seed=1000),
            log("output_written", step=900, epoch=10, path="output/anafox.safetensors", bytes=9, final=True),
            log("output_written", step=900, epoch=10, path="output/anafox-000900.safetensors", bytes=9, final=False),
            log("checkpoint_written", step=900, image_step=1800, path="checkpoints/x", bytes=9, seconds=0.1, reason="epoch"),
        ],
    )
    assert store.samples[-1].seed == 1000
    assert store.state.sample == "samples/step-000090/00.png"
    assert store.newest_output is not None
    assert store.newest_output.path == "output/anafox.safetensors"
    assert store.checkpoints[-1].reason == "epoch"


@pytest.mark.parametrize("status", ["done", "paused", "stopped", "failed"])
def test_the_last_word_ends_the_run(log: Log, status: str) -> None:
    store = _running(log)
    take(store, *[log.step(1), log("run_finished", status=status, exit_code=1, reason="R.", advice="A.", step=1)])
    assert (figures.phase(store.state), store.state.ending is not None, left_s(store)) == (status, True, None)


def test_a_resumed_run_is_no_longer_finished(log: Log) -> None:
    store = _running(log)
    store.apply(log("run_finished", status="paused", exit_code=10, reason="", advice="", step=1))
    store.apply(log("trainer_started", attempt=1, pid=3))
    assert not store.state.ending is not None


def test_acknowledgements_are_found_by_id(log: Log) -> None:
    store = _running(log)
    store.apply(log("command_acknowledged", id="ab", command="sample", ok=False, message="not now"))
    assert store.acknowledged["ab"].message == "not now"
    assert store.log[-1].level == "warning"


def test_lines_that_could_not_be_read_are_counted() -> None:
    store = RunStore()
    store.apply_batch(EventBatch((), 10, 3))
    assert store.state.skipped == 3


def test_memory_is_bounded_over_a_long_run(log: Log) -> None:
    store = _running(log)
    for n in range(1, 20_001):
        store.apply(log.step(n))
    assert len(store.losses.bins) <= store.losses.capacity
    assert store.losses.steps_per_bin * len(store.losses.bins) >= 20_000
    assert len(store.log) <= 500


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**400, max_value=10**400),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    st.lists(st.integers()),
)
_NAMES = (
    "step",
    "image_step",
    "epoch",
    "loss",
    "step_s",
    "phase",
    "path",
    "status",
    "resumed_step",
    "optimizer_steps",
    "total",
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*EVENT_TYPES, "from_the_future"]), st.floats(), st.dictionaries(st.sampled_from(_NAMES), _JUNK)
        ),
        max_size=30,
    )
)
def test_no_event_whatever_its_fields_makes_it_raise(drawn: list[tuple[str, float, dict[str, Any]]]) -> None:
    store = RunStore()
    for seq, (type, ts, fields) in enumerate(drawn, 1):
        store.apply(Event(type, seq, ts, fields))
    assert left_s(store) is None or not math.isinf(left_s(store))
    assert 0 <= store.state.fraction <= 1
    assert isinstance(figures.phase(store.state), str)


def test_damaged_lines_are_said_in_the_log_and_again_when_there_are_twice_as_many() -> None:
    store = RunStore()
    for skipped in (0, 1, 0, 1, 1, 1, 1):
        store.apply_batch(EventBatch((), 0, skipped))
    assert [line.text for line in store.log] == [
        "1 damaged line of the log was left out",
        "2 damaged lines of the log were left out",
        "4 damaged lines of the log were left out",
    ]
    assert {line.level for line in store.log} == {"warning"}


def test_fifty_thousand_different_warnings_cost_no_more_than_others() -> None:
    store = RunStore()
    began = time.process_time()
    take(store, *(Event("warning", n, 1.0, {"code": "c", "message": f"{n}", "remedy": ""}) for n in range(1, 50_001)))
    assert time.process_time() - began < 2.0
    assert len(store.state.warnings) == 200
    assert list(store.state.warnings)[-1].message == "50000"


def test_a_line_of_the_log_is_never_endless() -> None:
    store = RunStore()
    store.apply(Event("warning", 1, 1.0, {"code": "c", "message": "x" * 1_000_000, "remedy": ""}))
    store.apply(Event("phase_changed", 2, 1.0, {"phase": "caching", "text": "y" * 1_000_000}))
    assert max(len(line.text) for line in store.log) < 2100
    assert len(next(iter(store.state.warnings)).message) < 2100


def test_steps_that_left_the_range_of_fp16_are_counted_and_said(log: Log) -> None:
    store = RunStore()
    take(store, *[log("trainer_started", attempt=1, pid=7), log("run_started", **{**_NUMBERS, "dtype": "float16"})])
    assert "in fp16 with a scaled loss" in store.log[-1].text
    for step, repeated in ((1, 3), (2, 3), (3, 4)):
        made = log.step(step)
        take(store, *[Event(made.type, made.seq, made.ts, {**made.fields, "repeated": repeated})])
    said = [entry.text for entry in store.log if "left the range of fp16" in entry.text]
    assert [words.split(":")[0] for words in said] == ["step 1", "step 3"]
    assert "3 attempts" in said[0]
    assert "1 attempt " in said[1]


def test_the_load_is_that_of_the_machine_and_of_older_runs_that_of_their_trainer(log: Log) -> None:
    store = _running(log)
    take(store, *[log("telemetry", cpu_percent=100.0, cpus=4)])
    assert store.state.machine is not None
    assert store.state.machine.cpu_share == 25.0
    take(store, *[log("telemetry", cpu_percent=100.0, machine_cpu_percent=90.0, cpus=4)])
    assert store.state.machine.cpu_share == 90.0
    assert list(store.busy)[-2:] == [25.0, 90.0]
