"""The event log: what was written is read back, what is damaged is skipped and counted, and a full disk costs no run."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loratui.engine.errors import DiskError
from loratui.engine.runs import aside
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import EVENT_TYPES, decode, encode, last_events, read_events, skim_events

names = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True).filter(
    lambda n: n not in ("v", "seq", "ts", "up", "type", "crc", "not_finite", "durable", "self")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
events_to_write = st.lists(
    st.tuples(st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(names, values, max_size=4)), min_size=1, max_size=8
)


def written(count: int) -> bytes:
    return b"".join(encode("step", i, 1.5, {"step": i, "loss": i / 7}) for i in range(1, count + 1))


@given(kind=st.sampled_from(sorted(EVENT_TYPES)), seq=st.integers(1, 2**50), fields=st.dictionaries(names, values, max_size=5))
def test_an_event_survives_the_line(kind: str, seq: int, fields: dict[str, Any]) -> None:
    line = encode(kind, seq, 12.345678, fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    event = decode(line)
    assert event is not None
    assert (event.type, event.seq, event.ts, event.fields) == (kind, seq, 12.346, fields)


def test_the_line_is_as_the_design_says() -> None:
    line = encode("step", 12, 1760000000.123, {"step": 3})
    checked = b'{"v":1,"seq":12,"ts":1760000000.123,"type":"step","step":3'
    assert line == checked + b',"crc":"%08x"}\n' % zlib.crc32(checked)
    assert json.loads(line)["step"] == 3


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    line = bytearray(encode("step", 5, 1.0, {"step": 5, "loss": 0.25}))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    # A changed byte may be a newline and cut the line: neither part may pass.
    assert [decode(part) for part in bytes(line).split(b"\n") if part].count(None) >= 1
    assert all(decode(part) is None for part in bytes(line).split(b"\n") if part)


@given(st.binary(max_size=300))
def test_garbage_is_no_event_and_no_error(garbage: bytes) -> None:
    assert decode(garbage) is None


@pytest.mark.parametrize(
    "body", [b"[1", b'{"v":1', b'{"v":2,"seq":1,"ts":1,"type":"step"', b'{"v":1,"seq":1,"ts":1e999,"type":5', b"[" * 5000]
)
def test_a_line_with_a_right_checksum_but_wrong_content_is_skipped(body: bytes) -> None:
    assert decode(body + b',"crc":"%08x"}\n' % zlib.crc32(body)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(content=events_to_write, garbage=st.lists(st.binary(max_size=80), max_size=4), size=st.integers(1, 400))
def test_whole_events_among_garbage_are_all_read_in_order_whatever_the_chunk(
    tmp_path: Path, content: list[tuple[str, dict[str, Any]]], garbage: list[bytes], size: int
) -> None:
    path = tmp_path / "events.jsonl"
    lines = [encode(kind, seq, 1.0, fields) for seq, (kind, fields) in enumerate(content, 1)]
    junk = [b"".join(piece.split(b"\n")) + b"\n" for piece in garbage]
    mixed = [line for pair in zip(junk, lines, strict=False) for line in pair] + lines[len(junk) :]
    path.write_bytes(b"".join(mixed))
    found, offset, skipped = [], 0, 0
    while True:
        batch = read_events(path, offset, size)
        if batch.offset == offset:
            break
        found += batch.events
        offset, skipped = batch.offset, skipped + batch.skipped
    assert [(e.type, dict(e.fields)) for e in found] == content
    assert offset == path.stat().st_size
    assert skipped == sum(1 for line in mixed if line in junk and line != b"\n")


def test_a_log_torn_at_any_byte_gives_the_whole_lines_and_the_next_writer_starts_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole = written(3)
    ends = [0] + [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(1 for end in ends if 0 < end <= cut)
        batch = read_events(path)
        assert [e.seq for e in batch.events] == list(range(1, complete + 1))
        assert batch.offset == ends[complete]
        assert batch.skipped == 0
        with EventLog.open(path) as log:
            seq = log.append("heartbeat", phase="training")
        after = read_events(path)
        # A line that lacks only its newline is whole once the next writer has added it.
        assert [e.seq for e in after.events][-1] == seq
        assert len({e.seq for e in after.events}) == len(after.events)
        assert len(after.events) >= complete + 1


def test_a_line_that_was_cut_is_counted_once_it_has_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(written(3)[:-20])
    with EventLog.open(path) as log:
        log.append("heartbeat", phase="saving")
    batch = read_events(path)
    assert [e.seq for e in batch.events] == [1, 2, 3]
    assert batch.events[-1].type == "heartbeat"
    assert batch.skipped == 1


def test_numbering_goes_on_over_writers_even_behind_a_tail_of_garbage(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(3):
        with EventLog.open(path) as log:
            log.append("heartbeat", phase="training")
    with path.open("ab") as file:
        file.write(b"\x00" * 200_000 + b"\n")
    with EventLog.open(path) as log:
        assert log.append("heartbeat", phase="training") == 4
    assert [e.seq for e in read_events(path, 0, 1 << 20).events] == [1, 2, 3, 4]
    assert last_events(path)[-1].seq == 4


def test_numbers_that_are_not_finite_are_null_and_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        log.append("step", step=1, loss=math.nan, grads={"up": [1.0, math.inf]})
    line = path.read_bytes()
    assert b"NaN" not in line
    assert b"Infinity" not in line
    event = read_events(path).events[0]
    assert event.get("loss") is None
    assert event.get("grads") == {"up": [1.0, None]}
    assert event.get("not_finite") == ["loss", "grads.up.1"]


def test_a_missing_log_is_empty_and_a_line_too_long_is_passed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == read_events(path)
    assert read_events(path).events == ()
    assert last_events(path) == ()
    path.write_bytes(b"x" * (3 << 20) + b"\n" + written(1))
    offset, found, rounds = 0, [], 0
    while True:
        batch = read_events(path, offset)
        if batch.offset == offset:
            break
        found += batch.events
        offset = batch.offset
        rounds += 1
        assert rounds < 20
    assert [e.seq for e in found] == [1]


def test_paths_are_written_as_text_and_other_objects_are_a_mistake(tmp_path: Path) -> None:
    with EventLog.open(tmp_path / "e") as log:
        log.append("output_written", path=Path("output/x.safetensors"))
        with pytest.raises(TypeError):
            log.append("step", loss=object())
        with pytest.raises(AssertionError):
            log.append("no_such_type")
        with pytest.raises(AssertionError):
            log.append("step", seq=4)
    assert read_events(tmp_path / "e").events[0].get("path") == "output/x.safetensors"


def test_a_name_with_undecodable_bytes_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    with EventLog.open(tmp_path / "e") as log:
        log.append("warning", code="x", message=name, remedy="")
    assert read_events(tmp_path / "e").events[0].get("message") == name


def test_a_full_disk_costs_the_event_not_the_run_and_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    real, room = os.write, [10]

    def short_then_full(fd: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "full")
        part = bytes(data[: room[0]])
        room[0] -= len(part)
        return real(fd, part)

    log = EventLog.open(path)
    log.append("heartbeat", phase="training")
    monkeypatch.setattr(os, "write", short_then_full)
    assert [log.append("step", step=i) for i in (1, 2)] == [2, 3]
    with pytest.raises(DiskError, match="disk is full"):
        log.append("checkpoint_written", durable=True, step=2)
    log.append("heartbeat", phase="training")  # is worth nothing later
    assert log.is_kept
    assert [event.seq for _, event in aside.unsaid(path)] == [2, 3, 4], "on another volume"
    monkeypatch.setattr(os, "write", real)
    log.append("step", step=3)
    log.close()
    log.close()
    batch = read_events(path)
    kept = [(2, "step"), (3, "step"), (4, "checkpoint_written"), (5, "step")]
    assert [(e.seq, e.type) for e in batch.events] == [(1, "heartbeat"), *kept]
    assert batch.skipped == 0
    assert aside.kept(path) is None


def test_the_log_stays_usable_under_a_real_file_size_limit(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from loratui.engine.runs import aside
from loratui.engine.runs.event_log import EventLog
log = EventLog.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
for i in range(1100):
    log.append("step", step=i)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append("step", step=99)
"""
    path = tmp_path / "events.jsonl"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    batch = read_events(path)
    assert batch.events[-1].get("step") == 99
    steps = [event.get("step") for event in batch.events if event.type == "step"]
    assert steps[:-1] == list(range(len(steps) - 1)), "kept in their order while there was no room"
    lost = 1100 - len(steps) + 1
    assert batch.events[-2].get("message") == f"{lost} events could not be written to the log."
    assert batch.skipped == 0


