"""`loratui doctor --base`: what a base makes of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.errors import ExitCode
from loratui.engine.planning.prepare import Prepared
from loratui.engine.runs import probe as probing
from loratui.engine.runs.probe import BaseRead
from loratui.presets.bases import demo_dataset
from loratui.tui.cli import main

READINGS: dict[str, Any] = {
    "family": "sd15", "embedded": True, "prediction": "epsilon", "levels": [0.1, 0.5], "noise": [0.3, 0.9], "loss": [0.04, 0.01],
    "nothing": [1.0, 1.0], "linear": [0.9, 0.2], "other": [0.2, 1.0], "cosine": [0.98, 0.99], "text_gain": 1.04, "latent_mean": 0.07,
    "latent_std": 1.0, "vae_scale": [0.51, 0.0], "vae_psnr_db": 33.2, "vae_correlation": 0.99, "pictures": 3, "draws": 3,
    "seconds": 1.2, "of_nothing": 0.01, "of_linear": 0.06,
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    """What bases were to be read; none is read."""
    prepared: list[Prepared] = []

    def read_base(ready: Prepared, home: Path, **_: object) -> BaseRead:
        prepared.append(ready)
        mistaken = ready.recipe.settings.base.model == "embedded:flux"
        words = ("sign", "It is turned.", "Choose another.") if mistaken else ("", "", "")
        return BaseRead(readings=READINGS, mistaken=words[0], message=words[1], remedy=words[2])

    monkeypatch.setattr(probing, "read_base", read_base)
    return prepared


def test_a_base_that_nothing_speaks_against(home: Path, asked: list[Prepared], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--base", "embedded:sd15", "--home", str(home), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert set(table["base"]) == {"model", "family", "pictures", "readings", "mistaken", "message", "remedy"}
    assert table["base"]["readings"] == READINGS
    assert table["base"]["pictures"] == "the demo's drawings"
    assert "torch" in table["packages"]
    assert Path(asked[0].recipe.settings.dataset.path) == demo_dataset()
    assert code == (ExitCode.DONE if table["ok"] else ExitCode.WARNINGS)
    main(["doctor", "--base", "embedded:sd15", "--home", str(home)])
    text = capsys.readouterr().out
    for words in ("taken to predict epsilon", "0.06 in the middle", "33.2 dB", "No sign of a problem with this base."):
        assert words in text


def test_a_mistaken_base_is_a_problem(
    home: Path, asked: list[Prepared], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in sorted(demo_dataset().iterdir())[:8]:
        (folder / file.name).write_bytes(file.read_bytes())
    assert main(["doctor", "--base", "embedded:flux", str(folder), "--home", str(home), "--json"]) == ExitCode.WARNINGS
    table = json.loads(capsys.readouterr().out)
    assert "It is turned. Choose another." in table["problems"]
    assert table["base"]["pictures"] == str(folder)
    assert asked[0].recipe.settings.dataset.path == str(folder)


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["/some/folder"], "Name one with --base.", ExitCode.USAGE),
        (["--base", "embedded:nothing"], "no such base model", ExitCode.USAGE),
        (["--base", "embedded:sd15", "/no/such/folder"], "/no/such/folder", ExitCode.DATASET),
    ],
)
def test_what_cannot_be_read_is_said(
    home: Path, words: list[str], said: str, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *words, "--home", str(home)]) == code
    assert said in capsys.readouterr().err


@pytest.mark.long
def test_an_embedded_base_is_really_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--base", "embedded:sd15", "--home", str(home), "--json"])
    base = json.loads(capsys.readouterr().out)["base"]
    assert base["mistaken"] == ""
    assert base["readings"]["of_linear"] < 0.1
    assert not (home / "probes").exists()
