"""Real runs on real small disks that somebody fills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMESPACE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]


def mounts(kind: str) -> bool:
    """Whether this machine lets a test mount such a disk."""
    tried = "mount -t tmpfs none /mnt" if kind == "tmpfs" else "command -v mkfs.ext4 && losetup -f"
    try:
        return subprocess.run([*NAMESPACE, "sh", "-c", tried], capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "ask"), [("tmpfs", ""), ("tmpfs", "pause"), ("tmpfs", "term"), ("ext4", ""), ("ext4", "stop")]
)
def test_a_run_on_a_disk_that_somebody_fills_waits_and_loses_nothing(tmp_path: Path, kind: str, ask: str) -> None:
    if not mounts(kind):
        pytest.skip(f"no {kind} can be mounted here")
    env = {**os.environ, "LORATUI_HOME": str(tmp_path / "disk"), "PYTHONPATH": str(HERE.parent / "support")}
    done = subprocess.run(
        [*NAMESPACE, sys.executable, str(HERE / "on_a_small_disk.py"), str(tmp_path), kind, ask],
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "the disk is full" in found["reason"]
    assert "The run goes on by itself." in found["advice"]
    assert (found["skipped"], found["seqs"], found["waited"], found["last_step"]) == (0, True, 1, 105)
    if ask:
        assert found["answered_s"] < 4.0
        assert (found["status"], found["exit_code"]) == (("paused", 10) if ask == "pause" else ("stopped", 143))
    else:
        assert found["went_on_s"] < 5.0
        assert found["resumed"] == 1