def test_a_log_that_is_deleted_with_its_folder_is_never_written_into_another_file(tmp_path: Path) -> None:
    """The number of a closed file is that of the next one that is opened: a pipe to another process, or another run's log."""
    folder = tmp_path / "run"
    folder.mkdir()
    log = EventLog.open(folder / "events.jsonl")
    log.append("heartbeat", phase="training")
    shutil.rmtree(folder)
    log.append("heartbeat", phase="training")
    read, write = os.pipe()
    os.set_blocking(read, False)
    for type in ("heartbeat", "warning"):
        log.append(type, code="x")
    os.close(write)
    assert os.read(read, 1000) == b""
    os.close(read)
    folder.mkdir()
    log.append("warning", code="y")
    assert [event.text("code") for event in read_events(folder / "events.jsonl", 0, 1 << 20).events][-1] == "y"
    log.close()


def test_threads_share_a_log(tmp_path: Path) -> None:
    log = EventLog.open(tmp_path / "e")
    threads = [threading.Thread(target=lambda: [log.append("heartbeat", phase="x") for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert [e.seq for e in read_events(tmp_path / "e").events] == list(range(1, 801))


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "e").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError):
        EventLog.open(tmp_path / "e")


def test_quiet_time_starts_anew_with_each_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("loratui.engine.runs.event_log.time.monotonic", lambda: now[0])
    with EventLog.open(tmp_path / "e") as log:
        now[0] = 107.0
        assert log.quiet_s == 7.0
        log.append("heartbeat", phase="training")
        assert log.quiet_s == 0.0


def test_a_glance_at_a_long_past_keeps_all_that_is_rare_and_the_last_step(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        for step in range(1, 1001):
            log.append("step", step=step, loss=0.1)
            if step % 100 == 0:
                log.append("epoch_finished", epoch=step // 100, step=step, loss=0.1)
        log.append("step", step=1001, loss=0.1)
    batch = skim_events(path, 0, 20)
    assert batch.offset == path.stat().st_size
    steps = [event.get("step") for event in batch.events if event.type == "step"]
    assert 20 <= len(steps) <= 80
    assert max(b - a for a, b in itertools.pairwise(steps)) <= 80
    assert steps[-1] == 1001
    assert [event.get("epoch") for event in batch.events if event.type == "epoch_finished"] == list(range(1, 11))
    assert [event.seq for event in batch.events] == sorted(event.seq for event in batch.events)


def test_a_glance_in_small_reads_loses_nothing_and_waits_for_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog.open(path) as log:
        for step in range(1, 301):
            log.append("step", step=step)
            log.append("sample_written", step=step, path=f"samples/{step}.png")
    with path.open("ab") as file:
        file.write(b'{"v":1,"seq":601')
    offset, samples = 0, 0
    while (batch := skim_events(path, offset, 7, max_bytes=1000)).offset != offset:
        offset = batch.offset
        samples += sum(event.type == "sample_written" for event in batch.events)
    assert samples == 300
    assert offset < path.stat().st_size


def test_a_glance_steps_over_a_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * (3 << 20))
    batch = skim_events(path, 0, 10, max_bytes=1 << 20)
    assert batch.skipped == 1
    assert batch.offset > 0
