"""Rows 14–17: whatever happened to a checkpoint, it is told, kept, and passed over for the one before; nothing begins again over others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from harm import harm, harms
from small_runs import MakeRun, after_step, events, every_step, losses, same, train, weights

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs import control
from loratui.engine.runs.checkpoint_files import CheckpointsFound, look
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.checkpoint import Checkpoint, newest_good, save_checkpoint
from loratui.engine.training.data import TrainProgress

SMALL = ("adapter.targets=attention", "samples.steps=1", 'samples.prompts=["a {subject}"]', "schedule.repeats=1")
FILES = ("adapter.safetensors", "average.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json")


@pytest.fixture
def saved(tmp_path: Path) -> RunDirectory:
    """A run with checkpoints of the steps 5 and 6."""
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    for step in (5, 6):
        tensors = {"a.lora_A": torch.arange(30.0).view(5, 6) + step}
        position = TrainProgress(epoch=2, window=1, step=step, image_step=2 * step, micro_step=step)
        checkpoint = Checkpoint(
            position=position,
            adapter=tensors,
            shipped={name: value / 2 for name, value in tensors.items()},
            optimizer={"a.lora_A|exp_avg": torch.ones(5, 6)},
            optimizer_plain='{"state": {}, "groups": [{"lr": 0.1}]}',
            identity={"adapter": {"rank": 5}},
            epoch_loss=(0.5, step),
        )
        save_checkpoint(run, checkpoint)
    return run


@pytest.mark.parametrize("name", FILES)
def test_a_bit_a_zeroed_tail_a_cut_and_more_in_each_file_give_the_checkpoint_before(saved: RunDirectory, name: str) -> None:
    file = saved.checkpoint(6) / name
    whole = file.read_bytes()
    for words, data in harms(whole) if name.endswith(".safetensors") else harms_of_text(whole):
        harm(file, data)
        told: list[str] = []
        found = newest_good(saved, told.append)
        assert found is not None, words
        if found.position.step == 6:  # JSON has places where a changed bit says the same
            assert name == "MANIFEST.json", words
            assert json.loads(file.read_bytes())["files"] == json.loads(whole)["files"], words
        else:
            assert (found.position.step, len(told)) == (5, 1), words
        assert saved.checkpoint(6).exists(), "it is kept for whoever may save something of it"
        if file.is_dir():
            shutil.rmtree(file)
        file.write_bytes(whole)


def test_the_verdict_looks_as_closely_as_a_resume(saved: RunDirectory) -> None:
    assert look(saved, sums=True) == CheckpointsFound(6, (), True)
    file = saved.checkpoint(6) / "optimizer.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert look(saved, sums=True) == CheckpointsFound(5, (6,), True)
    assert look(saved, sums=False) == CheckpointsFound(6, (), False), "a glance says that it is not sure"


def harms_of_text(data: bytes) -> list[tuple[str, bytes | None]]:
    """Every fifth byte with another bit, and the file cut, longer and zeroed."""
    bits = [(f"bit {at}", data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]) for at in range(0, len(data), 5)]
    cuts: list[tuple[str, bytes | None]] = [(f"cut at {at}", data[:at]) for at in (0, 1, len(data) // 2, len(data) - 3)]
    return [*bits, *cuts, ("zeroed tail", data[: len(data) // 2] + bytes(len(data) - len(data) // 2)), ("a folder", None)]


def test_a_resume_says_which_checkpoint_is_damaged_and_ends_as_if_nothing_was(make_run: MakeRun) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed, every_step)
    assert train(run, lambda trainer: after_step(trainer, 6, lambda: control.send(run, "stop"))) == ExitCode.TERMINATED
    control.clear(run)
    assert run.checkpoint_steps() == [4, 6]
    optimizer = run.checkpoint(6) / "optimizer.safetensors"
    optimizer.write_bytes(optimizer.read_bytes()[:-1] + b"\1")
    assert train(run, every_step) == ExitCode.DONE
    (warning,) = (event for event in events(run, "warning") if event.get("code") == "bad_checkpoint")
    assert "step-000006/optimizer.safetensors is damaged" in warning.text("message")
    assert events(run, "run_started")[-1].get("resumed_step") == 4
    assert losses(run).items() >= {step: loss for step, loss in losses(undisturbed).items() if step > 4}.items()
    assert same(weights(run), weights(undisturbed))


def test_a_checkpoint_of_another_run_is_not_taken_for_ones_own(make_run: MakeRun) -> None:
    run, other = make_run(*SMALL), make_run(*SMALL, "adapter.rank=4")
    for each in (run, other):
        train(each, lambda trainer, each=each: after_step(trainer, 2, lambda: control.send(each, "stop")))
        control.clear(each)
    shutil.rmtree(run.checkpoint(2))
    shutil.copytree(other.checkpoint(2), run.checkpoint(2))
    with pytest.raises(UsageError, match="rank"):
        train(run)
    assert run.checkpoint_steps() == [2]
