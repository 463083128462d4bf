"""A process that is patient waits for its disk; what that does not take is kept on another volume, and commands reach it all the same."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loratui.engine import disk_errors, durable
from loratui.engine.errors import DiskError
from loratui.engine.machine.volume import Volume, missing_in, trouble, volume_of
from loratui.engine.planning.preflight import check_home
from loratui.engine.runs import aside, bounds, control, disk_wait, launcher, lock, room
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.disk_wait import DiskWait
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.tail import Tail

PLENTY = Volume(1 << 40, True, False, 1)


@pytest.fixture
def run(home_of_the_test: Path) -> RunDirectory:
    return create_run(home_of_the_test / "loratui", "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


class Disk:
    """Fails writes to files whose name has `word`, with each of the errors in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.word, self.errors, self.tries = "", list[int](), 0
        new = durable.new_file
        monkeypatch.setattr(durable, "new_file", lambda path: self._open(new, path))

    def _open(self, new: Any, path: Path) -> Any:
        if self.word in path.name:
            self.tries += 1
            if self.errors:
                raise OSError(self.errors.pop(0), "as told")
        return new(path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(disk_wait, "volume_of", lambda _: PLENTY)
    monkeypatch.setattr(disk_wait, "_LOOK_S", 0.001)
    monkeypatch.setattr(disk_wait, "_SOON_S", 0.001)
    yield Disk(monkeypatch)
    disk_errors.install(None)


@pytest.fixture
def log(run: RunDirectory) -> Iterator[EventLog]:
    with EventLog.open(run.events) as log:
        yield log


def patient(run: RunDirectory, log: EventLog, ends: list[bool] | None = None) -> DiskWait:
    found = DiskWait(run, lambda: bool(ends), f"loratui resume {run.name}")
    found.log = log
    disk_errors.install(found)
    return found


def told(run: RunDirectory) -> list[str]:
    return [event.type for event in read_events(run.events).events]


@pytest.mark.parametrize("number", sorted(disk_errors.PASSING))
def test_a_single_error_is_tried_again_and_not_told(run: RunDirectory, log: EventLog, disk: Disk, number: int) -> None:
    patient(run, log)
    disk.word, disk.errors = "x.bin", [number]
    durable.write_file(run.path / "x.bin", b"x")
    assert (run.path / "x.bin").read_bytes() == b"x"
    assert disk.tries == 2
    assert told(run) == []


def test_a_wait_is_told_once_with_the_reason_and_goes_on(run: RunDirectory, log: EventLog, disk: Disk) -> None:
    patient(run, log)
    disk.word, disk.errors = "x.bin", [errno.EDQUOT] * 4
    durable.write_file(run.path / "x.bin", b"x" * 100)
    waiting, resumed = read_events(run.events).events
    assert (waiting.type, resumed.type) == ("disk_waiting", "disk_resumed")
    assert "quota is used up" in waiting.text("reason")
    assert (waiting.text("error"), waiting.text("place"), waiting.count("needed_bytes")) == ("EDQUOT", "x.bin", 100)
    assert read_state(run).waiting is None


@pytest.mark.parametrize("number", [errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EMLINK])
def test_what_no_time_mends_is_not_waited_for(run: RunDirectory, log: EventLog, disk: Disk, number: int) -> None:
    patient(run, log)
    disk.word, disk.errors = "x.bin", [number]
    with pytest.raises(DiskError):
        durable.write_file(run.path / "x.bin", b"x")
    assert disk.tries == 1


def test_what_can_be_had_again_is_not_waited_for(run: RunDirectory, log: EventLog, disk: Disk) -> None:
    patient(run, log)
    disk.word, disk.errors = "speed.json", [errno.ENOSPC] * 9
    assert durable.remember(run.path / "speed.json", {"a": 1}) is False
    assert disk.tries == 1


def test_what_may_be_left_out_waits_only_for_a_volume_that_takes_nothing(
    run: RunDirectory, log: EventLog, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(run, log)
    disk.word, disk.errors = "00.png", [errno.EIO] * 9
    with pytest.raises(DiskError), disk_errors.may_be_left_out():
        durable.write_file(run.samples / "00.png", b"x")
    assert disk.tries == 3
    disk.errors, disk.tries = [errno.ENOSPC] * 4, 0  # a quota, of which the system says nothing
    monkeypatch.setattr(disk_wait, "_LONGEST_S", 0.001)
    with disk_errors.may_be_left_out():
        durable.write_file(run.samples / "00.png", b"x")
    assert disk.tries == 5
    full = Volume(0, True, False, 1)
    monkeypatch.setattr(disk_wait, "volume_of", lambda _: full if disk.tries < 9 else PLENTY)
    monkeypatch.setattr(disk_wait, "_WITHOUT_ROOM_S", 0.001)
    disk.errors, disk.tries = [errno.ENOSPC] * 8, 0
    with disk_errors.may_be_left_out():
        durable.write_file(run.samples / "00.png", b"x")
    assert (run.samples / "00.png").exists()


def test_whoever_asks_for_the_end_ends_the_wait(run: RunDirectory, log: EventLog, disk: Disk) -> None:
    ends: list[bool] = []
    waits = patient(run, log, ends)
    disk.word, disk.errors = "x.bin", [errno.ENOSPC] * 100_000
    errors: list[BaseException] = []

    def write() -> None:
        try:
            durable.write_file(run.path / "x.bin", b"x")
        except DiskError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    while not waits.busy:
        assert thread.is_alive()
    ends.append(True)
    thread.join(5)
    assert len(errors) == 1
    assert not waits.busy
    tries = disk.tries
    with pytest.raises(DiskError):
        durable.write_file(run.path / "x.bin", b"x")
    assert disk.tries == tries + 1, "then each write is tried once"


def test_a_wait_that_is_too_long_ends_the_run_with_the_reason(
    run: RunDirectory, log: EventLog, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_wait, "_READ_S", 0.0)
    waits = patient(run, log)
    disk.word, disk.errors = "x.bin", [errno.EDQUOT] * 100_000
    bounds.change(run, {"end_disk_wait_after_h": 1e-5})
    with pytest.raises(DiskError, match=r"waited for it for 1e-05 h") as ended:
        durable.write_file(run.path / "x.bin", b"x")
    assert ended.value.remedy == f"Free some space, or raise the quota. Then: loratui resume {run.name}"
    assert not waits.busy
    with pytest.raises(DiskError, match="waited"):
        disk_errors.raise_given_up()
    tries = disk.tries
    with pytest.raises(DiskError):
        durable.write_file(run.path / "x.bin", b"x")
    assert disk.tries == tries + 1, "then each write is tried once"
    assert told(run) == ["disk_waiting"]


def test_how_long_is_changed_while_it_waits_and_said(
    run: RunDirectory, log: EventLog, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_wait, "_READ_S", 0.0)
    monkeypatch.setattr(disk_wait, "_LONGEST_S", 0.001)
    patient(run, log)
    disk.word, disk.errors = "x.bin", [errno.EDQUOT] * 100_000
    assert bounds.read(run) == bounds.Bounds(300.0, 1.0)
    waiting = threading.Thread(target=lambda: durable.write_file(run.path / "x.bin", b"x"))
    waiting.start()
    while (now := read_state(run).waiting) is None:
        assert waiting.is_alive()
    assert now.remedy.endswith("The run goes on by itself. After 1 h it ends.")
    bounds.change(run, {"end_disk_wait_after_h": 0})
    while not (now := read_state(run).waiting) or not now.remedy.endswith("goes on by itself."):
        assert waiting.is_alive()
    disk.errors.clear()
    waiting.join()
    assert told(run) == ["disk_waiting", "disk_waiting", "disk_resumed"]


def test_bounds_are_changed_where_the_disk_takes_nothing(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *more: Any, **named: Any) -> None:
        if path == run.bounds:
            raise DiskError("full", number=errno.ENOSPC)
        write(path, *more, **named)

    write = durable.write_json
    monkeypatch.setattr(durable, "write_json", full)
    bounds.change(run, {"end_stalled_after_s": 60})
    assert not run.bounds.exists()
    assert bounds.read(run) == bounds.Bounds(60.0, 1.0)
    monkeypatch.setattr(durable, "write_json", write)
    bounds.change(run, {"end_disk_wait_after_h": 2})
    assert aside.kept(run.bounds) is None
    assert bounds.read(run) == bounds.Bounds(60.0, 2.0)


def test_a_folder_of_the_run_that_is_deleted_meanwhile_is_made_again(run: RunDirectory, log: EventLog, disk: Disk) -> None:
    patient(run, log)
    run.samples.rmdir()
    durable.write_file(run.samples / "step-000004" / "00.png", b"x")
    assert (run.samples / "step-000004" / "00.png").read_bytes() == b"x"


def test_a_file_whose_fsync_failed_is_written_again_under_a_new_name(
    run: RunDirectory, log: EventLog, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(run, log)
    synced: list[str] = []
    fsync = os.fsync

    def failing(fd: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{fd}")).name  # noqa: PTH115 - a descriptor
        synced.append(name)
        if len(synced) == 1:
            raise OSError(errno.EIO, "as told")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    durable.write_file(run.path / "x.bin", b"x")
    files = [name for name in synced if name.startswith(".x.bin")]
    assert len(files) == len(set(files)) == 2


def test_a_log_whose_fsync_failed_is_replaced_with_the_same_bytes(
    run: RunDirectory, log: EventLog, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(run, log)
    log.append("step", step=1)
    first, fsync, left = run.events.stat().st_ino, os.fsync, [1]

    def failing(fd: int) -> None:
        if left:
            left.pop()
            raise OSError(errno.EIO, "as told")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    log.append("checkpoint_written", durable=True, step=1)
    log.append("step", step=2)
    assert run.events.stat().st_ino != first
    batch = read_events(run.events)
    assert [(event.seq, event.type) for event in batch.events] == [(1, "step"), (2, "checkpoint_written"), (3, "step")]
    assert batch.skipped == 0


# ---- on another volume


def unsaying(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """A log that takes nothing from now on."""
    log = EventLog.open(run.events)
    log.append("trainer_started", attempt=1, pid=1)
    log.append("step", step=1, image_step=1, epoch=1, loss=1.0)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    return log


def test_readers_find_what_the_disk_did_not_take_once_and_in_order(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    log, tail = unsaying(run, monkeypatch), Tail(run.events)
    log.append("disk_waiting", reason="The disk is full.", remedy="Free some space.", error="ENOSPC", place="x", deletable=[])
    log.append("heartbeat", phase="training")
    seen = [event.seq for batch in tail.drain() for event in batch.events]
    assert seen == [1, 2, 3]
    waiting = read_state(run).waiting
    assert waiting is not None
    assert (waiting.reason, waiting.advice) == ("The disk is full.", "Free some space.")
    monkeypatch.undo()
    log.append("disk_resumed", seconds=1.0)
    assert [event.seq for batch in tail.drain() for event in batch.events] == [4]
    assert [event.seq for event in read_events(run.events).events] == [1, 2, 3, 4]
    assert read_state(run).waiting is None


def test_the_next_writer_says_what_the_last_one_could_not(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    log = unsaying(run, monkeypatch)
    log.append("run_finished", status="stopped", exit_code=143, reason="Stopped as asked.", advice="", step=1)
    log.close()
    assert summarise(run).status == "stopped"
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(run.path.parent.parent.parent))
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=2)
    assert told(run) == ["trainer_started", "step", "run_finished", "trainer_started"]


def test_words_of_another_time_are_not_believed(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume went to another machine, where the run went on, and came back."""
    log = unsaying(run, monkeypatch)
    for number in range(3):
        log.append("warning", code="x", message=f"{number}", remedy="")
    kept = aside.kept(run.events)
    assert kept
    monkeypatch.undo()
    log.close()
    aside.keep(run.events, {**kept, "lines": kept["lines"][2:]})  # the log ends at 2, and these begin at 5
    assert aside.unsaid(run.events) == []


def test_a_folder_that_others_can_read_keeps_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        (tmp_path / name / "loratui").mkdir(parents=True)
        (tmp_path / name / "loratui").chmod(0o755)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(aside.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(aside, "_MEMORY", tmp_path / "no")
    (tmp_path / "tmp" / f"loratui-{os.geteuid()}").mkdir(parents=True)
    (tmp_path / "tmp" / f"loratui-{os.geteuid()}").chmod(0o777)
    assert not aside.keep(run.events, {"lines": []})
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_commands_reach_a_run_whose_disk_takes_none(
    run: RunDirectory, log: EventLog, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(path: Path, *_: Any, **__: Any) -> None:
        if path.parent == run.control:
            raise DiskError("full", number=number)
        write(path, *_, **__)

    write = durable.write_json
    monkeypatch.setattr(durable, "write_json", full)
    first, second = control.send(run, "sample"), control.send(run, "pause")
    inbox = control.Inbox(run, log)
    assert [command.command for command in control.pending(run)] == ["sample", "pause"]
    sample, pause = inbox.poll()
    assert inbox.poll() == []
    assert (sample.id, pause.id) == (first, second)
    inbox.acknowledge(sample, True)
    assert control.withdraw(run, second)
    assert control.pending(run) == []
    assert aside.kept(run.control) is None


# ---- before a start


def test_a_start_without_room_is_refused_with_what_can_be_deleted(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    other = create_run(run.path.parent.parent, "old", recipe_toml="", effective_toml="", ledger={}, today="20261101")
    (other.cache / "x").write_bytes(b"x" * (3 << 20))
    monkeypatch.setattr(room, "still_needed", lambda _: 10**9)
    monkeypatch.setattr(room, "volume_of", lambda _: Volume(5 * 10**8, True, False, 1))
    with pytest.raises(DiskError, match=r"500\.0 MB are free, but it still writes about 1\.0 GB") as refused:
        launcher.launch(run)
    assert f"loratui rm {other.name}" in str(refused.value)
    assert "3.2 MB" in str(refused.value)
    assert not lock.is_held(run.lock)


def test_a_volume_tells_its_room(tmp_path: Path) -> None:
    found = volume_of(tmp_path / "not" / "yet")
    assert found is not None
    assert found.free > 0
    assert not found.lacks(1)
    assert found.lacks(found.free + 1)
    assert trouble(tmp_path) == ""


@pytest.mark.parametrize(
    ("call", "number", "lacks"),
    [("fcntl.flock", errno.ENOLCK, "locks"), ("os.fsync", errno.ENOSYS, "sync"), ("os.link", errno.EPERM, "links")],
)
def test_a_file_system_that_lacks_an_ability_is_named_before_the_start_and_takes_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, lacks: str
) -> None:
    assert missing_in(tmp_path) == []

    def cannot(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(call, cannot)
    assert missing_in(tmp_path) == [lacks]
    assert [finding.key for finding in check_home(tmp_path)] == ["volume_lacks"]
    durable.write_file(tmp_path / "x", b"x")
    durable.write_new(tmp_path / "y", b"y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_a_file_system_that_cannot_replace_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(self: Path, target: Path) -> None:
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(Path, "rename", cannot)
    assert [(finding.key, finding.severity) for finding in check_home(tmp_path)] == [("volume_lacks.replace", "error")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uses_reserves", "blocks", "free"),
    [
        (False, (10_000_000, 500_000, 0), 0),
        (True, (10_000_000, 500_000, 0), 495_904),
        (True, (277_623, 4_096, 0), 0),  # full, as ext4 tells it to root
        (True, (10_000_000, 500_000, 500_000), 500_000),
    ],
)
def test_of_a_reserve_only_what_can_be_written_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uses_reserves: bool, blocks: tuple[int, int, int], free: int
) -> None:
    monkeypatch.setattr("loratui.engine.machine.volume._uses_reserves", lambda: uses_reserves)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, *blocks, 0, 0, 0, 0, 255)))
    found = volume_of(tmp_path)
    assert found is not None
    assert found.free == free * 4096


def test_a_volume_that_tells_no_sizes_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)))
    found = volume_of(tmp_path)
    assert found is not None
    assert not found.lacks(1 << 40)
    assert trouble(tmp_path) == ""


def test_a_log_that_a_full_disk_cuts_off_costs_what_is_printed_alone(tmp_path: Path) -> None:
    code = """
import resource, sys
from loratui.engine.runs.logs import print_whatever_the_disk_does
print_whatever_the_disk_does()
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
for number in range(3):
    print("line", number, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("after", flush=True)
"""
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, stderr=subprocess.PIPE, check=True, timeout=30)
    assert (tmp_path / "log").read_text().endswith(" B were lost here: the disk did not take them]\nafter\n")
