"""Row 48: a dataset that changed between stop and resume is shown image by image, and refused or accepted by the person."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_images import noise
from random_bases import run_on, write_images
from small_runs import after_step, events, same, train, weights

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import DatasetError, ExitCode, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import control
from loratui.engine.runs.differences import Difference, accept, dataset_difference, differences
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.summary import summarise
from loratui.engine.training.trainer import Trainer
from loratui.tui.cli import main

SMALL = ("adapter.targets=attention", "samples.steps=1")


@pytest.fixture(scope="module")
def once(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDirectory, RunDirectory]:
    """Images, a run on them that was stopped in its first epoch, and one that nothing disturbed."""
    home = tmp_path_factory.mktemp("once")
    photos = write_images(home / "photos")
    run = run_on(base_folder, home, *SMALL, folder=photos)

    def stop(trainer: Trainer) -> None:
        after_step(trainer, 3, lambda: control.send(run, "stop"))

    assert train(run, stop) == ExitCode.TERMINATED
    undisturbed = run_on(base_folder, home, *SMALL, folder=photos)
    assert train(undisturbed) == ExitCode.DONE
    shutil.copytree(photos, home / "kept")
    return photos, run, undisturbed


@pytest.fixture
def photos(once: tuple[Path, RunDirectory, RunDirectory]) -> Path:
    folder = once[0]
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(folder.with_name("kept"), folder))


@pytest.fixture
def stopped(once: tuple[Path, RunDirectory, RunDirectory], photos: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(shutil.copytree(once[1].path, tmp_path / "runs" / once[1].name)))


@pytest.fixture
def undisturbed(once: tuple[Path, RunDirectory, RunDirectory]) -> RunDirectory:
    return once[2]


def change(photos: Path) -> tuple[str, ...]:
    """Every kind of change; what is to be said of it, without hashes."""
    first, second, third = sorted(path for path in photos.iterdir() if path.suffix == ".png")[:3]
    noise(99, (64, 64), 50).save(photos / "new.png")
    first.unlink()
    noise(98, (64, 64), 50).save(second)
    third.with_suffix(".txt").write_text("somebody else")
    return "added: new.png", f"removed: {first.name}", f"changed: {second.name} (", f"caption of {third.name}: "


def codes(run: RunDirectory) -> list[str]:
    return [event.fields["code"] for event in events(run, "warning")]


def test_what_changed_is_listed_and_the_trainer_refuses_it_until_it_is_accepted(
    undisturbed: RunDirectory, stopped: RunDirectory, photos: Path
) -> None:
    assert differences(stopped) == []
    told = change(photos)
    (found,) = differences(stopped)
    assert found.part == "dataset"
    assert len(found.lines) == len(told)
    assert all(line.startswith(words) for line, words in zip(found.lines, told, strict=True))
    steps = len(events(stopped, "step"))
    with pytest.raises(UsageError, match=r"added: new\.png.*removed: ") as refused:
        train(stopped)
    assert "--accept dataset" in refused.value.remedy
    assert len(events(stopped, "step")) == steps
    accept(stopped, [found])
    assert differences(stopped) == []
    assert train(stopped) == ExitCode.DONE
    assert codes(stopped) == ["dataset_changed"]
    assert same(weights(stopped), weights(undisturbed))  # it goes on with the images as it began with them


def test_an_acceptance_holds_for_exactly_these_changes(stopped: RunDirectory, photos: Path) -> None:
    change(photos)
    accept(stopped, differences(stopped))
    noise(97, (64, 64), 50).save(photos / "newer.png")
    assert len(differences(stopped)) == 1
    with pytest.raises(UsageError, match=r"newer\.png"):
        train(stopped)


def test_a_trainer_that_is_only_restarted_goes_on_with_a_warning(stopped: RunDirectory, photos: Path) -> None:
    """Nobody is there to be asked, and a person may sort the folder while the run trains."""
    change(photos)
    with EventLog.open(stopped.events) as log:
        log.append("trainer_started", attempt=2, pid=1)
    assert train(stopped) == ExitCode.DONE
    assert codes(stopped) == ["dataset_changed"]


def test_a_folder_that_is_not_there_at_all_is_a_warning_while_the_run_has_what_it_made_of_it(
    stopped: RunDirectory, undisturbed: RunDirectory, photos: Path
) -> None:
    shutil.rmtree(photos)
    (found,) = differences(stopped)
    assert not found.asks
    assert train(stopped) == ExitCode.DONE
    assert codes(stopped) == ["dataset_changed"]
    assert same(weights(stopped), weights(undisturbed))


def test_without_the_old_image_and_what_was_made_of_it_the_run_names_it_and_ends(stopped: RunDirectory, photos: Path) -> None:
    told = change(photos)
    accept(stopped, differences(stopped))
    shutil.rmtree(stopped.cache)
    with pytest.raises(DatasetError, match=told[1].removeprefix("removed: ")):
        train(stopped)


@pytest.mark.parametrize("accepted", [[], ["--accept", "base"]])
def test_the_command_line_lists_the_changes_and_starts_nothing(
    stopped: RunDirectory, photos: Path, capsys: pytest.CaptureFixture[str], accepted: list[str]
) -> None:
    told = change(photos)
    size = stopped.events.stat().st_size
    code = main(["resume", str(stopped.path), *accepted, "--wait"])
    said = capsys.readouterr().err
    assert code == ExitCode.DATASET
    assert all(words in said for words in told)
    assert f"loratui resume {stopped.name} --accept dataset" in said
    assert stopped.events.stat().st_size == size


@pytest.mark.long
def test_the_command_line_accepts_them(stopped: RunDirectory, photos: Path) -> None:
    change(photos)
    assert main(["resume", str(stopped.path), "--accept", "base,dataset", "--wait"]) == ExitCode.DONE
    assert summarise(stopped).status == "done"
    assert "dataset_changed" in codes(stopped)


def test_a_word_that_is_no_part_is_refused(stopped: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(stopped.path), "--accept", "everything"]) == ExitCode.USAGE
    assert "expected base or dataset" in capsys.readouterr().err


def test_images_that_were_left_out_at_the_start_are_no_news(base_folder: Path, tmp_path: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG nothing")
    run = run_on(base_folder, tmp_path, *SMALL, folder=photos)
    settings = read_recipe(run.effective).settings
    assert "broken.png" in dict(read_ledger(run.dataset).left_out)
    assert dataset_difference(run, settings) == []
    shutil.copy(sorted(photos.glob("*.txt"))[0], photos / "notes.txt")
    assert dataset_difference(run, settings) == []


def test_many_changes_are_shown_in_part_and_counted() -> None:
    found = Difference("dataset", tuple(f"added: {n}.png" for n in range(30)))
    assert found.shown(3) == ["added: 0.png", "added: 1.png", "added: 2.png", "and 27 more changes"]


def test_other_settings_that_were_edited_are_told_value_by_value(stopped: RunDirectory) -> None:
    text = stopped.effective.read_text()
    stopped.effective.write_text(text.replace("keep_checkpoints = ", "keep_checkpoints = 1"))
    assert train(stopped) == ExitCode.DONE
    (warning,) = [event for event in events(stopped, "warning") if event.fields["code"] == "settings_edited"]
    assert "output.keep_checkpoints" in warning.fields["message"]
