"""The next start in a terminal where the app was killed says so; every other start says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from loratui.tui.terminal import crash_marker


def _dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return child.pid


def test_a_killed_app_is_noticed_once_and_in_its_own_terminal_alone(tmp_path: Path) -> None:
    session, other = os.getpid(), os.getppid()
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / f"{session}").write_text(f"{_dead_process()}\n")
    with crash_marker.watched(tmp_path, other) as was_killed:
        assert not was_killed
    with crash_marker.watched(tmp_path, session) as was_killed:
        assert was_killed
    with crash_marker.watched(tmp_path, session) as was_killed:
        assert not was_killed
    assert list((tmp_path / "open").iterdir()) == []


def test_a_second_app_in_one_terminal_is_no_killed_one(tmp_path: Path) -> None:
    with crash_marker.watched(tmp_path, os.getpid()), crash_marker.watched(tmp_path, os.getpid()) as was_killed:
        assert not was_killed


def test_marks_of_sessions_that_are_over_go(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / f"{_dead_process()}").write_text("1\n")
    with crash_marker.watched(tmp_path, os.getpid()):
        assert [mark.name for mark in (tmp_path / "open").iterdir()] == [str(os.getpid())]


def test_a_torn_mark_or_a_home_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / f"{os.getpid()}").write_bytes(b"\xff\x00")
    with crash_marker.watched(tmp_path, os.getpid()) as was_killed:
        assert not was_killed
    (tmp_path / "file").write_text("")
    with crash_marker.watched(tmp_path / "file", os.getpid()) as was_killed:
        assert not was_killed
