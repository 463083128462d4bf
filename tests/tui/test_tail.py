"""Following a log that is being written: part lines, bounded reads, a log that is replaced or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.runs.events import EventLog
from loratui.tui import tail as tail_module
from loratui.tui.tail import Tail


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
