"""What LoRA files are called, and that only a name that the run gave a file is taken for a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loratui.engine.durable import make_directory, write_json
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import LoraFiles, chosen_name, file_name, lora_files, output_name
from loratui.presets.schema import Settings, replace

NAMES = ("qxz", "anafox-20261128", "a-000180", "000180", "v1.2", "été 山 Ana", "a-", "lora.safetensors")


def settings_of(name: str) -> Settings:
    return replace(Settings(), {"output.name": name})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of 7 steps an epoch, with nothing in it yet."""
    made = RunDirectory(tmp_path / "run")
    make_directory(made.output)
    write_json(made.state, {"format": 1, "steps_per_epoch": 7})
    return made


def write(run: RunDirectory, name: str, step: int | None = None) -> str:
    """A file with its step in the metadata, or with nothing in it."""
    path = run.output / name
    if step is None:
        path.touch()
    else:
        save_file({"x": torch.zeros(1)}, path, {"ss_steps": str(step), "ss_output_name": "whatever"})
    return f"output/{name}"


@pytest.mark.parametrize("chosen", NAMES)
@pytest.mark.parametrize("in_metadata", [True, False])
def test_a_chosen_name_is_never_parsed(run: RunDirectory, chosen: str, in_metadata: bool) -> None:
    settings = settings_of(chosen)
    name = output_name(settings)
    steps = [write(run, file_name(name, step), step if in_metadata else None) for step in (7, 1_000_006, 9)]
    final = write(run, file_name(name), 1_000_006 if in_metadata else None)
    found = lora_files(run, settings)
    assert found.all == (steps[0], steps[2], steps[1], final)
    assert found.epochs == (steps[0], steps[1])
    assert found.words(final) == file_name(name)
    assert found.words(steps[2]) == "step 9"
    assert found.step_of.get(final) == (1_000_006 if in_metadata else None)


def test_a_file_that_somebody_called_so_is_of_no_step(run: RunDirectory) -> None:
    settings = settings_of("anafox")
    own = write(run, "anafox-000014.safetensors", 14)
    for name in ("anafox-20261128.safetensors", "anafox-mine.safetensors", "else-000007.safetensors", "anafox-7.safetensors"):
        assert lora_files(run, settings).words(write(run, name, 14)) == name
    write(run, "anafox-8.safetensors")
    assert lora_files(run, settings).all == (own,)


def test_without_files_there_is_none_and_the_newest_stands_for_the_finished_one(run: RunDirectory) -> None:
    settings = settings_of("qxz")
    assert lora_files(run, settings) == LoraFiles()
    steps = tuple(write(run, f"qxz-{step:06d}.safetensors") for step in (7, 14))
    assert (lora_files(run, settings).all, lora_files(run, settings).final) == (steps, steps[-1])
    run.state.unlink()  # while the steps per epoch are unknown, all are taken for ends of epochs
    write(run, "qxz-000009.safetensors")
    assert len(lora_files(run, settings).epochs) == 3
    assert lora_files(run, settings).words("") == "the base"


def test_an_ending_that_was_typed_is_not_doubled() -> None:
    assert [chosen_name(typed) for typed in (" my face.safetensors ", "a-000180", " ", ".safetensors")] == [
        *("my-face", "a-000180", "", "")
    ]
