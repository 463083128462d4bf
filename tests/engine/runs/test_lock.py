"""Of many starts one wins, the lock lives as long as either process, and no stranger is ever taken for the owner."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loratui.engine.errors import UsageError
from loratui.engine.runs import lock


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


HOLD = """
import sys, time
from pathlib import Path
from loratui.engine.runs import lock
held = lock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=10)


def test_of_eight_starts_at_once_exactly_one_wins(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from loratui.engine.errors import UsageError
from loratui.engine.runs import lock
print("ready", flush=True)
sys.stdin.readline()
try:
    held = lock.acquire(Path(sys.argv[1]))
    print("won", flush=True)
except UsageError:
    print("lost", flush=True)
sys.stdin.readline()
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run.lock")], stdin=-1, stdout=-1, text=True, bufsize=1)
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
    results = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate("end\n", timeout=10)
    assert sorted(results) == ["lost"] * 7 + ["won"]


def test_the_refusal_names_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "anafox-1" / "run.lock"
    path.parent.mkdir()
    process = holder(path)
    with pytest.raises(UsageError, match=rf"anafox-1 is already running \(process {process.pid} on .*loratui attach anafox-1"):
        lock.acquire(path)
    assert lock.is_held(path)
    owner = lock.read_owner(path)
    assert owner is not None
    assert owner.supervisor.pid == process.pid
    assert owner.supervisor.alive
    end(process)
    assert not lock.is_held(path)
    assert not owner.supervisor.alive
    lock.acquire(path).release()


def test_the_lock_lives_on_in_a_process_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    held = lock.acquire(path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[held.fd], text=True)
    held.note_trainer(lock.identify(child.pid))
    held.release()
    held.release()
    assert lock.is_held(path)
    owner = lock.read_owner(path)
    assert owner is not None
    assert owner.trainer.pid == child.pid
    child.communicate("\n", timeout=10)
    assert not lock.is_held(path)


def test_looking_never_makes_a_start_fail(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    lock.acquire(path).release()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            lock.is_held(path)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(30):
            lock.acquire(path).release()
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()


def test_a_missing_lock_file_is_free_and_looking_does_not_make_one(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "run.lock")
    assert lock.read_owner(tmp_path / "run.lock") is None
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"supervisor": 5}',
        b'{"supervisor":{"pid":"x"},"trainer":{},"job":"","since":0}',
        b"[" * 9999,
    ],
)
def test_a_lock_file_with_rubbish_is_taken_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(content)
    assert lock.read_owner(path) is None
    lock.acquire(path).release()
    assert lock.read_owner(path) is not None


def test_a_reused_pid_is_not_the_owner_and_is_never_signalled(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "30"])
    try:
        real = lock.identify(stranger.pid)
        assert real.alive
        for wrong in (
            lock.ProcessIdentity(real.pid, str(int(real.start_time) - 1), real.boot_id, real.host),
            lock.ProcessIdentity(real.pid, real.start_time, "another-boot", real.host),
            lock.ProcessIdentity(real.pid, real.start_time, real.boot_id, "another-host"),
            lock.ProcessIdentity(0, "", real.boot_id, real.host),
            lock.ProcessIdentity(-1, "", real.boot_id, real.host),
        ):
            assert not wrong.alive
            assert not wrong.send_signal(signal.SIGKILL)
        assert stranger.poll() is None
        assert real.send_signal(signal.SIGTERM)
        assert stranger.wait(10) == -signal.SIGTERM
        assert not real.send_signal(signal.SIGTERM)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdin=-1)
    identity = lock.identify(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive
    child.communicate()


def test_a_command_name_full_of_brackets_does_not_confuse_the_start_time(tmp_path: Path) -> None:
    odd = tmp_path / ") R 1 (x"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "30"])
    try:
        deadline = time.monotonic() + 5
        while ") R" not in Path(f"/proc/{child.pid}/comm").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert abs(int(lock.process_start_time(child.pid)) - int(lock.process_start_time(os.getpid()))) < 10**7
        assert lock.identify(child.pid).alive
    finally:
        child.kill()
        child.wait()


def test_a_run_deleted_under_the_start_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.lock"
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        real(fd, how)
        path.unlink(missing_ok=True)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match="deleted or moved"):
        lock.acquire(path)


def test_without_flock_the_identity_of_the_owner_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.lock"

    def flock(fd: int, how: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    held = lock.acquire(path)
    assert lock.is_held(path)
    with pytest.raises(UsageError, match="already running"):
        lock.acquire(path)
    body = json.loads(path.read_text())
    body["supervisor"]["start_time"] = "1"
    path.write_text(json.dumps(body))
    assert not lock.is_held(path)
    lock.acquire(path).release()
    held.release()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "run.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match="Cannot write"):
        lock.acquire(tmp_path / "run.lock")
    assert (tmp_path / "victim").read_text() == "keep"
