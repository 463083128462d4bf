"""`loratui continue`: what it asks for, what it refuses, and the run that it starts, with its lineage in lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ended_runs import ended
from fake_run import finished_run

from loratui.engine.planning.recipe import Recipe
from loratui.engine.runs import lineage
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.tui import cli
from loratui.tui.commands import train


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "How many epochs more"),
        (("--epochs", "0"), "nothing would be trained"),
        (("--epochs", "2"), "no checkpoint"),
        (("--epochs", "2", "--step", "9"), "no checkpoint of step 9"),
        (("--epochs", "2", "--dataset", "x"), "add --weights"),
        (("--weights", "--rates", "restart"), "a schedule of its own"),
        (("--weights", "--step", "9"), "no LoRA file of step 9"),
    ],
)
def test_what_cannot_be_continued_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    run = ended(home)
    assert cli.main(["continue", run.name, *words]) == 2
    assert said in capsys.readouterr().err


FEWER = {"id": "fewer", "change": "Fewer epochs.", "why": "", "do": {"settings": {"schedule.epochs": 6}}}
CAPTION = {"id": "words", "change": "Re-caption.", "why": "", "do": {"re_caption": ["anafox_03.png"]}}


def judged(home: Path, *advice: dict[str, Any]) -> RunDirectory:
    """A run with a verdict."""
    run = finished_run(home)
    body = {"verdict": {"kind": "overtrained", "confidence": 0.8, "reasons": []}, "best": None, "advice": advice}
    (run.validation / "measures.json").write_text(json.dumps(body))
    return run


def test_an_advice_begins_the_run_that_it_comes_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = judged(home, FEWER)
    begun: list[Recipe] = []
    monkeypatch.setattr(train, "carry_out", lambda recipe, _: begun.append(recipe) or 0)
    assert cli.main(["continue", run.name, "--advice", "fewer", "--set", "adapter.rank=8"]) == 0
    (recipe,) = begun
    settings = recipe.settings
    assert (settings.schedule.epochs, settings.adapter.rank, settings.output.planned_from) == (6, 8, str(run.path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fewr",), "no advice fewr. There are: fewer, words."),
        (("words",), "Only you can write better captions: anafox_03.txt in "),
        (("fewer", "--epochs", "3"), "--advice and --epochs cannot go together"),
        (("fewer", "--weights"), "--advice and --weights cannot go together"),
    ],
)
def test_an_advice_that_begins_nothing_says_why(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    run = judged(home, FEWER, CAPTION)
    assert cli.main(["continue", run.name, "--advice", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_a_verdict_there_is_no_advice(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    assert cli.main(["continue", run.name, "--advice", "fewer"]) == 2
    assert f"has no verdict. Make its validation images: loratui validate {run.name}" in capsys.readouterr().err


def test_lists_show_what_a_run_began_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ended(home)
    second = create_run(home, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261122")
    lineage.keep(second, lineage.of_file(first.output / "anafox.safetensors"))
    words = f"starts from {first.name}"
    assert cli.main(["runs"]) == 0
    assert words in capsys.readouterr().out
    assert cli.main(["status", second.name]) == 0
    assert words in capsys.readouterr().out
    assert cli.main(["status", second.name, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["lineage"]
    assert (told["kind"], told["run"]) == ("starts_from", first.name)
    assert cli.main(["runs", "--json"]) == 0
    assert [run["lineage"] for run in json.loads(capsys.readouterr().out)["runs"]] == [[told], []]


@pytest.mark.parametrize("body", ["{", "[]", '{"v": 1}', '{"v": 1, "kind": "x"}', '{"v": 1, "kind": "continues", "run": 3}'])
def test_a_lineage_that_cannot_be_read_is_none(home: Path, body: str) -> None:
    run = ended(home)
    run.lineage.write_text(body)
    assert lineage.ancestors(run) == ()


def test_runs_that_name_each_other_have_an_end(home: Path) -> None:
    run = ended(home)
    own = lineage.Lineage(kind="continues", run=run.name, path=str(run.path), step=1, sha256="0")
    lineage.keep(run, own)
    assert len(lineage.ancestors(run)) == 2
