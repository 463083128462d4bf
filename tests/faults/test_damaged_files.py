"""Every file of a run, damaged in every way: refused with a reason, made again, or shown as damaged; never used in silence."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harm import harm
from random_bases import run_on, write_images
from small_runs import after_step, events, every_step, losses, same, train, weights

from loratui.engine import sealed
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.proof import notes
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs import bounds, contents, control, lock
from loratui.engine.runs.differences import Difference, accept
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.engine.runs.verdict import is_foreign
from loratui.engine.runs.when_finished import choice
from loratui.engine.training.trainer import Trainer
from loratui.presets.schema import SchemaError

SMALL = ("adapter.targets=attention", "samples.steps=1")
FOR_PEOPLE = ("log",)
"""Folders of what is only printed."""
OPTIONAL = ("bounds.json", "when_finished.json", "validation/checklist.json")
"""What a person set, so its file is there or not: who deletes it takes that back."""


def harms(whole: bytes, theirs: bytes | None, seed: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Each kind of damage, as what to do with the file."""
    dice = random.Random(seed)
    at = dice.randrange(len(whole)) if whole else 0
    if whole:
        yield "a bit", lambda file: harm(file, whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
        yield "zeroed tail", lambda file: harm(file, whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        yield "half of it", lambda file: harm(file, whole[: len(whole) // 2])
        yield "one byte less", lambda file: harm(file, whole[:-1])
        yield "empty", lambda file: harm(file, b"")
    yield "one byte more", lambda file: harm(file, whole + b"\0")
    yield "a folder", lambda file: harm(file, None)
    if theirs is not None and theirs != whole:
        yield "another run's", lambda file: harm(file, theirs)
    yield "missing", Path.unlink


def stop_at(run: RunDirectory, step: int) -> None:
    def change(trainer: Trainer) -> None:
        after_step(trainer, 1, lambda: control.send(run, "set_samples", prompts=["a photo of {subject}"], every_image_steps=5))
        after_step(trainer, step, lambda: control.send(run, "stop"))

    assert train(run, change) == ExitCode.TERMINATED


def fill(run: RunDirectory) -> None:
    """The files that a small run does not have of itself."""
    lock.acquire(run.lock).release()
    accept(run, [Difference("base", (run.name,))])
    choice.change(run, {"command": ("true", run.name)})
    bounds.change(run, {"end_disk_wait_after_h": 2})
    sealed.write(run.base_readings, {"format": 1, "readings": {}, "mistaken": "", "message": run.name, "remedy": ""}, run.path)
    notes.update(run.validation / "checklist.json", lambda kept: kept.note("likeness", f"of {run.name}"))
    sealed.write(run.validation / "wish.json", {"format": 2, "grids": ["strengths"], "file": run.name}, run.path)
    sealed.write(run.validation / "grid.json", {"format": 2, "grids": ["strengths"], "images": []}, run.path)


@pytest.fixture(scope="module")
def runs(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """A run that was stopped in its second epoch, another one like it, and the first one undisturbed to its end."""
    home = tmp_path_factory.mktemp("home")
    photos = write_images(home / "photos")
    made = {
        name: run_on(base_folder, home, *SMALL, f"training.seed={seed}", folder=photos)
        for name, seed in (("stopped", 1), ("other", 2))
    }
    for run in made.values():
        stop_at(run, 9)
        fill(run)
    made["done"] = RunDirectory(Path(shutil.copytree(made["stopped"].path, home / "done" / made["stopped"].name)))
    assert train(made["done"], every_step) == ExitCode.DONE
    return made


def files_of(run: RunDirectory) -> list[str]:
    found = (path.relative_to(run.path) for path in sorted(run.path.rglob("*")) if path.is_file())
    return [path.as_posix() for path in found if path.parts[0] not in FOR_PEOPLE]


def told(found: RunSummary) -> bool:
    """Whether a reader is told that something is damaged."""
    words = ("Not used", "damaged", "is gone", "are gone", "another run", "event log is empty")
    return bool(found.state.skipped) or any(word in f"{found.reason} {found.goes_on} {found.advice}" for word in words)


def seen(run: RunDirectory) -> dict[str, Any]:
    """What a viewer shows of a run."""
    found = summarise(run, closely=True)
    return {
        **found.state.figures(),
        **{name: getattr(found, name) for name in ("status", "reason", "advice", "goes_on", "exit_code", "created")},
        "changes": found.state.changes,
        "edited": run.edited(),
        "bounds": bounds.read(run),
        "choice": _or_refusal(lambda: choice.read(run)),
        "notes": read_checklist(run.validation / "checklist.json"),
    }


def _or_refusal(read: Callable[[], object]) -> object:
    try:
        return read()
    except ValueError as error:
        return str(error)


def damaged_copies(runs: dict[str, RunDirectory], place: Path, seed: int = 7) -> Iterator[tuple[str, str, RunDirectory]]:
    """Each file with each kind of damage: its name, the kind, and the run."""
    run, other, number = runs["stopped"], runs["other"], 0
    for relative in files_of(run):
        theirs = other.path / relative
        for kind, do in harms((run.path / relative).read_bytes(), theirs.read_bytes() if theirs.is_file() else None, seed):
            number += 1
            copy = RunDirectory(Path(shutil.copytree(run.path, place / str(number) / run.name)))
            do(copy.path / relative)
            yield relative, kind, copy
            shutil.rmtree(copy.path, ignore_errors=True)  # a thread of a trainer that has ended may still be at work there


def test_no_viewer_shows_a_figure_of_a_damaged_file(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    truth = seen(runs["stopped"])
    cases = wrong = 0
    for relative, kind, run in damaged_copies(runs, tmp_path / "runs"):
        if relative == ".loratui-run" and kind in ("a folder", "missing"):
            continue  # then it is no run, and no list has it
        if relative in OPTIONAL and kind == "missing":
            continue
        cases += 1
        found = summarise(run, closely=True)
        now = seen(run)
        differing = [name for name in truth if now[name] != truth[name]]
        if differing and not told(found) and not run.edited():
            wrong += 1
            print(relative, kind, {name: (truth[name], now[name]) for name in differing})
    assert cases > 150
    assert wrong == 0


def resumed(run: RunDirectory) -> str:
    """How a resume refuses; empty if it went on to its end."""
    try:
        contents.require_sound(run.path)
        if is_foreign(run, read_state(run)):
            raise UsageError("foreign")
        assert train(run, every_step) == ExitCode.DONE
    except (LoratuiError, SchemaError) as error:
        return str(error) or "without a word"
    return ""


def result(run: RunDirectory) -> tuple[Any, ...]:
    step = 9
    made = {s: loss for s, loss in losses(run).items() if s > step}
    samples = sorted(
        path.relative_to(run.path).as_posix() for path in run.samples.rglob("*.png") if int(path.parent.name[5:]) > step
    )
    earlier = {
        f"qxz-{done:06d}.safetensors" for done in range(step + 1)
    }  # a resume does not touch them; whoever uses them compares hashes
    outputs = {path.name: path.stat().st_size for path in run.output.glob("*.safetensors") if path.name not in earlier}
    return made, samples, outputs


def check_resume(runs: dict[str, RunDirectory], relative: str, kind: str, run: RunDirectory) -> str:
    """What is wrong with a resume of a damaged run; empty if nothing is."""
    before = {event.seq for event in events(run, "warning")} if run.events.is_file() else set()
    refusal = resumed(run)
    if refusal:
        return ""
    warned = [event.fields["code"] for event in events(run, "warning") if event.seq not in before]
    if not same(weights(run), weights(runs["done"])):
        return f"{relative} ({kind}): other weights, and {warned}"
    if result(run) != result(runs["done"]) and not warned:
        return f"{relative} ({kind}): another result in silence"
    return ""


IN_THE_DEFAULT_LANE = {
    ("dataset.json", "a bit"),
    ("changes.json", "a bit"),
    ("changes.json", "missing"),
    ("events.jsonl", "zeroed tail"),
    ("checkpoints/step-000009/MANIFEST.json", "another run's"),
}


def test_a_resume_refuses_makes_again_or_tells_some(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    found = []
    for relative, kind, run in damaged_copies(runs, tmp_path / "runs"):
        if (relative, kind) in IN_THE_DEFAULT_LANE:
            found.append(check_resume(runs, relative, kind, run))
    assert len(found) == len(IN_THE_DEFAULT_LANE)
    assert [words for words in found if words] == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_resume_refuses_makes_again_or_tells_each(runs: dict[str, RunDirectory], tmp_path: Path, seed: int) -> None:
    found = []
    for relative, kind, run in damaged_copies(runs, tmp_path / "runs", seed):
        if words := check_resume(runs, relative, kind, run):
            found.append(words)
    assert found == []


def test_a_finished_file_that_is_gone_is_told_and_written_again_by_a_resume(
    runs: dict[str, RunDirectory], tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(runs["done"].path, tmp_path / "runs" / "r")))
    assert summarise(run, closely=True).status != "interrupted"
    file = run.output / "qxz.safetensors"
    file.unlink()
    with EventLog.open(run.events) as log:
        log.append("run_finished", status="done", exit_code=0, reason="All steps are done.", advice="", step=14)
    found = summarise(run, closely=True)
    assert (found.status, found.goes_on) == ("interrupted", "continues from step 14 and writes it again")
    assert found.to_json()["output"] == ""
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(runs["done"]))


def test_a_log_that_is_deleted_while_it_is_written_begins_again_and_says_so(
    runs: dict[str, RunDirectory], tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(runs["stopped"].path, tmp_path / "runs" / "r")))
    with EventLog.open(run.events) as log:
        log.append("heartbeat", phase="")
        run.events.unlink()
        log.append("heartbeat", phase="")
    assert len(events(run, "heartbeat")) == 1
    run.events.unlink()
    assert read_state(run).skipped > 0


def test_a_command_that_was_damaged_is_removed_with_a_word_and_not_carried_out(
    runs: dict[str, RunDirectory], tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(runs["stopped"].path, tmp_path / "runs" / "r")))
    identity = control.send(run, "set_samples", prompts=["a", "b"])
    (file,) = run.control.glob("*.json")
    whole = file.read_bytes()
    assert [command.id for command in control.pending(run)] == [identity]
    for kind, do in harms(whole, whole.replace(sealed.id_of(run.path).encode(), b"0123456789abcdef"), 3):
        if kind in ("missing", "a folder", "one byte less"):  # the last byte is a newline
            continue
        do(file)
        assert control.pending(run) == [], kind
        file.write_bytes(whole)
