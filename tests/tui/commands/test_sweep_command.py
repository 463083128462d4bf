"""`loratui sweep` and `loratui sweeps`: a sweep waits whole or not at all, and ends in a comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.errors import DiskError
from loratui.engine.runs import sweeps
from loratui.engine.runs.directory import list_runs
from loratui.engine.runs.queue import entries
from loratui.presets import SHIPPED
from loratui.tui import cli
from loratui.tui.commands import common

SWEEP = [
    "sweep",
    str(SHIPPED / "bases" / "anafox"),
    "--preset",
    "demo",
    "--trigger",
    "anafox",
    "--class",
    "woman",
    "--device",
    "cpu",
]
OVER = ["--over", "rank=4,8"]
WHOLE = [[["steps", 3], ["checkpoint", 3], ["final"], ["exit", 0]]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose queue starts nothing."""
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    entries.change(tmp_path, lambda queue: replace(queue, on_hold="You have put it on hold."))
    return tmp_path


def test_every_run_is_made_and_waits_with_its_validation(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SWEEP, *OVER, "--yes", "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    first, second = (row["run"] for row in told["runs"])
    assert [(row["values"], row["status"]) for row in told["runs"]] == [
        ({"adapter.rank": 4}, "queued"),
        ({"adapter.rank": 8}, "queued"),
    ]
    assert (told["pick"]["run"], told["strength"]) == ("", None)
    assert [(one.run, one.job, one.cache_from) for one in entries.read(home).entries] == [
        (first, "train", ""),
        (first, "validate", ""),
        (second, "train", first),
        (second, "validate", first),
    ]
    assert cli.main(["sweeps", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["sweeps"]] == [told["name"]]
    assert cli.main(["sweeps", told["name"], "--forget"]) == 0
    assert sweeps.list_sweeps(home) == []
    assert len(list_runs(home)) == 2


def test_where_a_run_cannot_be_made_none_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, made = common.make_run, []

    def fail_at_the_second(*given: Any) -> Any:
        if made:
            raise DiskError("The disk is full.")
        made.append(make(*given))
        return made[0]

    monkeypatch.setattr(common, "make_run", fail_at_the_second)
    assert cli.main([*SWEEP, *OVER, "--yes"]) == 20
    assert "The disk is full." in capsys.readouterr().err
    assert (list_runs(home), sweeps.list_sweeps(home), entries.read(home).entries) == ([], [], ())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a setting"),
        (["--over", "rank=0,8"], "adapter.rank"),
        ([*OVER, "--jobs", "x", "--wait"], "Leave out --wait"),
        ([*OVER, "--over", "optimizer.beta1=0.9,0.9"], "one value"),
    ],
)
def test_what_cannot_be_a_sweep_makes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.main([*SWEEP, *words, "--yes"]) == 2
    assert said in capsys.readouterr().err
    assert list_runs(home) == []


@pytest.mark.long
def test_waiting_ends_with_the_comparison(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "faults" / "replaced"))
    monkeypatch.setenv("SIMULATED_TRAINER", json.dumps(WHOLE))
    entries.change(home, lambda queue: replace(queue, on_hold=""))
    assert cli.main([*SWEEP, *OVER, "--wait", "--json"]) == 0
    captured = capsys.readouterr()
    assert [row["status"] for row in json.loads(captured.out)["runs"]] == ["done", "done"]
    assert "(rank 8) is done" in captured.err
    monkeypatch.setenv("SIMULATED_TRAINER", json.dumps([[["exit", 30]]]))
    assert cli.main([*SWEEP, *OVER, "--wait"]) == 1
