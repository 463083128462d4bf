"""`loratui import` and `loratui recipe`: their lines, keys, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loratui.engine.planning.recipe import read_recipe
from loratui.tui.cli import main

FILES = Path(__file__).parents[2] / "importing" / "files"


def test_an_import_says_each_value_and_writes_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "recipe.toml"
    file = FILES / "kohya_ss" / "unet-only-sdxl.json"
    assert main(["import", str(file), "--images", "20", "--to", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "Means something else here, or has no match (1):" in shown
    assert "scale_weight_norms = 1" in shown
    assert "Steps: theirs 1 200 optimizer steps, loratui's 1 200 optimizer steps." in shown
    assert read_recipe(target).settings.optimizer.name == "adafactor"
    assert target.stat().st_mode & 0o77 == 0
    assert main(["import", str(file), "--to", str(target)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_the_keys_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(FILES / "on-site" / "skullkid.json"), "--images", "32", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {
        "file",
        "tool",
        "recipe",
        "taken",
        "changed",
        "does_nothing",
        "not_understood",
        "steps",
        "notes",
        "problem",
        "written",
    }
    assert {"theirs", "ours", "why"} <= set(table["steps"])
    assert table["steps"]["theirs"] == 3072
    assert table["recipe"]["adapter"]["rank"] == 32
    assert table["written"] is None
    assert all(set(one) == {"key", "value", "sets", "why", "given"} for one in table["taken"])


def test_a_base_that_is_not_trained_here_has_a_clear_word_and_all_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(FILES / "ai-toolkit" / "wan.yaml"), "--json"]) == 2
    table = json.loads(capsys.readouterr().out)
    assert table["recipe"] is None
    assert "loratui trains SD1.5" in table["problem"]
    assert {"train.lr", "train.steps", "network.linear"} <= {one["key"] for one in table["changed"]}


def test_settings_that_cannot_be_together_are_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(FILES / "onetrainer" / "prodigy-lokr.json"), "--images", "11", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert not table["recipe"]["adapter"].get("dora")
    assert "lokr_weight_decompose" in {one["key"] for one in table["changed"]}


def test_a_recipe_is_written_for_sd_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipe", "--preset", "sdxl-person", "--images", "20", "--trigger", "anafox", "--as", "sd-scripts"]
    assert main([*words, "--set", "training.ema_decay=0.99", "--to", str(tmp_path)]) == 0
    assert "training.ema_decay" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"anafox.toml", "anafox-dataset.toml"}
    assert main([*words, "--to", str(tmp_path)]) == 2
    assert main([*words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {"training", "dataset", "cannot", "steps", "written"}
    assert table["training"]["network_dim"] == 32
    assert main(["recipe", "--preset", "sdxl-person", "--as", "sd-scripts"]) == 2
