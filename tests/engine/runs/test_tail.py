"""Following a log that is being written: part lines, bounded reads, a log that is replaced or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.runs import tail as tail_module
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.tail import Tail


def test_it_reads_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert tail.read().events == ()
    with EventLog.open(path) as log:
        log.append("heartbeat", phase="loading")
        assert [e.type for e in tail.read().events] == ["heartbeat"]
        assert tail.read().events == ()
        log.append("warning", code="x", message="m", remedy="r")
        assert [e.type for e in tail.read().events] == ["warning"]


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        log.append("heartbeat", phase="loading")
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    tail = Tail(path)
    assert tail.read().events == ()
    path.write_bytes(whole)
    assert len(tail.read().events) == 1


def test_a_shorter_log_is_another_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        for _ in range(5):
            log.append("heartbeat", phase="training")
    tail = Tail(path)
    tail.read()
    path.unlink()
    with EventLog.open(path) as log:
        log.append("heartbeat", phase="training")
    assert len(tail.read().events) == 1
    assert tail.restarted


def test_draining_goes_in_bounded_batches_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        for _ in range(100):
            log.append("heartbeat", phase="training")
    monkeypatch.setattr(tail_module, "READ_BYTES", 1000)
    batches = list(Tail(path).drain())
    assert len(batches) > 5
    assert sum(len(b.events) for b in batches) == 100


def test_a_log_that_cannot_be_read_now_is_empty_for_now(tmp_path: Path) -> None:
    folder = tmp_path / "events.jsonl"
    folder.mkdir()
    assert Tail(folder).read().events == ()


def test_a_long_past_is_glanced_at_and_adds_up_to_the_same(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        log.append("run_started", optimizer_steps=9000, image_steps=9000, epochs=3, steps_per_epoch=3000, resumed_step=0)
        for step in range(1, 9001):
            log.append("step", step=step, image_step=step, epoch=1, loss=0.5, lr=1e-3, step_s=0.01, grad_norm=0.1)
            if step % 3000 == 0:
                log.append("epoch_finished", epoch=step // 3000, step=step, image_step=step, loss=0.5)
                log.append("sample_written", step=step, image_step=step, index=0, path=f"{step}.png", prompt="p", seed=1)
    glanced = RunHistory()
    tail = Tail(path)
    for batch, keep_every in tail.glance():
        assert keep_every > 1
        glanced.apply_batch(batch, keep_every)
    assert tail.offset == path.stat().st_size
    assert (glanced.state.step, [epoch.step for epoch in glanced.epochs], len(glanced.samples)) == (9000, [3000, 6000, 9000], 3)
    assert glanced.state.loss_smoothed == pytest.approx(0.5)
    assert all(b.count for b in glanced.losses.bins)
    assert list(tail.drain()) == []


def test_a_short_past_is_read_in_full(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        for step in range(1, 51):
            log.append("step", step=step)
    ((batch, keep_every),) = Tail(path).glance()
    assert (len(batch.events), keep_every) == (50, 1)
    assert list(Tail(tmp_path / "none.jsonl").glance()) == []
