"""`loratui presets`: the list and one preset, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loratui.presets import SOURCES, list_presets
from loratui.tui import cli


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    return tmp_path / "presets"


def presets(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["presets", *words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert isinstance(table, dict)
    return table


def test_the_list(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "fast.toml").write_text('extends = "demo"\n')
    table = presets(capsys)
    assert [p["name"] for p in table["presets"] if p["front"]] == ["flux-identity-18img", "pony-realism", "sd15-portrait"]
    assert {"name", "title", "summary", "front", "family", "shipped", "extends", "variants", "path"} == set(table["presets"][0])
    own = table["presets"][-1]
    assert (own["name"], own["shipped"], own["extends"]) == ("fast", False, "demo")
    assert "sd15-character:prodigy" in next(p for p in table["presets"] if p["name"] == "sd15-character")["variants"]
    assert table["problems"] == []
    assert cli.main(["presets"]) == 0
    assert "fast (yours): Demo" in capsys.readouterr().out


def test_a_broken_preset_is_said_and_hides_no_other(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "fast.toml").write_text("[adapter]\nrnk = 3\n")
    assert cli.main(["presets"]) == 0
    output = capsys.readouterr()
    assert "demo" in output.out
    assert "fast.toml, line 2: adapter.rnk: no such key; did you mean rank?" in output.err


def test_one_preset_with_its_reasons(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = presets(capsys, "show", "pony-realism")
    values = {v["key"]: v for v in table["values"]}
    assert (values["adapter.rank"]["value"], values["adapter.rank"]["source"]) == (32, "ZyloO")
    assert "clip skip 2" in values["base.clip_skip"]["why"]
    assert table["settings"]["training"]["batch_size"] == 2
    assert cli.main(["presets", "show", "sd15-character:prodigy"]) == 0
    text = capsys.readouterr().out
    assert 'name = "prodigy"\n    the newest' in text
    assert "[optimizer]" in text


@pytest.mark.parametrize(("words", "part"), [(["show"], "No preset was named"), (["show", "dmo"], "did you mean demo")])
def test_refusals(mine: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str) -> None:
    assert cli.main(["presets", *words]) == 2
    assert part in capsys.readouterr().err


def test_the_guides_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for preset in list_presets():
        if preset.shipped:
            assert {reason.source for reason in preset.reasons.values()} <= set(SOURCES)
    assert cli.main(["presets", "show", "pony-realism"]) == 0
    printed = capsys.readouterr().out
    assert "(ZyloO)" in printed
    assert "ZyloO: “Pony Realism LoRA training and preset” by ZyloO, civitai.com/articles/5545" in printed
