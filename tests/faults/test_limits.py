"""Row 40: no more processes or open files is told in words, and leaves nothing half done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import read_events
from loratui.engine.runs.summary import summarise

NO_PROCESSES = """
import errno, os, sys
from pathlib import Path
from loratui.engine.runs import lock, supervisor
from loratui.engine.runs.directory import RunDirectory

def refuse():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

run = RunDirectory(Path(sys.argv[1]))
held = lock.acquire(run.lock)
os.fork = refuse
sys.exit(supervisor.supervise(run, "train", held, command=["true"]))
"""

NO_FILES = """
import resource, sys
from pathlib import Path
from loratui.engine.durable import write_file
from loratui.engine.errors import DiskError

folder = Path(sys.argv[1])
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
for few in range(3, 20):
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        write_file(folder / "file", b"new")
        break
    except DiskError as error:
        print(error, error.remedy)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [path.name for path in folder.iterdir()] == ["file"], few
    assert (folder / "file").read_bytes() == b"old"
assert (folder / "file").read_bytes() == b"new"
"""


def run_python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False)


def test_row_40_where_no_process_can_be_started_the_run_says_so_and_can_be_resumed(tmp_path: Path) -> None:
    run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={})
    done = run_python(NO_PROCESSES, run.path)
    assert done.returncode == 70, done.stderr
    last = read_events(run.events).events[-1]
    assert last.type == "run_finished"
    assert "could not be started" in last.text("reason")
    assert "ulimit -u" in last.text("advice")
    assert f"loratui resume {run.name}" in last.text("advice")
    assert summarise(RunDirectory(run.path)).status == "failed"


def test_row_40_without_open_files_a_file_stays_the_old_one_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    done = run_python(NO_FILES, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all("too many open files" in line and "ulimit -n" in line for line in lines), json.dumps(lines)
