"""What must not leave the machine: paths, names of photos, secrets; and what may stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.handover.private import Private, place
from loratui.presets.schema import Settings, replace


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("near to Jane Doe.png: a copy", "near to photo 1: a copy"),
        ("b/1.png and 1.png, not 11.png", "photo 3 and photo 2, not 11.png"),
        ("see /root/photos/anna/x.png", "see x.png"),
        ("see ~/photos/x.png, ../up/y.png", "see x.png, y.png"),
        ("in /secret place/of mine/x", "in x"),
        ("the folder /secret place/of mine", "the folder …"),
        ("with and/or without, 1/2, photos/s", "with and/or without, 1/2, photos/s"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("token hf_abcdefgh1234", "token [hidden]"),
    ],
)
def test_names_and_places_go_and_words_stay(text: str, told: str) -> None:
    assert Private(["Jane Doe.png", "1.png", "b/1.png"], [Path("/secret place/of mine"), Path("/")]).text(text) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("embedded:sd15", "embedded:sd15"),
        ("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-dev"),
        ("/models/anna/pony.safetensors", "pony.safetensors"),
        ("models/pony.safetensors", "pony.safetensors"),
        ("/root/.cache/huggingface/hub/models--owner--name/snapshots/0123", "owner/name"),
        ("", ""),
    ],
)
def test_a_base_is_named_without_its_folder(value: str, told: str) -> None:
    assert place(value) == told


def test_a_folder_of_two_parts_is_no_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "anna" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert place("anna/base") == "base"


def test_settings_that_name_places_are_told_without_them() -> None:
    changes = {
        "dataset.path": "/root/anna",
        "adapter.start_from": "/root/anna/old.safetensors",
        "when_finished.copy_to": "rsync:me@host:x",
    }
    told = Private().settings(replace(Settings(), changes))
    assert told["adapter.start_from"] == "old.safetensors"
    assert told["optimizer.learning_rate"] == "1e-4"
    assert not any("anna" in value or "me@host" in value for value in told.values())
    assert not {"dataset.path", "when_finished.copy_to", "output.name"} & told.keys()
