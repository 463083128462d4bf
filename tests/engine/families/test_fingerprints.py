"""What latents and text states depend on is told apart, and large files are not read twice."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loratui.engine.errors import UsageError
from loratui.engine.families import fingerprints
from loratui.engine.families.fingerprints import Digests
from loratui.engine.families.model import LoadOptions, load_model
from loratui.engine.formats.base_parts import PartFile
from loratui.engine.planning.bases import find_base
from loratui.engine.planning.recipe import build_recipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"vae.a": torch.ones(3), "vae.b": torch.zeros(2), "text.a": torch.ones(4)}, path)
    return path


def part(path: Path, prefix: str) -> PartFile:
    return PartFile(path, in_folder=False, files=(path,), prefix=prefix)


def test_a_part_of_a_file_depends_on_its_own_tensors_alone(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"vae.a": torch.ones(3), "vae.b": torch.zeros(2), "text.a": torch.zeros(4), "unet.c": torch.ones(9)}, other)
    digests = Digests()
    assert digests.of(part(file, "vae.")) == digests.of(part(other, "vae."))
    assert digests.of(part(file, "text.")) != digests.of(part(other, "text."))
    assert digests.of(part(file, "vae.")) != digests.of(part(file, "text."))


@pytest.mark.parametrize(
    "changed",
    [
        {"vae.a": torch.ones(3), "vae.b": torch.tensor([0.0, 1.0])},
        {"vae.a": torch.ones(3), "vae.b": torch.zeros(2, dtype=torch.float16)},
        {"vae.a": torch.ones(3), "vae.c": torch.zeros(2)},
        {"vae.a": torch.ones(1, 3), "vae.b": torch.zeros(2)},
    ],
)
def test_row_36_a_changed_value_format_name_or_shape_is_another_part(
    file: Path, tmp_path: Path, changed: dict[str, torch.Tensor]
) -> None:
    other = tmp_path / "other.safetensors"
    save_file(changed, other)
    digests = Digests()
    assert digests.of(part(file, "vae.")) != digests.of(part(other, "vae."))


def test_fp8_with_a_scale_is_another_part_than_fp8_without(file: Path) -> None:
    plain = dataclasses.replace(part(file, "vae."), fp8="plain")
    assert Digests().of(plain) != Digests().of(dataclasses.replace(plain, fp8="scaled"))


def test_a_folder_depends_on_its_configuration_too(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    folder.mkdir()
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(file.read_bytes())
    (folder / "config.json").write_text('{"scaling_factor": 0.18215}')
    own = PartFile(folder, files=(weights,))
    before = Digests().of(own)
    (folder / "config.json").write_text('{"scaling_factor": 0.13025}')
    assert Digests().of(own) != before


def test_what_was_read_is_remembered_until_the_file_changes(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    really = fingerprints._of_tensors
    monkeypatch.setattr(fingerprints, "_of_tensors", lambda path, prefix: read.append(path) or really(path, prefix))
    memory = tmp_path / "fingerprints.json"
    first = Digests(memory).of(part(file, "vae."))
    assert Digests(memory).of(part(file, "vae.")) == first
    assert len(read) == 1
    assert memory.stat().st_mode & 0o077 == 0
    later = file.stat().st_mtime_ns + 1
    os.utime(file, ns=(later, later))
    assert Digests(memory).of(part(file, "vae.")) == first
    assert len(read) == 2


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"format": 9, "digests": {}}', '{"format": 1, "digests": 3}'])
def test_a_damaged_memory_only_costs_time(file: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "fingerprints.json"
    memory.write_text(content)
    assert Digests(memory).of(part(file, "vae.")) == Digests().of(part(file, "vae."))


def test_a_memory_that_cannot_be_written_only_costs_time(file: Path, tmp_path: Path) -> None:
    assert Digests(tmp_path / "missing" / "fingerprints.json").of(part(file, "vae.")) == Digests().of(part(file, "vae."))


@pytest.mark.parametrize(
    ("name", "preset", "images", "texts"),
    [
        ("sd15", "demo", "69e4117acb75", "25c3facc0916"),
        ("sdxl", "demo:sdxl", "0a3c479152ba", "dd50160cdad2"),
        ("flux", "demo:flux", "36c7738bc89d", "5e34f399e083"),
    ],
)
def test_the_caches_of_runs_made_long_ago_are_still_found(name: str, preset: str, images: str, texts: str) -> None:
    """The names that the first version gave to what the embedded bases make."""
    settings = build_recipe(preset).settings
    model = load_model(find_base(settings.base), settings, LoadOptions(torch.device("cpu"), torch.float32))
    found_images, found_texts = model.fingerprints()
    assert found_images.startswith(images)
    assert found_texts.startswith(texts)
    assert found_texts.endswith(f"\n{settings.base.clip_skip}")


def test_digests_are_made_once_by_whoever_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vae.safetensors"
    save_file({"vae.a": torch.ones(3)}, file)
    read: list[Path] = []
    reads, go = fingerprints._of_tensors, threading.Event()

    def slowly(path: Path, prefix: str) -> str:
        read.append(path)
        assert go.wait(30)
        return reads(path, prefix)

    monkeypatch.setattr(fingerprints, "_of_tensors", slowly)
    memory = tmp_path / "fingerprints.json"
    fingerprints.begin_to_read(memory, [part(file, "vae.")])
    asked = concurrent.futures.ThreadPoolExecutor(1).submit(fingerprints.shared(memory).of, part(file, "vae."))
    go.set()
    assert asked.result(30) == Digests().of(part(file, "vae."))
    assert len(read) == 2  # once for both, and once for the right answer


def test_what_cannot_be_read_ahead_is_told_to_who_asks(tmp_path: Path) -> None:
    memory, gone = tmp_path / "fingerprints.json", part(tmp_path / "gone.safetensors", "vae.")
    fingerprints.begin_to_read(memory, [gone])
    with pytest.raises(OSError, match="gone"):
        fingerprints.shared(memory).of(gone)


def test_digests_of_several_files_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        save_file({"vae.a": torch.ones(3)}, file)
    reads, both = fingerprints._of_tensors, threading.Barrier(2)

    def together(path: Path, prefix: str) -> str:
        both.wait(30)
        return reads(path, prefix)

    monkeypatch.setattr(fingerprints, "_of_tensors", together)
    memory = tmp_path / "fingerprints.json"
    fingerprints.begin_to_read(memory, [part(file, "vae.") for file in files])
    assert [fingerprints.shared(memory).of(part(file, "vae.")) for file in files]
    assert Digests(memory)._known == fingerprints.shared(memory)._known


@pytest.mark.parametrize("block", [40, 64, 1 << 20])
def test_a_digest_does_not_depend_on_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Tensors in another order than that of their names, one without values, and one between those of the part."""
    monkeypatch.setattr(fingerprints, "BLOCK_BYTES", block)
    monkeypatch.setattr(fingerprints, "_VIEWS", 2)
    values = {
        "vae.wide": torch.arange(60, dtype=torch.float64),
        "vae.b": torch.arange(5, dtype=torch.float32),
        "text.a": torch.ones(9),
        "vae.a": torch.ones(3),
        "vae.none": torch.ones(0),
        "vae.h": torch.ones(4, dtype=torch.float16),
    }
    path = tmp_path / "base.safetensors"
    save_file(values, path)
    names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16"}
    by_hand = hashlib.sha256()
    for key in sorted(key for key in values if key.startswith("vae.")):
        by_hand.update(
            f"{key} {names[values[key].dtype]} {tuple(values[key].shape)}\n".encode() + values[key].numpy().tobytes()
        )
    assert Digests().of_weights(path, "vae.") == by_hand.hexdigest()
    assert Digests().of_weights(path, None) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_becomes_shorter_is_told(file: Path) -> None:
    with pytest.raises(UsageError, match="shorter"):
        fingerprints._of_pieces(file, [range(file.stat().st_size + 8)])
