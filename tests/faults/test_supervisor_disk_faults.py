"""A disk that fails at any call of a supervisor: it goes on, and its last word is read even where the disk never took it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.summary import summarise

HERE = Path(__file__).parent
NEVER = 10**9
ATTEMPTS = [[["steps", 2], ["checkpoint", 2], ["kill", 9]], [["steps", 4], ["checkpoint", 4], ["final"], ["exit", 0]]]
"""A trainer that is killed, and one that ends well."""

Supervise = Callable[[int, int, int], tuple[RunDirectory, "subprocess.CompletedProcess[str]", int]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, for what lets the system's calls fail")
    library = tmp_path_factory.mktemp("faults") / "disk_faults.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "disk_faults.c", "-ldl"], check=True)
    return library


@pytest.fixture
def supervise(library: Path, tmp_path: Path) -> Supervise:
    """A supervisor on a disk of which `many` calls fail from the `first` on; and how many calls it made."""

    def start(first: int, many: int, number: int) -> tuple[RunDirectory, subprocess.CompletedProcess[str], int]:
        run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
        (run.path / "simulated.json").write_text(json.dumps(ATTEMPTS))
        trainer = [sys.executable, str(HERE / "simulated_trainer.py"), str(run.path), "--job", "train"]
        report = tmp_path / "seen"
        report.unlink(missing_ok=True)
        faults = {"LD_PRELOAD": str(library), "FAULTS": f"{run.path} {first} {many} {number}", "FAULTS_REPORT": str(report)}
        done = subprocess.run(
            [sys.executable, str(HERE / "simulated_supervisor.py"), str(run.path), "train", *trainer],
            env={**os.environ, **faults},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return run, done, int(report.read_text().split()[0]) if report.exists() else 0

    return start


def require_told(run: RunDirectory, done: subprocess.CompletedProcess[str], first: int) -> None:
    """The oracle: either the start was refused with the reason, or the run is done, its log is whole, and it says so."""
    if "ready" not in done.stdout:
        assert done.returncode == 20, (first, done.stderr)
        assert "Cannot write" in done.stderr
        assert summarise(run).status == "interrupted"
        return
    assert done.returncode == 0, (first, done.stderr)
    assert summarise(run).status == "done", first
    with EventLog.open(run.events) as log:  # the next writer says what the disk did not take
        log.append("heartbeat", phase="")
    events = read_events(run.events, 0, 1 << 30).events
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), first
    told = [event.type for event in events]
    assert [told.count(type) for type in ("trainer_started", "trainer_ended", "run_finished")] == [2, 2, 1], (first, told)


def test_a_supervisor_whose_disk_fails_now_and_then_tells_everything(supervise: Supervise) -> None:
    run, done, calls = supervise(NEVER, 0, errno.ENOSPC)
    require_told(run, done, NEVER)
    for first in (calls // 4, calls // 2, calls - 2):
        run, done, _ = supervise(first, 2, errno.ENOSPC)
        require_told(run, done, first)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_supervisor_whose_disk_is_full_to_the_end_keeps_its_last_word(supervise: Supervise, number: int) -> None:
    _, _, calls = supervise(NEVER, 0, errno.ENOSPC)
    run, done, _ = supervise(calls // 2, NEVER, number)
    require_told(run, done, calls // 2)


@pytest.mark.long
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("many", [1, 3, NEVER])
def test_a_supervisor_whose_disk_fails_at_any_call_tells_everything(supervise: Supervise, number: int, many: int) -> None:
    _, _, calls = supervise(NEVER, 0, number)
    for first in range(1, calls + 1):
        run, done, _ = supervise(first, many, number)
        require_told(run, done, first)
