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

from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import build_recipe, read_recipe
from loratui.engine.planning.sweep import parse_over, variants
from loratui.engine.runs import sky_jobs
from loratui.engine.runs.directory import create_run
from loratui.engine.runs.sweeps import Member, Sweep
from loratui.presets import SHIPPED
from loratui.tui.cli import build_parser

FILE = Path(__file__).parent.parent / "docs" / "skypilot.yaml"
"""The same file as the template of a sweep's jobs."""


@pytest.fixture
def job() -> dict[str, Any]:
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def asked(job: dict[str, Any], tmp_path: Path, status: str = "interrupted", **envs: str) -> list[list[str]]:
    """The commands of loratui that the job's script runs, from a stand-in that writes them down."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    stand_in, told = tmp_path / "bin" / "loratui", tmp_path / "told"
    told_status = shlex.quote('{"status": "' + status + '"}')
    stand_in.write_text(
        f'#!/bin/sh\nif [ "$1" = status ]; then echo {told_status}; else printf "%s\\n" "$*" >> {shlex.quote(str(told))}; fi\n'
    )
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


@pytest.fixture
def sweep_job(tmp_path: Path) -> dict[str, Any]:
    recipe = build_recipe("demo", dataset=SHIPPED / "bases" / "anafox", trigger="anafox", class_word="woman")
    found = variants(recipe, [parse_over("rank=4,8")])
    first, second = sky_jobs.write_jobs(tmp_path / "jobs", Sweep("anafox-sweep-20261121-1", 1.0, ("adapter.rank",), 2), found)
    assert yaml.safe_load(first.read_text())["envs"]["RECIPE"] != yaml.safe_load(second.read_text())["envs"]["RECIPE"]
    with pytest.raises(UsageError, match="not an empty folder"):
        sky_jobs.write_jobs(tmp_path / "jobs", Sweep("x", 1.0, ("adapter.rank",), 2), found)
    job = yaml.safe_load(second.read_text(encoding="utf-8"))
    assert isinstance(job, dict)
    return job


def test_a_job_of_a_sweep_has_the_keys_of_the_template_and_its_own_folder(
    sweep_job: dict[str, Any], job: dict[str, Any]
) -> None:
    same = {"resources", "file_mounts", "setup", "run", "workdir"}
    assert {key: sweep_job[key] for key in same} == {key: job[key] for key in same}
    assert sweep_job["envs"].keys() == job["envs"].keys()
    assert all(isinstance(value, str) for value in sweep_job["envs"].values())
    assert (sweep_job["name"], sweep_job["envs"]["LORATUI_HOME"]) == (
        "anafox-sweep-20261121-1-02",
        "/loratui/anafox-sweep-20261121-1/2",
    )


def test_a_job_of_a_sweep_trains_its_recipe_and_validates_once(sweep_job: dict[str, Any], tmp_path: Path) -> None:
    train, validate = asked(sweep_job, tmp_path)
    args = build_parser(train).parse_args(train)
    assert (args.command, args.dataset_option, args.processes, args.wait) == ("train", "/dataset", 2, True)
    assert read_recipe(Path(args.dataset)).settings.adapter.rank == 8
    assert build_parser(validate).parse_args(validate).command == "validate"
    (tmp_path / "home" / "runs" / "anafox-1").mkdir(parents=True)
    assert [words[0] for words in asked(sweep_job, tmp_path)] == ["resume", "validate"]
    assert [words[0] for words in asked(sweep_job, tmp_path, status="done")] == ["validate"]


def test_runs_that_jobs_left_in_a_bucket_are_found_by_their_recipes(tmp_path: Path) -> None:
    recipe = build_recipe("demo", dataset=SHIPPED / "bases" / "anafox", trigger="anafox", class_word="woman")
    found = variants(recipe, [parse_over("rank=4,8")])
    members = tuple(Member(f"anafox-sweep-1-0{at}", "", one.values) for at, one in enumerate(found, 1))
    sweep = Sweep("anafox-sweep-1", 1.0, ("adapter.rank",), 2, members)
    bucket = tmp_path / "bucket"
    with pytest.raises(UsageError, match="no run"):
        sky_jobs.collect(tmp_path, sweep, bucket)
    home = bucket / "anafox-sweep-1" / "2"
    run = create_run(home, "anafox", recipe_toml=found[1].recipe.to_toml(), effective_toml="", ledger={})
    (bucket / "loop").symlink_to(bucket)
    first, second = sky_jobs.collect(tmp_path, sweep, bucket).members
    assert (first.path, second.path, second.run) == ("", str(run.path), "anafox-sweep-1-02")
