"""The weights that leave a run: the same from the run itself and from its checkpoints, those of an older loratui too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import MakeRun, same, train

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.formats.safetensors_file import read_metadata
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import optimizers
from loratui.engine.training.checkpoint import _sum
from loratui.engine.training.export import Wanted, export
from loratui.engine.training.flat_parameters import FlatParameters, taken_apart
from loratui.engine.training.trainer import Trainer
from loratui.presets.schema import Optimizer

SHORT = ("schedule.repeats=1", "schedule.epochs=1", "adapter.targets=attention", "optimizer.learning_rate=0.01")
SCHEDULE_FREE = ("optimizer.name=adamw_schedule_free", "optimizer.scheduler=constant", "output.precision=fp32")


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", [name for name in get_args(Optimizer) if name != "auto"])
def test_an_export_is_what_lies_in_output(
    make_run: MakeRun, optimizer: str, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if optimizer == "adamw8bit":  # refused on a CPU as being of no use, but bitsandbytes can do it
        made, gpu = optimizers._made, torch.device("cuda")
        monkeypatch.setattr(optimizers, "_made", lambda _, groups, settings, __: made("adamw8bit", groups, settings, gpu))
        optimizer = "adamw"
    run = make_run(*SHORT, f"optimizer.name={optimizer}", f"training.ema_decay={decay}")
    assert train(run, without_samples) == ExitCode.DONE
    step = run.last_checkpoint_step()
    result = export(run, Wanted())
    assert result["source"] == str(run.checkpoint(step))
    for file in (f"qxz-{step:06d}.safetensors", "qxz.safetensors"):
        assert same(load_file(result["path"]), load_file(run.output / file))
        assert read_metadata(Path(result["path"])) == read_metadata(run.output / file)
    averaged = bool(decay) or optimizer == "adamw_schedule_free"
    assert (run.checkpoint(step) / "average.safetensors").exists() == averaged


def without_samples(trainer: Trainer) -> None:
    trainer._sample = lambda: True  # type: ignore[method-assign]  # what this test replaces


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one schedule-free run that the tests below share is kept once it is trained."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def old(make_run: MakeRun, trained: Path) -> RunDirectory:
    """A schedule-free run whose checkpoint holds what an older loratui wrote."""
    run = make_run(*SHORT, *SCHEDULE_FREE)
    if not trained.exists():
        assert train(run, without_samples) == ExitCode.DONE
        shutil.copytree(run.path, trained)
    shutil.copytree(trained, run.path, dirs_exist_ok=True)
    rewrite(run, "average.safetensors", None)
    return run


def rewrite(run: RunDirectory, name: str, tensors: dict[str, torch.Tensor] | None) -> None:
    """Puts other tensors into a checkpoint's file, or takes the file out of it."""
    folder = run.checkpoint(run.last_checkpoint_step())
    manifest: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_text())
    del manifest["files"][name]
    (folder / name).unlink()
    if tensors is not None:
        save_file(tensors, folder / name)
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": _sum(data)}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def optimizer_of(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint(run.last_checkpoint_step()) / "optimizer.safetensors")


def test_a_schedule_free_run_goes_on_bit_for_bit_from_a_checkpoint_that_holds_its_average(make_run: MakeRun) -> None:
    run = make_run(*SHORT, *SCHEDULE_FREE, "schedule.epochs=2")
    assert train(run, without_samples) == ExitCode.DONE
    whole = load_file(run.output / "qxz.safetensors")
    shutil.rmtree(run.checkpoint(run.last_checkpoint_step()))
    (run.output / "qxz.safetensors").unlink()
    assert train(run, without_samples) == ExitCode.DONE
    assert same(load_file(run.output / "qxz.safetensors"), whole)


def test_an_old_schedule_free_checkpoint_ships_the_average_that_its_optimizer_keeps(old: RunDirectory) -> None:
    result = export(old, Wanted())
    assert "checkpoints" in result["source"]
    assert same(load_file(result["path"]), load_file(old.output / "qxz.safetensors"))


def test_so_does_one_whose_optimizer_kept_each_tensor_by_its_name(old: RunDirectory) -> None:
    adapter = load_file(old.checkpoint(old.last_checkpoint_step()) / "adapter.safetensors")
    state = optimizer_of(old)
    by_name = {f"{name}|z": z.clone() for name, z in taken_apart(state["denoiser|z"], adapter).items()}
    rewrite(old, "optimizer.safetensors", by_name)
    assert same(load_file(export(old, Wanted())["path"]), load_file(old.output / "qxz.safetensors"))


def test_where_it_cannot_be_made_out_the_lora_file_is_taken_and_without_one_it_is_refused(old: RunDirectory) -> None:
    state = optimizer_of(old)
    rewrite(old, "optimizer.safetensors", {**state, "denoiser|z": torch.randn_like(state["denoiser|z"])})
    assert export(old, Wanted())["source"].endswith(".safetensors")
    for path in old.output.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="schedule-free") as caught:
        export(old, Wanted())
    assert "loratui resume" in caught.value.remedy


def test_a_flat_tensor_comes_apart_whatever_the_order_of_its_layers() -> None:
    torch.manual_seed(0)
    shapes = {"b.lora_A": (2, 300), "b.lora_B": (40, 2), "a.lora_A": (2, 300), "a.lora_B": (40, 2), "c.lora_A": (2, 7)}
    own = {f"denoiser.{name}": torch.nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    near = {name: value.detach() + 0.1 * torch.randn(value.shape) for name, value in own.items()}
    flat = FlatParameters(own).parts["denoiser"].detach()
    found = taken_apart(flat, near)
    assert all(torch.equal(found[name], value) for name, value in own.items())
    with pytest.raises(ValueError, match="order"):
        taken_apart(flat, {name: torch.randn(value.shape) for name, value in own.items()})
    with pytest.raises(ValueError, match="other layers"):
        taken_apart(flat, {name: value for name, value in near.items() if ".b." in name})
