"""Runs survive what happens on rented machines: lost terminals, kills at any moment, other users' umask, full or foreign disks."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory, create_run, list_runs
from loratui.engine.runs.events import read_events
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.summary import summarise
from loratui.presets import SHIPPED

HERE = Path(__file__).parent
TRAIN = [
    *(sys.executable, "-m", "loratui.tui.cli", "train", str(SHIPPED / "bases" / "anafox")),
    *("--preset", "demo", "--trigger", "anafox", "--class", "woman"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(HERE / "replaced"))
    yield tmp_path / "home"
    for run in list_runs(tmp_path / "home"):
        kill_all(run)


def kill_all(run: RunDirectory, order: Callable[[list[Any]], list[Any]] = lambda those: those) -> None:
    """SIGKILL to the supervisor and the trainer of a run, until nothing holds its lock."""
    deadline = time.monotonic() + 10
    while lock.is_held(run.lock):
        owner = lock.read_owner(run.lock)
        for process in order([owner.supervisor, owner.trainer]) if owner else ():
            process.send_signal(signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def steps_of(run: RunDirectory) -> list[int]:
    return [event.get("step") for event in read_events(run.events, 0, 1 << 30).events if event.type == "step"]


@pytest.mark.parametrize("how", ["the terminal closes", "kill -9"])
def test_a_lost_viewer_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("SIMULATED_TRAINER", json.dumps([[["slowly", 20, 0.03], ["final"], ["exit", 0]]]))
    master, slave = pty.openpty()
    viewer = subprocess.Popen([*TRAIN, "--yes"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    wait_for(lambda: list_runs(home) and steps_of(list_runs(home)[0]))
    (run,) = list_runs(home)
    if how == "kill -9":
        os.killpg(viewer.pid, signal.SIGKILL)
        viewer.wait(10)
        os.close(master)
    else:
        os.close(master)
        assert viewer.wait(10) != 0
    assert lock.is_held(run.lock)
    wait_for(lambda: not lock.is_held(run.lock))
    assert summarise(run).status == "done"
    assert steps_of(run) == list(range(1, 21))


@pytest.mark.long  # `test_kills.py` kills real runs in the default lane
def test_kills_of_everything_at_random_moments_lose_nothing_that_was_acknowledged(home: Path) -> None:
    run = create_run(home, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    (run.path / "simulated.json").write_text(json.dumps([[["slowly", 60, 0.01], ["final"], ["exit", 0]]]))
    dice = random.Random(20261121)
    kills = 0
    while summarise(run).status != "done":
        before = len(steps_of(run))
        launch(run)
        if dice.random() < 0.7:
            # A busy machine starts slowly: most trainers shall get somewhere, however long that takes.
            wait_for(lambda before=before: len(steps_of(run)) > before or not lock.is_held(run.lock))
        time.sleep(dice.uniform(0.0, 0.2))
        kill_all(run, lambda those: dice.sample(those, dice.randint(1, 2)))
        kills += 1
        events = read_events(run.events, 0, 1 << 30).events
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        acknowledged = [event.get("step") for event in events if event.type == "checkpoint_written"]
        assert run.last_checkpoint_step() >= max(acknowledged, default=0)
        assert summarise(run).status in ("interrupted", "done")
        assert kills < 100
    assert kills >= 5
    assert run.last_checkpoint_step() == 60
    starts = [event.get("resumed_step") for event in read_events(run.events, 0, 1 << 30).events if event.type == "run_started"]
    assert starts == sorted(starts)
    assert not [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")]


def test_with_umask_zero_and_a_token_in_the_environment_nothing_is_readable_and_nothing_leaks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = [["slowly", 2, 0.0], ["print", "HF said: token hf_canarycanarycanarycanary refused"], ["exit", 70]]
    monkeypatch.setenv("SIMULATED_TRAINER", json.dumps([actions]))
    monkeypatch.setenv("HF_TOKEN", "canary-0123456789")
    done = subprocess.run([*TRAIN, "--wait", "--json"], capture_output=True, text=True, umask=0, timeout=60, check=False)
    assert done.returncode == 70
    assert "canary" not in done.stdout + done.stderr
    paths = [home, *home.rglob("*")]
    assert len(paths) > 10
    for path in paths:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        assert path.stat().st_uid == os.geteuid()
        if path.is_file() and path.name != "trainer.log":
            assert b"canary" not in path.read_bytes(), path


def test_neither_process_listens_or_connects(home: Path) -> None:
    run = create_run(home, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    (run.path / "simulated.json").write_text(json.dumps([[["serve"]]]))
    launch(run)
    owner = wait_for(lambda: (found := lock.read_owner(run.lock)) and found.trainer.pid and found)
    for process in (owner.supervisor, owner.trainer):
        targets = []
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # a file that was closed since it was listed
                targets.append(os.readlink(fd))  # noqa: PTH115 - "socket:[1]"
        assert not [target for target in targets if target.startswith("socket:")]
    control.send(run, "stop")
    wait_for(lambda: not lock.is_held(run.lock))


def test_a_home_of_another_user_is_refused_in_a_sentence() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        run = create_run(place / "home", "anafox", recipe_toml="", effective_toml="", ledger={})
        for path in (place / "home", place / "home" / "runs", run.path):
            path.chmod(0o755)
        run.marker.chmod(0o644)
        code = """
import os, sys
from pathlib import Path
from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import create_run, open_run
os.setgid(65534); os.setuid(65534)
home = Path(sys.argv[1])
for what in (lambda: create_run(home, "x", recipe_toml="", effective_toml="", ledger={}), lambda: open_run(home, "latest")):
    try:
        what()
        print("allowed")
    except LoratuiError as error:
        print(int(error.exit_code), error)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(place / "home")], capture_output=True, text=True, timeout=30, check=True
        )
        refused, foreign = done.stdout.splitlines()
        assert refused.startswith("20 Cannot write")
        assert "no permission" in refused
        assert foreign.startswith("2 ")
        assert "belongs to another user" in foreign
        assert [path.name for path in (place / "home" / "runs").iterdir()] == [run.name]
