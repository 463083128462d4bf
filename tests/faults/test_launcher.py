"""Starting a run: detached for good, refused when it is alive, and a supervisor that dies is explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loratui.engine import children
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.runs import control, launcher, lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.summary import summarise

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("PYTHONPATH", str(HERE / "replaced"))
    new = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    (new.path / "simulated.json").write_text(json.dumps([[["steps", 3], ["serve"]]]))
    return new


def wait_until_free(run: RunDirectory) -> None:
    deadline = time.monotonic() + 15
    while lock.is_held(run.lock):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_launched_run_is_alive_detached_and_ends_by_command(run: RunDirectory) -> None:
    launch(run)
    owner = lock.read_owner(run.lock)
    assert lock.is_held(run.lock)
    assert owner is not None
    assert os.getsid(owner.supervisor.pid) == owner.supervisor.pid != os.getsid(0)
    assert Path(f"/proc/{owner.supervisor.pid}/fd/0").readlink() == Path(os.devnull)
    assert summarise(run).status in ("starting", "running")
    control.send(run, "pause")
    wait_until_free(run)
    summary = summarise(run)
    assert (summary.status, summary.exit_code, summary.active) == ("paused", 10, False)
    assert run.supervisor_log.read_text() == ""


def test_a_sigterm_before_the_supervisor_can_answer_is_answered_once_it_can(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_end(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*arguments, **options)
        process.send_signal(signal.SIGTERM)
        return process

    start = children.start
    monkeypatch.setattr(children, "start", start_and_end)
    launch(run)
    wait_until_free(run)
    found = summarise(run)
    assert (found.status, found.exit_code) == ("stopped", 143)
    assert "asked to stop" in found.reason
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_second_launch_is_refused_with_the_owners_name(run: RunDirectory) -> None:
    launch(run)
    owner = lock.read_owner(run.lock)
    assert owner is not None
    with pytest.raises(UsageError, match=f"already running .process {owner.supervisor.pid} "):
        launch(run)
    with pytest.raises(UsageError, match="already running"):
        launch(run, "validate")
    control.send(run, "stop")
    wait_until_free(run)


def test_of_eight_launches_at_once_one_wins_and_the_others_exit_with_two(run: RunDirectory) -> None:
    code = """
import sys
from pathlib import Path
from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
sys.stdin.readline()
try:
    launch(RunDirectory(Path(sys.argv[1])))
except LoratuiError as error:
    sys.exit(int(error.exit_code))
"""
    racers = [subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE) for _ in range(8)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.close()
    codes = sorted(racer.wait(30) for racer in racers)
    assert codes == [0] + [2] * 7
    control.send(run, "stop")
    wait_until_free(run)


def test_the_run_outlives_the_process_that_launched_it(run: RunDirectory) -> None:
    code = "import sys; from pathlib import Path; from loratui.engine.runs import directory, launcher\n"
    code += "launcher.launch(directory.RunDirectory(Path(sys.argv[1]))); print('up', flush=True); sys.stdin.read()"
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert lock.is_held(run.lock)
    control.send(run, "stop")
    wait_until_free(run)
    assert summarise(run).status == "stopped"


def test_a_finished_job_can_be_launched_again_from_the_same_process(run: RunDirectory) -> None:
    (run.path / "simulated.json").write_text(json.dumps([[["exit", 0]]]))
    for _ in range(2):
        launch(run)
        wait_until_free(run)
        assert summarise(run).status == "done"


def test_a_supervisor_that_cannot_start_is_explained(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LoratuiError, match="ended at once") as caught:
        launch(run)
    assert caught.value.exit_code == 70
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(UsageError, match="could not be started"):
        launch(run)


def test_a_supervisor_that_says_nothing_is_given_up(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(silent))
    monkeypatch.setattr(launcher, "_PATIENCE_S", 0.2)
    with pytest.raises(LoratuiError, match="did not start"):
        launch(run)


def test_a_log_folder_that_cannot_be_written_is_told_before_anything_starts(run: RunDirectory) -> None:
    run.supervisor_log.symlink_to("/nowhere")
    with pytest.raises(UsageError, match=r"supervisor\.log is a link"):
        launch(run)
    assert not lock.is_held(run.lock)
