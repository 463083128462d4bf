"""Who may write in a run: one process, wherever it runs, in the folder that it began in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harm import harm

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.engine.runs import fence, lock
from loratui.engine.runs.directory import RunDirectory, create_run, open_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.fence import FolderLostError, TakenOverError
from loratui.engine.runs.summary import summarise

HERE = Path(__file__).parent
OTHER_MACHINE = """
import fcntl, socket, sys
from loratui.engine.runs import lock, supervisor
name = sys.argv[1]
fcntl.flock = lambda fd, how: None  # as on a volume whose locks reach no other machine
socket.gethostname = lambda: name
lock.boot_id = lambda: name
sys.exit(supervisor.main(sys.argv[2:]))
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def events(run: RunDirectory, kind: str) -> list[dict[str, Any]]:
    return [dict(event.fields) for event in read_events(run.events, 0, 1 << 30).events if event.type == kind]


def supervised(command: list[str]) -> subprocess.Popen[str]:
    """A real supervisor of a simulated trainer."""
    environment = {**os.environ, "PYTHONPATH": str(HERE / "replaced")}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def machine() -> Iterator[Start]:
    """Starts a supervisor with a simulated trainer on another machine, whose locks nobody sees."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, run: RunDirectory, *attempts: list[list[Any]]) -> subprocess.Popen[str]:
        (run.path / "simulated.json").write_text(json.dumps(attempts))
        process = supervised([sys.executable, "-c", OTHER_MACHINE, name, str(run.path)])
        started.append(process)
        return process

    yield start
    for process in started:
        for child in (
            Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() if process.poll() is None else ()
        ):
            os.kill(int(child), signal.SIGKILL)
        process.kill()
        process.communicate()


def test_row_42_of_two_machines_whose_locks_do_not_reach_each_other_the_older_stops_and_overwrites_nothing(
    run: RunDirectory, machine: Start
) -> None:
    slowly = [["slowly", 100_000, 0.02]]
    older = machine("older", run, slowly)
    wait_for(lambda: len(events(run, "checkpoint_written")) > 2, "the older's checkpoints")
    newer = machine("newer", run, slowly, [["slowly", 100_000, 0.02]])
    _, said = older.communicate(timeout=15)
    assert older.returncode == 2
    assert "on newer has taken this run over" in said
    assert "on newer has taken this run over" in run.trainer_log.read_text()
    there = {path.name: path.stat().st_ino for path in run.checkpoints.iterdir()}
    length = len(events(run, "step"))
    wait_for(lambda: len(events(run, "step")) > length + 3, "the newer's steps")
    assert {name: (run.checkpoints / name).stat().st_ino for name in there} == there
    seqs = [event.seq for event in read_events(run.events, 0, 1 << 30).events]
    begins = [e["resumed_step"] for e in events(run, "run_started")]
    assert len(begins) == 2
    assert seqs == sorted(seqs)
    assert events(run, "run_finished") == []
    (warning,) = [e for e in events(run, "warning") if e["code"] == "taken_over"]
    assert "taken over from older" in warning["message"]
    assert newer.poll() is None


def test_who_has_lost_the_token_can_write_nothing_and_delete_nothing(run: RunDirectory) -> None:
    durable.make_directory(run.checkpoint(1))
    held = lock.acquire(run.lock)
    with EventLog.open(run.events) as log:
        log.append("warning", code="x")
        theirs = fence.Token(7, "theirs", "box7", 12)
        (run.path / fence.FILE).write_text(json.dumps({"v": 1, "number": 7, "id": "theirs", "host": "box7", "pid": 12}))
        size = run.events.stat().st_size
        for write in (
            lambda: log.append("step", step=1),
            lambda: durable.write_file(run.output / "a.safetensors", b"x"),
            lambda: durable.write_json(run.dataset, {}),
            lambda: durable.remove_tree(run.checkpoint(1)),
            lambda: durable.remove(run.dataset),
            lambda: durable.open_to_write(run.events, os.O_WRONLY),
            lambda: held.note_trainer(lock.identify(1)),
        ):
            with pytest.raises(TakenOverError, match="Process 12 on box7"):
                write()
        assert run.events.stat().st_size == size
        assert run.checkpoint(1).is_dir()
        assert run.dataset.is_file()
        assert fence.read(run.path) == theirs
    held.release()
    durable.write_file(run.output / "a.safetensors", b"x")  # a viewer has no token and needs none


def test_a_checkpoint_that_was_being_written_at_the_take_over_never_appears(run: RunDirectory) -> None:
    held = lock.acquire(run.lock)

    def write() -> None:
        with durable.building(run.checkpoint(5)) as folder:
            (folder / "a").write_text("a")
            fence._write(run.path, fence.Token(9, "theirs", "box7", 1))

    with pytest.raises(TakenOverError):
        write()
    assert not run.checkpoint(5).exists()
    held.release()


def test_each_take_over_raises_the_number(run: RunDirectory) -> None:
    numbers = []
    for _ in range(3):
        held = lock.acquire(run.lock)
        assert held.fence is not None
        numbers.append(held.fence.token.number)
        held.release()
    assert numbers == [1, 2, 3]


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"number": "x"}', b"\0" * 99, None])
def test_a_token_that_was_damaged_or_deleted_is_written_again_by_its_owner(run: RunDirectory, data: bytes | None) -> None:
    held = lock.acquire(run.lock)
    assert held.fence is not None
    harm(run.path / fence.FILE, data)
    held.fence.check()
    assert fence.read(run.path) == held.fence.token
    (run.path / fence.FILE).unlink()
    held.fence.check()
    assert fence.read(run.path) == held.fence.token
    held.release()


def test_a_folder_that_was_renamed_or_deleted_is_not_written_under_its_old_name(run: RunDirectory, tmp_path: Path) -> None:
    held = lock.acquire(run.lock)
    log = EventLog.open(run.events)
    moved = run.path.rename(run.path.with_name("elsewhere"))
    with pytest.raises(FolderLostError, match="was moved to") as lost:
        log.append("heartbeat", phase="")
    assert lost.value.moved_to == moved
    shutil.copytree(moved, run.path)  # another folder under the old name
    with pytest.raises(FolderLostError):
        durable.write_file(run.output / "a", b"")
    shutil.rmtree(moved)
    with pytest.raises(FolderLostError, match="was deleted") as gone:
        log.append("heartbeat", phase="")
    assert gone.value.moved_to is None
    log.close()
    held.release()


def test_row_37_a_folder_of_the_run_that_was_deleted_is_made_again_and_told(run: RunDirectory) -> None:
    held = lock.acquire(run.lock)
    assert held.fence is not None
    lost: list[str] = []
    held.fence.on_folder_lost = lost.append
    durable.write_file(run.output / "a.safetensors", b"a")
    assert lost == []
    run.output.rename(run.path.parent / "kept")
    durable.make_directory(run.output)
    durable.write_file(run.output / "b.safetensors", b"b")
    assert lost == ["output"]
    durable.write_file(run.output / "c.safetensors", b"c")
    assert lost == ["output"]
    held.release()


def test_a_run_that_is_renamed_while_it_trains_is_followed(run: RunDirectory) -> None:
    slowly = [["slowly", 100_000, 0.01]]
    (run.path / "simulated.json").write_text(json.dumps([slowly, [["slowly", 30, 0.0], ["final"], ["exit", 0]]]))
    process = supervised([sys.executable, "-m", "loratui.engine.runs.supervisor", str(run.path)])
    wait_for(lambda: len(events(run, "checkpoint_written")) > 2, "checkpoints")
    moved = RunDirectory(run.path.rename(run.path.with_name("anafox-good")))
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert not run.path.exists()
    found = summarise(moved)
    assert (found.status, found.name) == ("done", "anafox-good")
    (warning,) = [e for e in events(moved, "warning") if e["code"] == "run_moved"]
    assert "renamed from anafox-20261121-1 to anafox-good" in warning["message"]
    first, second = events(moved, "run_started")
    assert first["resumed_step"] == 0
    assert second["resumed_step"] >= 3


def test_who_asks_for_a_run_by_its_old_name_is_told_the_new_one(run: RunDirectory, tmp_path: Path) -> None:
    lock.acquire(run.lock).release()
    moved = RunDirectory(run.path.rename(run.path.with_name("anafox-good")))
    found = summarise(run)
    assert (found.gone, found.reason) == (True, "Its folder was renamed: it is anafox-good now.")
    with pytest.raises(UsageError, match="was renamed: it is anafox-good now"):
        open_run(tmp_path, run.name)
    assert open_run(tmp_path, "anafox-good") == moved
