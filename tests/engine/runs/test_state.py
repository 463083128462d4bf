"""The reducer of the event log: however the log is cut, it adds up to the same, and old state files are still read."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loratui.engine.runs import state_file
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event, EventBatch, decode, encode
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.series import Series
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import StateWriter, read_state


def lines(events: list[tuple[str, float, dict[str, Any]]]) -> list[bytes]:
    now, made = 1_800_000_000.0, []
    for seq, (type, after_s, fields) in enumerate(events, 1):
        now += after_s
        made.append(encode(type, seq, now, fields))
    return made


def a_run(steps: int, resumed: int = 0) -> list[tuple[str, float, dict[str, Any]]]:
    """A trainer that makes some steps of a run of 400, with all that lies between."""
    told: list[tuple[str, float, dict[str, Any]]] = [
        ("trainer_started", 100.0, {"attempt": 1, "pid": 7}),
        ("phase_changed", 1.0, {"phase": "loading", "text": "Loading"}),
        ("run_started", 3.0, {"name": "r", "images": 9, "epochs": 4, "image_steps": 800, "optimizer_steps": 400, "steps_per_epoch": 100, "resumed_step": resumed}),
        ("telemetry", 0.0, {"gpu": "H200", "gpu_percent": 97.0, "throttle": ["heat"], "cpus": 16}),
        ("progress", 0.5, {"phase": "caching", "done": 3, "total": 9, "text": "images"}),
    ]  # fmt: skip
    for step in range(resumed + 1, resumed + steps + 1):
        loss = math.nan if step == 33 else 0.1 + 0.05 * math.sin(step)
        told.append(("step", 0.4 + 0.2 * (step % 3), {"step": step, "image_step": 2 * step, "epoch": step // 101 + 1, "loss": loss, "lr": 1e-4, "grad_norm": 0.3, "step_s": 0.4, "memory_gib": 7.5, "repeated": step // 20}))  # fmt: skip
        if step % 40 == 0:
            told.append(("epoch_finished", 0.0, {"epoch": step // 40, "step": step, "image_step": 2 * step, "loss": 0.11}))
            told.append(("checkpoint_written", 0.3, {"step": step, "image_step": 2 * step, "path": "c", "reason": "epoch"}))
            held = {
                "epoch": step // 40,
                "step": step,
                "loss": 0.1 + abs(step - 60) / 1000,
                "base_loss": 0.2,
                "what": "held_out",
            }
            told.append(("held_out", 0.5, held))
            pull = {"image": f"{step}.png", "kind": "stuck", "gain": 0.01, "usual": 0.2}
            told.append(("image_losses", 0.5, {"step": step, "pulls": [pull, {"kind": "odd"}, 7]}))
            told.append(("phase_changed", 0.0, {"phase": "sampling", "text": ""}))
            told.append(("sample_written", 2.0, {"step": step, "image_step": 2 * step, "path": "samples/x.png", "prompt": "p"}))
            told.append(("samples_measured", 0.5, {"step": step, "epoch": 1, "images": 1, "measures": [{"id": "likeness", "value": step / 400, "copied": None}]}))  # fmt: skip
            told.append(("likely_best", 0.0, {"kind": "plateau", "step": 40, "epoch": 1, "seen_step": step, "stops": False}))
            told.append(("output_written", 0.0, {"step": step, "epoch": 1, "path": f"output/{step}.safetensors", "bytes": 9}))
            told.append(("warning", 0.0, {"code": "c", "message": f"at {step % 80}", "remedy": "r"}))
    return told


LOG = lines(
    [
        *a_run(90),
        ("changes_in_force", 0.1, {"prompts": ["a"], "every_image_steps": 30, "stop_after_epoch": 2}),
        (
            "memory_plan_failed",
            0.1,
            {"way": "kept", "plan": "gpu-bf16-kept", "next": "partial", "message": "CUDA out of memory"},
        ),
        ("trainer_ended", 0.1, {"attempt": 1, "signal": 9}),
        *a_run(50, 80),
        (
            "memory_plan_failed",
            0.1,
            {"way": "partial", "plan": "gpu-bf16-partial", "next": "", "message": "CUDA out of memory"},
        ),
        ("command_acknowledged", 0.1, {"id": "x", "command": "pause", "ok": True, "message": ""}),
        ("run_failed_with", 0.1, {"exit_code": 20, "message": "full", "remedy": "free"}),
        ("run_finished", 0.1, {"status": "paused", "exit_code": 10, "reason": "Paused.", "advice": "Go on."}),
    ]
)
EVENTS = [event for line in LOG if (event := decode(line))]


def whole(events: list[Event] = EVENTS) -> RunState:
    state = RunState()
    for event in events:
        state.apply(event)
    return state


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


@given(st.lists(st.integers(0, len(EVENTS)), max_size=6))
@hypothesis_settings(max_examples=40, deadline=None)
def test_pieces_and_snapshots_add_up_to_the_same(cuts: list[int]) -> None:
    pieces, snapshots, history = RunState(), RunState(), RunHistory()
    edges = [0, *sorted(cuts), len(EVENTS)]
    for start, end in itertools.pairwise(edges):
        batch = EventBatch(tuple(EVENTS[max(0, start - 2) : end]), 0, 0)  # some twice
        pieces.apply_batch(batch)
        history.apply_batch(batch)
        snapshots.apply_batch(batch)
        snapshots = RunState.from_json(json.loads(json.dumps(snapshots.to_json(), allow_nan=False)))
    assert pieces == snapshots == history.state == whole()


def test_the_last_and_the_lowest_loss_on_held_out_images_are_known() -> None:
    def measured(epoch: int, loss: float | None) -> tuple[str, float, dict[str, Any]]:
        return "held_out", 1.0, {"epoch": epoch, "step": 10 * epoch, "loss": loss, "base_loss": 0.2, "what": "held_out"}

    told = [measured(0, 0.2), measured(1, 0.15), measured(2, 0.12), measured(3, 0.14), measured(4, None)]
    events = [event for line in lines(told) if (event := decode(line))]
    state = whole(events)
    assert state.held_out is not None
    assert state.held_out_best is not None
    assert (state.held_out.epoch, state.held_out.change) == (4, None)
    assert (state.held_out_best.epoch, state.held_out_best.change) == (2, pytest.approx(-0.4))
    back = [event for line in lines([*told, ("run_started", 1.0, {"resumed_step": 10})]) if (event := decode(line))]
    history = RunHistory()
    history.state.step = 40
    history.apply_batch(EventBatch(tuple(back), 0, 0))
    assert [one.epoch for one in history.held_out] == [0, 1]
    assert history.state.held_out is None
    assert history.state.held_out_best is None


def test_memory_plans_that_failed_are_kept_for_the_card_that_was_too_small() -> None:
    def started(device: str) -> list[tuple[str, float, dict[str, Any]]]:
        return [("trainer_started", 1.0, {"attempt": 1}), ("run_started", 1.0, {"device": device})]

    def failed(way: str, following: str) -> tuple[str, float, dict[str, Any]]:
        return "memory_plan_failed", 1.0, {"way": way, "next": following}

    told = [*started("RTX 4090"), failed("kept", "partial")]
    state = whole([event for line in lines(told) if (event := decode(line))])
    assert (state.failed_plans, state.next_plan) == (("kept",), "partial")
    told += [*started("RTX 4090"), failed("partial", ""), failed("kept", "")]
    state = whole([event for line in lines(told) if (event := decode(line))])
    assert (state.failed_plans, state.next_plan) == (("kept", "partial"), "")
    told += started("H200")
    state = whole([event for line in lines(told) if (event := decode(line))])
    assert (state.failed_plans, state.next_plan) == ((), "")


FIELDS = (
    "step",
    "image_step",
    "epoch",
    "loss",
    "step_s",
    "resumed_step",
    "optimizer_steps",
    "steps_per_epoch",
    "total",
    "path",
)
VALUES = st.one_of(st.none(), st.integers(-5, 300), st.floats(), st.text(max_size=3), st.just(10**60), st.just(1e300))
TYPES = (
    "run_started",
    "step",
    "step",
    "trainer_started",
    "epoch_finished",
    "checkpoint_written",
    "telemetry",
    "from_the_future",
)


@given(
    st.lists(
        st.tuples(st.sampled_from(TYPES), st.floats(0, 40), st.dictionaries(st.sampled_from(FIELDS), VALUES)), max_size=25
    ),
    st.integers(0, 25),
)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
def test_so_do_events_with_anything_in_them(drawn: list[tuple[str, float, dict[str, Any]]], cut: int) -> None:
    events = [event for line in lines(drawn) if (event := decode(line))]
    state = whole(events[:cut])
    again = RunState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
    for event in events[cut:]:
        again.apply(event)
    expected = whole(events)
    assert (again.step, again.phase, again.ending, again.seq) == (expected.step, expected.phase, expected.ending, expected.seq)
    assert again.worked_s == pytest.approx(expected.worked_s)


@pytest.mark.parametrize("written", [0, 1, 20, len(LOG) - 3, len(LOG)])
def test_a_state_file_and_the_rest_of_the_log_are_the_whole_log(run: RunDirectory, written: int) -> None:
    run.events.write_bytes(b"".join(LOG[:written]))
    state = whole(EVENTS[:written])
    at = sum(map(len, LOG[: written - 1]))
    run.state.write_text(json.dumps({"v": 1, "at": at, **state.to_json()}))
    run.events.write_bytes(b"".join(LOG))
    assert read_state(run) == whole()


def test_a_trainer_keeps_it_while_it_writes_and_the_next_one_goes_on(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(state_file.time, "monotonic", lambda: now[0])

    def on_disk() -> tuple[int, str]:
        body = json.loads(run.state.read_text())
        return body["step"], body["phase"]

    with EventLog.open(run.events) as log:
        writer = StateWriter(run, log)
        log.append("phase_changed", phase="training", text="")
        for now[0], step, seen in ((1.0, 2, 0), (4.9, 3, 0), (5.0, 4, 4), (6.0, 5, 4)):
            log.append("step", step=step, loss=0.1)
            assert on_disk() == (seen, "training")
            assert read_state(run).step == step, "the rest is in the log"
        log.append("phase_changed", phase="saving", text="")
        assert on_disk() == (5, "saving")
    with EventLog.open(run.events) as log:
        assert StateWriter(run, log).state == writer.state


def test_a_smoothed_loss_goes_on_from_the_checkpoint() -> None:
    state = whole(EVENTS[: [e.type for e in EVENTS].index("trainer_ended")])
    saved = state.smoothing_saved
    assert saved.last_step == 80
    assert state.smoothing.last_step == 90
    state.apply(Event("run_started", state.seq + 1, 0.0, {"optimizer_steps": 400, "resumed_step": 80}))
    assert (state.smoothing, state.step, state.image_step) == (saved, 80, 160)


def test_the_state_file_of_an_earlier_version_gives_the_figures_and_the_log_how_it_stands(run: RunDirectory) -> None:
    run.events.write_bytes(b"".join(LOG))
    former = {"v": 1, "preset": "demo", "step": 130, "optimizer_steps": 400, "image_step": 260, "loss_smoothed": 0.125,
              "worked_s": 77.5, "phase": "saving", "output": "output/120.safetensors", "checkpoint_step": 120, "seq": 3}  # fmt: skip
    run.state.write_text(json.dumps(former))
    state = read_state(run)
    assert (state.preset, state.step, state.output, state.checkpoint_step) == ("demo", 130, "output/120.safetensors", 120)
    assert (state.loss_smoothed, state.worked_s, state.phase, state.skipped) == (0.125, 77.5, "", 0)
    assert state.ending is not None
    assert state.ending.status == "paused"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", "[" * 9999, '{"at": 0}', '{"at": 10, "seq": 1}', '{"at": 99999999, "seq": 1}', '{"at": "0", "seq": 1}', '{"at": 0, "seq": 7}'],
)  # fmt: skip
def test_where_the_file_is_of_no_use_the_log_is_read(run: RunDirectory, content: str) -> None:
    run.events.write_bytes(b"".join(LOG))
    run.state.write_text(content)
    assert read_state(run) == whole()


def test_a_full_disk_does_not_stop_the_trainer(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with EventLog.open(run.events) as log:
        writer = StateWriter(run, log)
        with monkeypatch.context() as patch:
            patch.setattr("os.write", full)
            log.append("step", step=3)
        assert not run.state.exists()
        assert writer.state.step == 0, "what did not reach the log is not in the state"
        log.append("step", step=4)
    assert read_state(run).step == 4


def adding_up(*told: tuple[str, float, dict[str, Any]]) -> RunState:
    return whole([Event(type, seq, ts, fields) for seq, (type, ts, fields) in enumerate(told, 1)])


def test_the_time_of_an_image_is_the_median_of_those_that_were_made() -> None:
    assert RunState().image_s is None
    made = [("image_written", ts, {} if ts == 104.01 else {"nearest": "x"}) for ts in (102, 104, 104.01, 106, 9999, 10_001)]
    assert adding_up(("phase_changed", 100, {"phase": "sampling"}), *made).image_s == pytest.approx(2.0, abs=0.01)


def test_pauses_restarts_and_clocks_that_go_back_are_no_images() -> None:
    sampling = [("phase_changed", 100.0, {"phase": "sampling"}), ("sample_written", 90.0, {}), ("sample_written", 5090.0, {})]
    after = [("phase_changed", 6000.0, {"phase": "training"}), ("sample_written", 6001.0, {}), ("trainer_started", 6002.0, {})]
    one = ("image_written", 6003.0, {"nearest": "x"})
    assert adding_up(*sampling, *after, one).image_s is None
    assert adding_up(*sampling, *after, one, ("image_written", 6006.0, {"nearest": "x"})).image_s == 3


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x", "a/../../x", "a\0b"])
def test_a_state_file_names_no_file_outside_of_the_run(path: str) -> None:
    assert (RunState.from_json({"sample": path}).sample, RunState.from_json({"output": path}).output) == ("", "")


def test_figures_that_are_not_finite_are_null_for_scripts() -> None:
    state = RunState(loss=math.nan)
    assert json.loads(json.dumps(state.to_json(), allow_nan=False))["loss"] is None


@given(st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=400), st.integers(2, 32))
def test_bins_keep_count_and_total(losses: list[float], half: int) -> None:
    curve = Series(capacity=2 * half)
    for step, loss in enumerate(losses, 1):
        curve.add(step, loss)
    assert len(curve.bins) <= 2 * half
    assert sum(b.count for b in curve.bins) == len(losses)
    assert sum(b.total for b in curve.bins) == pytest.approx(sum(losses))
