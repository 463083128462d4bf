"""A LoRA of a run as a file for other programs, from checkpoints and from files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeRun, train

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.export import Wanted, export
from loratui.tui import cli


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one run that these tests share is kept once it is trained."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def run(make_run: MakeRun, trained: Path) -> RunDirectory:
    """A finished run of two epochs, each test's own copy."""
    made = make_run("schedule.repeats=1", "adapter.rank=2", "adapter.alpha=4", "adapter.targets=attention")
    if not trained.exists():
        assert train(made) == ExitCode.DONE
        shutil.copytree(made.path, trained)
    else:
        shutil.copytree(trained, made.path, dirs_exist_ok=True)
    return made


def test_the_last_checkpoint_is_written_with_all_its_digits(run: RunDirectory) -> None:
    result = export(run, Wanted(dtype="fp32"))
    step = result["step"]
    assert result["source"].endswith(f"checkpoints/step-{step:06d}")
    assert result["path"] == str(run.path / f"export/kohya-fp32/qxz-{step:06d}.safetensors")
    exact, trained = load_file(result["path"]), load_file(run.checkpoint(step) / "adapter.safetensors")
    name = next(name for name in exact if name.endswith("attn1_to_q.lora_up.weight"))
    path = next(key for key in trained if key.endswith("attn1.to_q.lora_B"))
    assert exact.keys() == load_file(run.output / "qxz.safetensors").keys()
    assert torch.equal(exact[name], trained[path])
    assert result["norms"]["denoiser"] > 0
    assert result["opened_by"][0]["title"] == "ComfyUI"
    own = read_header(run.output / "qxz.safetensors").metadata
    assert {k: v for k, v in read_header(Path(result["path"])).metadata.items() if k.startswith(("ss_", "modelspec.p"))} == {
        k: v for k, v in own.items() if k.startswith(("ss_", "modelspec.p"))
    }


def test_a_step_whose_checkpoint_is_gone_is_written_from_its_file(run: RunDirectory) -> None:
    first = run.checkpoint_steps()[0]
    shutil.rmtree(run.checkpoint(first))
    result = export(run, Wanted(step=first, format="diffusers", dtype="fp16", name="my face"))
    assert result["source"].endswith(f"output/qxz-{first:06d}.safetensors")
    assert result["format"] == "peft"
    written = load_file(result["path"])
    assert all(name.startswith("unet.") for name in written)
    source = load_file(run.output / f"qxz-{first:06d}.safetensors")
    up = next(name for name in written if name.endswith("attn1.to_q.lora_B.weight"))
    old = next(name for name in source if name.endswith("attn1_to_q.lora_up.weight"))
    assert torch.equal(written[up], (source[old].float() * 2.0).half()), "alpha / rank is 2 and stands in B"
    assert "my" in Path(result["path"]).name


def test_a_file_is_written_by_the_step_that_it_tells(run: RunDirectory) -> None:
    first, last = (step for step in run.checkpoint_steps() if step)
    assert export(run, Wanted(file=f"output/qxz-{first:06d}.safetensors"))["step"] == first
    assert export(run, Wanted(file="output/qxz.safetensors", name="a-000003"))["step"] == last


def test_a_damaged_checkpoint_is_never_written_out(run: RunDirectory) -> None:
    last = run.last_checkpoint_step()
    damaged = run.checkpoint(last) / "adapter.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    assert export(run, Wanted())["source"].endswith(".safetensors")
    for path in run.output.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UsageError, match="damaged"):
        export(run, Wanted(step=last))


def test_what_is_not_there_is_named(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of step 999") as caught:
        export(run, Wanted(step=999))
    assert str(run.last_checkpoint_step()) in caught.value.remedy
    taken = tmp_path / "taken.safetensors"
    taken.write_bytes(b"")
    with pytest.raises(UsageError, match="already"):
        export(run, Wanted(output=str(taken)))
    with pytest.raises(UsageError, match=r"ends with \.safetensors"):
        export(run, Wanted(output=str(tmp_path / "lora.ckpt")))


def test_the_command_writes_the_file_and_says_where_it_goes(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "loras"
    target.mkdir()
    assert cli.main(["export", str(run.path), "--dtype", "fp32", "--output", str(target), "--name", "face"]) == 0
    out = capsys.readouterr().out
    assert (target / "face.safetensors").is_file()
    assert "models/loras" in out
    assert "scp " in out
    assert cli.main(["export", str(run.path), "--step", "999", "--json"]) == ExitCode.USAGE
    assert "neither a checkpoint" in capsys.readouterr().err
