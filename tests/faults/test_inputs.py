"""What a run reads is what it was: the base, the settings, the dataset, the caches and its own files (rows 45 to 48)."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from harm import harm, harms
from random_bases import run_on, write_images
from safetensors.torch import load, load_file
from small_runs import MakeRun, after_step, events, same, train, weights

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.formats.lora_facts import without_metadata
from loratui.engine.handover.keep import Keep as Copy
from loratui.engine.handover.keep import keep as copied
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import control, lock
from loratui.engine.runs.contents import FOLDERS
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.lora_hashes import difference, require_as_saved
from loratui.engine.runs.summary import summarise
from loratui.engine.training.checkpoint import Checkpoint, newest_good, save_checkpoint
from loratui.engine.training.export import Wanted, export
from loratui.engine.training.trainer import Trainer
from loratui.tui.cli import main

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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> RunDirectory:
    """A run that is done. Its checkpoints are gone, so its LoRA files are all that is left."""
    home = tmp_path_factory.mktemp("finished")
    run = run_on(base_folder, home, *SMALL, folder=write_images(home / "images"))
    assert train(run) == ExitCode.DONE
    shutil.rmtree(run.checkpoints)
    return run


def test_a_damaged_lora_file_is_neither_copied_nor_shown_in_silence(
    finished: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = finished.output / "qxz.safetensors"
    whole, settings = file.read_bytes(), read_recipe(finished.effective).settings
    differ = 0
    for what, data in harms(whole):
        harm(file, data)
        with pytest.raises(UsageError):
            copied(finished, settings, Copy(f"output/{file.name}", "copy", tmp_path))
        refused = main(["metadata", "show", str(file), "--json"]) != 0
        differs = not refused and bool(json.loads(capsys.readouterr().out)["difference"])
        assert refused or differs, what
        differ += differs
        if file.is_dir():
            shutil.rmtree(file)
    assert differ > 10
    assert not list(tmp_path.iterdir())
    file.write_bytes(whole)
    copied(finished, settings, Copy(f"output/{file.name}", "copy", tmp_path))


def test_export_refuses_a_damaged_lora_file_and_takes_a_sound_one(finished: RunDirectory) -> None:
    file = finished.output / "qxz-000007.safetensors"
    whole = file.read_bytes()
    flip(file)
    with pytest.raises(UsageError, match="its hash differs"):
        export(finished, Wanted(file=f"output/{file.name}"))
    file.write_bytes(whole)
    assert export(finished, Wanted(file=f"output/{file.name}"))["step"] == 7


def test_a_lora_file_without_its_metadata_is_still_the_one_that_was_saved(finished: RunDirectory) -> None:
    file = finished.output / "qxz.safetensors"
    whole = file.read_bytes()
    file.write_bytes(without_metadata(file))
    require_as_saved(file)
    flip(file)
    with pytest.raises(UsageError, match="its hash differs"):
        require_as_saved(file)
    file.write_bytes(whole)


def test_row_45_a_lora_file_of_an_older_run_is_compared_with_the_hash_in_its_metadata(
    finished: RunDirectory, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "old.safetensors"
    shutil.copy(finished.output / "qxz.safetensors", elsewhere)
    assert difference(elsewhere) == ""
    flip(elsewhere)
    assert "metadata" in difference(elsewhere)


def test_a_lora_file_that_was_damaged_while_the_run_was_stopped_is_written_again(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    stop_at(run, 7)  # the end of an epoch
    (file,) = run.output.iterdir()
    whole = load(file.read_bytes())
    flip(file)
    assert train(run) == ExitCode.DONE
    assert same(load_file(file), whole)


def test_folders_that_were_deleted_are_made_again_by_the_resume(stopped: RunDirectory) -> None:
    for folder in ("output", "samples", "log", "cache", "control", "validation"):
        shutil.rmtree(stopped.path / folder)
    launch(stopped)
    while lock.is_held(stopped.lock):
        time.sleep(0.01)
    assert summarise(stopped).status == "done"
    assert (stopped.output / "qxz.safetensors").is_file()
    assert {path.name for path in stopped.path.iterdir() if path.is_dir()} >= set(FOLDERS)


def test_row_17_a_resume_whose_checkpoints_were_deleted_says_that_it_begins_again(stopped: RunDirectory) -> None:
    shutil.rmtree(stopped.checkpoints)
    stopped.checkpoints.mkdir()
    assert train(stopped) == ExitCode.DONE
    assert codes(stopped) == ["checkpoints_gone"]
