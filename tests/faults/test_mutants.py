"""The tests notice faults in the code of checkpoints, locks and verdicts: `mutants.toml` lists them, `benchmarks/mutants.py` tries them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


def test_each_mutant_changes_its_file_in_one_place_and_names_tests() -> None:
    assert len(MUTANTS) >= 30
    for mutant in MUTANTS:
        source = (ROOT / mutant["file"]).read_text()
        assert source.count(mutant["old"]) == 1, mutant["name"]
        assert mutant["new"] not in (mutant["old"], source), mutant["name"]
        for test in mutant["tests"].split():
            file, _, function = test.partition("::")
            assert f"def {function.partition('[')[0]}" in (ROOT / file).read_text(), test


@pytest.mark.long
def test_every_mutant_is_caught(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "mutants.py"), "--workers", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert report["caught"] == report["mutants"] == len(MUTANTS)
