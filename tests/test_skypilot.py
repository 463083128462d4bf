"""The SkyPilot job of docs/: its keys, and what its script asks of loratui at the first start and after a preemption.

SkyPilot is too large a dependency for the tests; its own parser (0.14.1, `sky.Task.from_yaml`) took the file when it was written.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from loratui.tui.cli import build_parser

FILE = Path(__file__).parent.parent / "docs" / "skypilot.yaml"


@pytest.fixture
def job() -> dict[str, Any]:
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def asked(job: dict[str, Any], tmp_path: Path, **envs: str) -> list[list[str]]:
    """The commands of loratui that the job's script runs, from a stand-in that writes them down."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    stand_in, told = tmp_path / "bin" / "loratui", tmp_path / "told"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {shlex.quote(str(told))}\n')
    stand_in.chmod(0o755)
    told.write_text("")
    given = {**job["envs"], "LORATUI_HOME": str(tmp_path / "home"), "SKYPILOT_NUM_GPUS_PER_NODE": "2", **envs}
    script = f"set -eu\nexport PATH={shlex.quote(str(stand_in.parent))}:/usr/bin:/bin HOME={shlex.quote(str(tmp_path))}\n{job['run']}"
    subprocess.run(["bash", "-c", script], env=given, check=True)
    return [line.split() for line in told.read_text().splitlines()]


def test_the_keys_are_those_of_skypilot(job: dict[str, Any]) -> None:
    assert set(job) == {"name", "workdir", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(job["resources"]) == {"accelerators", "use_spot", "disk_size", "job_recovery"}
    assert job["resources"]["job_recovery"] == {"recover_on_exit_codes": [33]}
    assert job["file_mounts"][job["envs"]["LORATUI_HOME"]] == {"name": "${BUCKET}", "mode": "MOUNT_CACHED"}
    assert all(isinstance(value, str) for value in job["envs"].values())
    subprocess.run(["bash", "-n", "-c", job["setup"]], check=True)


def test_it_trains_first_and_resumes_after_a_preemption(job: dict[str, Any], tmp_path: Path) -> None:
    [first] = asked(job, tmp_path)
    args = build_parser(first).parse_args(first)
    assert (args.command, args.dataset, args.preset, args.base, args.processes) == (
        "train",
        "/dataset",
        "demo",
        "embedded:sd15",
        2,
    )
    assert args.wait
    (tmp_path / "home" / "runs" / "anafox-1").mkdir(parents=True)
    [again] = asked(job, tmp_path)
    args = build_parser(again).parse_args(again)
    assert (args.command, args.run_name, args.wait) == ("resume", "latest", True)


@pytest.mark.parametrize(
    ("base", "fetched"), [("owner/name", True), ("/models/x.safetensors", False), ("embedded:flux", False)]
)
def test_only_a_base_of_the_hub_is_downloaded(job: dict[str, Any], tmp_path: Path, base: str, fetched: bool) -> None:
    commands = asked(job, tmp_path, BASE=base)
    assert (["download", base, "--yes"] in commands) == fetched
    assert "--base" in commands[-1]
