"""Real runs that are killed at every lasting write and at random moments lose nothing: `benchmarks/kills.py` in two sizes.

Rows 1–11 of the matrix of faults, of which each is a point or a moment of a campaign.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def campaign(out: Path, *options: str) -> dict[str, Any]:
    """The report of a campaign that found nothing wrong."""
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["failures"] == report["never_reached"] == []
    return report


def test_kills_at_writes_and_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    report = campaign(tmp_path / "kills.json", "--kills", "40", "--base", "random")
    assert report["by"] == {"at points": 20, "at random": 20}
    assert report["points_known"] > 250, "the writes of a run are no longer seen"


@pytest.mark.long
def test_five_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    report = campaign(tmp_path / "kills.json", "--kills", "500", "--workers", "2")
    assert report["kills"] >= 498
    assert report["points"] == 250
