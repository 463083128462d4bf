"""A denoiser that is brought to the device while other parts are loaded is the one that is loaded alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import original_files
import pytest
import torch
from part_files import with_files
from safetensors.torch import save_file
from torch import Tensor, nn

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.families.arriving import arriving
from loratui.engine.families.model import LoadOptions, Model, load_model
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.training.control_queue import Interrupted
from loratui.presets.schema import Base, Settings

CPU = torch.device("cpu")


def model_of(files: BaseFiles, dtype: torch.dtype) -> Model:
    return load_model(files, Settings(base=Base(family=files.family)), LoadOptions(CPU, dtype))


def values(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one
    )


def bases(kind: str, folders: dict[str, Path], tmp_path: Path) -> BaseFiles:
    path = tmp_path / "model.safetensors"
    match kind:
        case "SDXL in one file":
            return with_files(folders["sdxl"], original_files.checkpoint(folders["sdxl"], "sdxl", path))
        case "FLUX in diffusers' names":
            save_file(original_files.weights_of(folders["flux"] / "transformer"), path)
        case "FLUX in scaled fp8":
            save_file(original_files.scaled_fp8(original_files.weights_of(folders["flux"] / "transformer")), path)
        case _:
            return identify(folders[kind])
    return with_files(folders["flux"], path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux", "SDXL in one file", "FLUX in diffusers' names", "FLUX in scaled fp8"])
def test_it_has_the_same_weights(
    kind: str, dtype: torch.dtype, base_folder: Path, sdxl_folder: Path, flux_folder: Path, tmp_path: Path
) -> None:
    files = bases(kind, {"sd15": base_folder, "sdxl": sdxl_folder, "flux": flux_folder}, tmp_path)
    alone, beside = model_of(files, dtype), model_of(files, dtype)
    text = alone.encode_prompts(["a fox"])[0]
    random = torch.get_rng_state()
    with beside.denoiser_arrives():
        assert same(beside.encode_prompts(["a fox"])[0].tensors, text.tensors)
        arrived = values(beside.denoiser)
    assert torch.equal(torch.get_rng_state(), random)
    assert same(arrived, values(alone.denoiser))
    assert not beside.denoiser.training
    assert not any(value.requires_grad for value in beside.denoiser.parameters())


def test_it_may_be_asked_for_after_the_block(flux_folder: Path) -> None:
    files = identify(flux_folder)
    beside = model_of(files, torch.float32)
    with beside.denoiser_arrives():
        pass
    assert same(values(beside.denoiser), values(model_of(files, torch.float32).denoiser))


def test_a_damaged_file_is_told_when_the_denoiser_is_needed(flux_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    save_file(original_files.weights_of(flux_folder / "transformer"), path)
    model = model_of(with_files(flux_folder, path), torch.float32)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8)
    with model.denoiser_arrives():
        assert model.encode_prompts(["a fox"])
        with pytest.raises(UsageError, match=r"flux\.safetensors: "):
            _ = model.denoiser


def test_a_missing_tensor_is_told(flux_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    save_file(original_files.weights_of(flux_folder / "transformer"), path)
    files = with_files(flux_folder, path)
    tensors = original_files.weights_of(flux_folder / "transformer")
    del tensors["proj_out.weight"]
    save_file(tensors, path)
    model = model_of(files, torch.float32)
    with model.denoiser_arrives(), pytest.raises(UsageError, match=r"proj_out\.weight is missing"):
        _ = model.denoiser


def test_memory_that_runs_out_is_told_as_such() -> None:
    def read() -> dict[str, Tensor]:
        raise torch.OutOfMemoryError("no room")

    with arriving(read, CPU, torch.float32) as tensors, pytest.raises(torch.OutOfMemoryError):
        tensors.take()


class Slow:
    """A tensor that is being moved until the others are given up."""

    def __init__(self) -> None:
        self.moving, self.known = threading.Event(), threading.Event()
        self.given_up = threading.Event()

    def to(self, *_: Any) -> Tensor:
        self.moving.set()
        assert self.known.wait(30)
        assert self.given_up.wait(30)
        return torch.ones(1)


class Never:
    """A tensor that nobody moves."""

    def __init__(self) -> None:
        self.moved = False

    def to(self, *_: Any) -> Tensor:
        self.moved = True
        return torch.ones(1)


def test_who_ends_the_run_waits_for_no_more_than_is_moved_now() -> None:
    slow, never = Slow(), Never()
    tensors: dict[str, Any] = {f"slow {number}": slow for number in range(8)} | {"never": never}

    def end() -> None:
        with arriving(lambda: tensors, CPU, torch.float32) as on_their_way:
            assert slow.moving.wait(30)
            slow.given_up = on_their_way._ended
            slow.known.set()
            raise Interrupted(ExitCode.TERMINATED)

    with pytest.raises(Interrupted):
        end()
    assert not never.moved
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("moves-tensors", "reads-tensors"))]
