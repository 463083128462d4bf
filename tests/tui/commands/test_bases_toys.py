"""The bases that come along are toys, and are called so."""

from __future__ import annotations

import json

import pytest

from loratui.tui import cli


@pytest.mark.parametrize(("name", "shape"), [("sd15", "Stable Diffusion 1.5"), ("sdxl", "SDXL"), ("flux", "FLUX")])
def test_a_toy_is_never_called_by_the_name_of_the_model(name: str, shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bases", f"embedded:{name}", "--json"]) == 0
    title = json.loads(capsys.readouterr().out)["title"]
    assert title.startswith(f"toy for the demo, {shape}'s shape")
    assert "FLUX.1-dev" not in title


def test_the_list_marks_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loratui.engine.planning.bases.usual_roots", list)
    assert cli.main(["bases"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("embedded:")]
    assert len(lines) == 3
    assert all("toy for the demo" in line for line in lines)
