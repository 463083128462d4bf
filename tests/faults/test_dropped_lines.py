"""A hundred SSH sessions that drop change no loss of the run that they watch: rows 67 and 69, `benchmarks/dropped_lines.py`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_a_hundred_dropped_lines_change_no_loss(tmp_path: Path) -> None:
    if not shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or not shutil.which("tmux"):
        pytest.skip("openssh-server and tmux are not installed")
    out = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "dropped_lines.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(out.read_text())["drops"] == 100
