"""Files of captioners: which are whole, where they are looked for, and what a person is asked before a download."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serve

from loratui.engine.captioning import fetching
from loratui.engine.captioning.captioners import CAPTIONERS, ENDPOINT
from loratui.engine.machine import hub_cache
from loratui.engine.machine.hub import HubNameError
from loratui.engine.machine.hub_choice import NotChosen, named

QWEN, WD = CAPTIONERS["qwen3-vl-8b"], CAPTIONERS["wd14"]
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def filled(folder: Path) -> Path:
    """Files of Qwen3-VL in two parts."""
    folder.mkdir(parents=True)
    for name in QWEN.files:
        if "*" not in name:
            (folder / name).write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict(zip("ab", PARTS, strict=True))}))
    for name in PARTS:
        (folder / name).write_bytes(b"")
    return folder


def test_every_captioner_that_is_downloaded_says_what_of_which_licence_and_in_no_pickle() -> None:
    for row in CAPTIONERS.values():
        if row.id == ENDPOINT:
            continue
        assert row.licence
        assert row.bytes > 10**8
        assert row.gib > 0
        assert len(row.revision) == 40, row.id
        assert any(name.endswith((".safetensors", ".onnx")) for name in row.files)
        assert not any(name.endswith((".bin", ".py", ".pt")) for name in row.files)
    assert fetching.offer(WD) == "SmilingWolf/wd-vit-tagger-v3 (about 378.8 MB, Apache-2.0)"
    assert fetching.offer(CAPTIONERS["joycaption"]).endswith("a shared LoRA must be named Llama…)")


def test_a_folder_is_whole_with_every_part_that_its_index_names(tmp_path: Path) -> None:
    folder = filled(tmp_path / "models" / QWEN.id)
    assert fetching.find(QWEN, tmp_path) == folder
    (folder / PARTS[1]).unlink()
    assert fetching.find(QWEN, tmp_path) is None
    (folder / PARTS[1]).write_bytes(b"")
    (folder / "tokenizer.json").unlink()
    assert fetching.find(QWEN, tmp_path) is None


@pytest.mark.parametrize("index", ["[]", "{", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}'])
def test_an_index_that_names_no_files_of_the_folder_makes_none_whole(tmp_path: Path, index: str) -> None:
    folder = filled(tmp_path / "models" / QWEN.id)
    (folder / "model.safetensors.index.json").write_text(index)
    assert not fetching.is_whole(QWEN, folder)


def test_the_cache_of_the_hub_is_searched_at_the_known_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshots = tmp_path / "models--Qwen--Qwen3-VL-8B-Instruct" / "snapshots"
    filled(snapshots / ("0" * 40))
    assert fetching.find(QWEN, tmp_path / "home") is None
    known = filled(snapshots / QWEN.revision)
    assert fetching.find(QWEN, tmp_path / "home") == known


def test_named_files_must_be_there_and_patterns_may_be() -> None:
    there = ["config.json", "model.onnx", "model-1.safetensors", "model-2.safetensors", "pytorch_model.bin"]
    assert named(there, ["config.json", "model-*.safetensors", "chat*"]) == ["config.json", *there[2:4]]
    with pytest.raises(NotChosen, match=r"no file tags\.csv"):
        named(there, ["tags.csv"])
    with pytest.raises(NotChosen, match="can run code"):
        named(there, ["pytorch*"])


@pytest.mark.long
def test_a_tagger_comes_from_the_hub_at_the_known_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Hub({"model.onnx": b"weights", "selected_tags.csv": b"tags", "keras.bin": b"pickle"})) as server:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        row = dataclasses.replace(WD, repo="owner/name", revision=COMMIT)
        plan = fetching.look_up(row)
        assert fetching.offer(row, plan) == "owner/name (11 B, Apache-2.0)"
        folder = fetching.fetch(row, plan)
        assert folder == fetching.find(row, tmp_path / "home")
        assert folder is not None
        assert folder.is_relative_to(hub_cache.cache_folder())
        assert {path.name for path in folder.iterdir()} == {"model.onnx", "selected_tags.csv"}
        asked = [path for _, path, _ in server.requests]
        assert any(f"/revision/{COMMIT}" in path for path in asked), asked
        with pytest.raises(HubNameError, match="no file other"):
            fetching.look_up(dataclasses.replace(row, files=("other.json",)))
