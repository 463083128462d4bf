"""`loratui metadata` on files of any maker."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.formats.safetensors_file import read_header
from loratui.tui import cli


def foreign_file(path: Path, metadata: dict[str, str] | None) -> Path:
    """A LoRA file of three tensors, written by hand."""
    shapes: dict[str, list[int]] = {
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": [4, 8],
        "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": [6, 4],
        "lora_unet_mid_block_attentions_0_proj_in.alpha": [],
    }
    table: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    at = 0
    for name, shape in shapes.items():
        size = 2 * (shape[0] * shape[1] if shape else 1)
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(at))
    return path


SECRETS = {"format": "pt", "ss_dataset_dirs": '{"10_secret face": {}}', "ss_network_dim": "4", "note": "\x1b[31mred\x1b[0m"}


def data_of(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[8 + struct.unpack("<Q", raw[:8])[0] :]


def test_show_tells_layers_ranks_and_what_may_be_private(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    assert cli.main(["metadata", "show", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tensors"], told["layers"], told["form"], told["ranks"]) == (3, 1, "lora", {"4": 1})
    assert told["private"] == ["note", "ss_dataset_dirs"]
    assert cli.main(["metadata", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "ss_dataset_dirs" in out
    assert "rank 4" in out


def test_strip_writes_a_new_file_with_the_same_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    before = path.read_bytes()
    assert cli.main(["metadata", "strip", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    new = tmp_path / "lora-stripped.safetensors"
    assert told == {
        "path": str(new),
        "kept": None,
        "removed": ["note", "ss_dataset_dirs", "ss_network_dim"],
        "bytes": new.stat().st_size,
    }
    assert path.read_bytes() == before
    assert data_of(new) == data_of(path)
    assert read_header(new).tensors == read_header(path).tensors
    assert read_header(new).metadata == {"format": "pt"}
    assert b"secret" not in new.read_bytes()
    assert (len(new.read_bytes()) - len(data_of(new))) % 8 == 0
    assert cli.main(["metadata", "strip", str(path)]) == 2, "the new file stands there already"


def test_strip_in_place_keeps_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    before = path.read_bytes()
    path.chmod(0o640)
    assert cli.main(["metadata", "strip", str(path), "--in-place"]) == 0
    assert path.stat().st_mode & 0o777 == 0o640
    kept = tmp_path / "lora.safetensors.orig"
    assert kept.read_bytes() == before
    assert read_header(path).metadata == {"format": "pt"}
    assert data_of(path) == data_of(kept)
    assert str(kept) in capsys.readouterr().out
    stripped = path.read_bytes()
    assert cli.main(["metadata", "strip", str(path), "--in-place"]) == 2
    assert path.read_bytes() == stripped
    assert kept.read_bytes() == before


@pytest.mark.parametrize("metadata", [None, {}])
def test_a_file_without_metadata_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metadata: dict[str, str] | None
) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", metadata)
    assert cli.main(["metadata", "show", str(path)]) == 0
    assert "no metadata" in capsys.readouterr().out
    assert cli.main(["metadata", "strip", str(path)]) == 0
    assert data_of(tmp_path / "lora-stripped.safetensors") == data_of(path)


def test_other_files_are_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"PK\x03\x04" + bytes(100))
    assert cli.main(["metadata", "show", str(tmp_path / "a.safetensors")]) == 2
    assert cli.main(["metadata", "strip", str(tmp_path / "none.safetensors")]) == 2
    error = capsys.readouterr().err
    assert "not a safetensors file" in error
    assert "no such file" in error


def test_a_file_of_no_tensors_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert cli.main(["metadata", "show", str(path)]) == 0
    assert "not a known kind of LoRA, no tensors, 10 B" in capsys.readouterr().out


def test_a_file_without_ranks_has_no_gap_in_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    entry = {"dtype": "F16", "shape": [2, 2]}
    table = {f"{stem}.lokr_w1": {**entry, "data_offsets": [0, 8]}, f"{stem}.lokr_w2": {**entry, "data_offsets": [8, 16]}}
    raw = json.dumps(table).encode()
    path = tmp_path / "whole.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(16))
    assert cli.main(["metadata", "show", str(path)]) == 0
    assert "whole.safetensors: lokr, 1 layer, F16," in capsys.readouterr().out.replace("\n", " ")


def test_what_is_there_but_no_file_is_not_said_to_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in (".", "loop"):
        assert cli.main(["metadata", "show", str(tmp_path / name)]) == 2
        assert "no such file" not in capsys.readouterr().err


def test_strip_puts_the_file_into_a_folder_and_names_one_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    folder = tmp_path / "folder"
    folder.mkdir()
    for output in (folder, folder / "other.safetensors"):
        assert cli.main(["metadata", "strip", str(path), "--output", str(output)]) == 0
    assert {file.name for file in folder.iterdir()} == {"lora-stripped.safetensors", "other.safetensors"}
    assert cli.main(["metadata", "strip", str(path), "--output", str(tmp_path / "none" / "x.safetensors")]) == 2
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().err


def test_options_of_strip_are_refused_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    for option in (["--in-place"], ["--output", str(tmp_path / "x.safetensors")]):
        assert cli.main(["metadata", "show", str(path), *option]) == 2
        assert "strip" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["lora.safetensors"]


def test_preview_says_what_a_file_will_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'format = 1\npreset = "demo"\n[dataset]\ntrigger = "qxz"\npath = "/home/me/secret"\n[adapter]\nkind = "loha"\n'
    )
    assert cli.main(["metadata", "preview", str(recipe), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["metadata"]
    assert table["ss_network_module"] == "lycoris.kohya"
    assert table["modelspec.trigger_phrase"] == "qxz"
    assert "secret" not in json.dumps(table)


def test_torch_is_never_loaded_for_it(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "lora.safetensors", SECRETS)
    code = "import sys; from loratui.tui import cli; cli.main(['metadata', 'show', sys.argv[1]]);"
    code += "print(sorted({'torch', 'numpy', 'textual', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
