"""Checkpoints: whole or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loratui.engine.errors import UsageError
from loratui.engine.runs.checkpoint_files import ADAPTER, MANIFEST, OPTIMIZER, SHIPPED, STATE, BadCheckpointError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.checkpoint import Checkpoint, load_checkpoint, newest_good, prune, save_checkpoint, verify
from loratui.engine.training.data import TrainProgress


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    directory.checkpoints.mkdir()
    return directory


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        position=TrainProgress(2, 3, step, step * 2, step),
        adapter={"a.lora_A": torch.randn(2, 3, generator=torch.Generator().manual_seed(step))},
        shipped={},
        optimizer={"a.lora_A|exp_avg": torch.ones(2, 3), "a.lora_A|step": torch.tensor(float(step))},
        optimizer_plain='{"state": {}, "groups": [{"lr": 0.1}]}',
        identity={"adapter": {"rank": 2}},
        epoch_loss=(0.1 + 0.2, 6),
    )


def test_what_was_saved_comes_back_exactly(run: RunDirectory) -> None:
    path, size = save_checkpoint(run, checkpoint(7))
    assert path.name == "step-000007"
    assert size > 0
    back, meant = load_checkpoint(path), checkpoint(7)
    assert torch.equal(back.adapter["a.lora_A"], meant.adapter["a.lora_A"])
    assert {k: v.tolist() for k, v in back.optimizer.items()} == {k: v.tolist() for k, v in meant.optimizer.items()}
    assert (back.position, back.identity, back.epoch_loss) == (
        meant.position,
        meant.identity,
        meant.epoch_loss,
    )
    assert json.loads(back.optimizer_plain) == json.loads(meant.optimizer_plain)


@pytest.mark.parametrize("name", [ADAPTER, OPTIMIZER, STATE])
@pytest.mark.parametrize("damage", ["flip", "cut", "extend", "zero tail", "missing"])
def test_every_kind_of_damage_is_noticed(run: RunDirectory, name: str, damage: str) -> None:
    path, _ = save_checkpoint(run, checkpoint(7))
    file = path / name
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        if damage == "flip":
            data[len(data) // 2] ^= 1
        elif damage == "cut":
            del data[-1]
        elif damage == "extend":
            data.append(0)
        else:
            data[-8:] = bytes(b ^ 0 if b == 0 else 0 for b in data[-8:])
            data[-1] = 0 if data[-1] else 1
        file.write_bytes(data)
    with pytest.raises(BadCheckpointError):
        load_checkpoint(path)


def test_a_bad_one_is_told_and_passed_over_but_kept(run: RunDirectory) -> None:
    save_checkpoint(run, checkpoint(5))
    path, _ = save_checkpoint(run, checkpoint(6))
    (path / ADAPTER).write_bytes(b"rubbish")
    told: list[str] = []
    found = newest_good(run, told.append)
    assert found is not None
    assert found.position.step == 5
    assert told == ["step-000006/adapter.safetensors is damaged"]
    assert path.exists()


def test_if_all_are_bad_nothing_starts_over(run: RunDirectory) -> None:
    path, _ = save_checkpoint(run, checkpoint(5))
    (path / MANIFEST).write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        newest_good(run, lambda _: None)


def test_none_is_none(run: RunDirectory) -> None:
    assert newest_good(run, lambda _: None) is None


def test_a_newer_format_and_a_wrong_folder_are_refused(run: RunDirectory) -> None:
    path, _ = save_checkpoint(run, checkpoint(5))
    renamed = path.rename(path.with_name("step-000009"))
    with pytest.raises(BadCheckpointError, match="holds step 5"):
        load_checkpoint(renamed)
    manifest = json.loads((renamed / MANIFEST).read_text())
    (renamed / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(BadCheckpointError, match="newer"):
        verify(renamed)


def test_the_same_step_again_is_kept_if_good_and_replaced_if_bad(run: RunDirectory) -> None:
    path, _ = save_checkpoint(run, checkpoint(5))
    inode = path.stat().st_ino
    save_checkpoint(run, checkpoint(5))
    assert path.stat().st_ino == inode
    (path / STATE).unlink()
    save_checkpoint(run, checkpoint(5))
    assert load_checkpoint(path).position.step == 5


def test_pruning_keeps_the_newest_and_sweeps_what_a_crash_left(run: RunDirectory) -> None:
    for step in (8, 9, 10, 1_000_000):
        save_checkpoint(run, checkpoint(step))
    (run.checkpoints / ".step-000011.abcd.tmp").mkdir()
    prune(run, 2)
    assert run.checkpoint_steps() == [10, 1_000_000]
    assert not [path for path in run.checkpoints.iterdir() if path.name.startswith(".")]


def test_an_average_comes_back_and_none_is_none(run: RunDirectory) -> None:
    averaged = replace(checkpoint(7), shipped={"a.lora_A": torch.full((2, 3), 0.5)})
    assert torch.equal(load_checkpoint(save_checkpoint(run, averaged)[0]).shipped["a.lora_A"], averaged.shipped["a.lora_A"])
    plain, _ = save_checkpoint(run, checkpoint(8))
    assert load_checkpoint(plain).shipped == {}
    assert not (plain / SHIPPED).exists()


def test_pruning_never_counts_what_is_not_whole(run: RunDirectory) -> None:
    for step in (5, 6, 7, 8):
        save_checkpoint(run, checkpoint(step))
    for step in (7, 8):
        (run.checkpoint(step) / MANIFEST).unlink()
    prune(run, 2)
    assert run.checkpoint_steps() == [5, 6, 7, 8]
