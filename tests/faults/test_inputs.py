"""What a run reads is what it was: the base, the settings, the dataset, the caches and its own files (rows 45 to 48)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from random_bases import run_on
from small_runs import MakeRun, after_step, events, same, train, weights

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.checkpoint import Checkpoint, newest_good, save_checkpoint
from loratui.engine.training.trainer import Trainer

SMALL = ("adapter.targets=attention", "samples.steps=1")


def stop_at(run: RunDirectory, step: int) -> None:
    """Trains, and stops after a step."""

    def change(trainer: Trainer) -> None:
        after_step(trainer, step, lambda: control.send(run, "stop"))

    assert train(run, change) == ExitCode.TERMINATED


def edit(run: RunDirectory, old: str, new: str) -> None:
    text = run.effective.read_text()
    assert old in text
    run.effective.write_text(text.replace(old, new, 1))


def codes(run: RunDirectory) -> list[str]:
    return [event.fields["code"] for event in events(run, "warning")]


@pytest.fixture
def base(base_folder: Path, tmp_path: Path) -> Path:
    """A base that a test may change."""
    return Path(shutil.copytree(base_folder, tmp_path / "base"))


@pytest.fixture
def stopped(base: Path, tmp_path: Path, images: Path) -> RunDirectory:
    """A run on it that was stopped in its first epoch."""
    run = run_on(base, tmp_path, *SMALL, folder=images)
    stop_at(run, 3)
    return run


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer/tokenizer.json"])
def test_row_46_a_resume_on_a_base_whose_files_have_changed_is_refused_until_the_person_accepts_it(
    stopped: RunDirectory, base: Path, file: str
) -> None:
    changed = base / file
    was, steps = changed.read_bytes(), len(events(stopped, "step"))
    if changed.suffix == ".json":
        changed.write_bytes(was + b"\n")
    else:
        flip(changed)
    with pytest.raises(UsageError, match=rf"{changed.parent.name}/{changed.name} \w{{12}} then and \w{{12}} now") as refused:
        train(stopped)
    assert "effective.toml" in refused.value.remedy
    assert len(events(stopped, "step")) == steps
    edit(stopped, 'changed = "refuse"', 'changed = "accept"')
    assert train(stopped) == ExitCode.DONE
    assert codes(stopped).count("base_changed") == 1


def test_row_46_a_file_that_is_missing_or_new_is_a_change_of_the_base(stopped: RunDirectory, base: Path) -> None:
    (base / "vae" / "more.json").write_text("{}")
    with pytest.raises(UsageError, match=r"vae/more\.json missing then and \w{12} now"):
        train(stopped)
    (base / "vae" / "more.json").unlink()
    assert train(stopped) == ExitCode.DONE


def test_row_46_a_base_that_was_only_touched_or_copied_back_is_the_same(stopped: RunDirectory, base: Path) -> None:
    for file in base.rglob("*"):
        os.utime(file, (1, 1))
    assert train(stopped) == ExitCode.DONE
    assert not codes(stopped)


def test_row_45_a_checkpoint_of_an_older_version_names_no_base_and_resumes_as_before(
    stopped: RunDirectory, base: Path, make_run: MakeRun
) -> None:
    undisturbed = make_run(*SMALL)
    assert train(undisturbed) == ExitCode.DONE
    newest = newest_good(stopped, pytest.fail)
    assert newest is not None
    older = {key: value for key, value in newest.identity.items() if key != "base_files"}
    shutil.rmtree(stopped.checkpoint(3))
    save_checkpoint(stopped, Checkpoint(**{**vars(newest), "identity": older}))
    assert train(stopped) == ExitCode.DONE
    assert same(weights(stopped), weights(undisturbed))
    after = newest_good(stopped, pytest.fail)
    assert after is not None
    assert after.identity["base_files"]


def test_row_47_settings_that_were_edited_are_told_with_both_values(stopped: RunDirectory) -> None:
    edit(stopped, "rank = 2", "rank = 3")
    edit(stopped, 'trigger = "qxz"', 'trigger = ""')
    with pytest.raises(UsageError, match=r"adapter\.rank 2 then and 3 now, dataset\.trigger qxz then and nothing now"):
        train(stopped)
