"""A run that came from somebody else's archive: nothing outside of it is read into it, written to or deleted."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loratui.engine import durable
from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError, LoratuiError, UsageError
from loratui.engine.handover import keep
from loratui.engine.runs import contents, control, lock
from loratui.engine.runs.directory import RunDirectory, create_run, delete_run, open_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.state_file import read_state
from loratui.tui import cli


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a stranger's links lead to, and what must stay as it is."""
    folder = tmp_path / "outside"
    for name in ("step-000001", "step-000002", "step-000003"):
        (folder / name).mkdir(parents=True)
        (folder / name / "MANIFEST.json").write_text("{}")
    for name in (
        "kept.json",
        "00000000000000aa-stop.json",
        ".left.0123abcd.tmp",
        "events.jsonl",
        "trainer.log",
        "supervisor.log",
    ):
        (folder / name).write_text("mine\n")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path / "home", "a", recipe_toml="", effective_toml="", ledger={})


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def link(place: Path, to: Path) -> None:
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(to)


FOLDERS = [*contents.FOLDERS, "export", "class_images", "anything", "samples/step-000001", "cache/deep/er"]
FILES = [
    "events.jsonl",
    "state.json",
    "changes.json",
    "run.lock",
    "recipe.toml",
    "dataset.json",
    "log/trainer.log",
    "validation/wish.json",
]


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_a_link_anywhere_refuses_the_run_by_name(run: RunDirectory, outside: Path, name: str) -> None:
    before = content(outside)
    (run.path / name).parent.mkdir(parents=True, exist_ok=True)
    link(run.path / name, outside if name in FOLDERS else outside / "kept.json")
    for action in (
        lambda: open_run(run.path.parent.parent, run.name),
        lambda: open_run(run.path.parent.parent, run.name, to_read=True),
        lambda: launch(run),
    ):
        with pytest.raises(LoratuiError) as caught:
            action()
        assert run.name in str(caught.value)
        assert "link" in str(caught.value)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        contents.require_sound(run.path)
    assert content(outside) == before


def test_what_is_no_file_and_no_folder_refuses_the_run(run: RunDirectory) -> None:
    for make, words in (
        (lambda path: os.mkfifo(path), "a pipe"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
        (lambda path: path.mkdir(), "a folder in place of a file"),
    ):
        make(run.state)
        with pytest.raises(UsageError, match=f"its state.json is {words}"):
            open_run(run.path.parent.parent, run.name)
        run.state.rmdir() if run.state.is_dir() else run.state.unlink()
    run.cache.rmdir()
    run.cache.write_text("")
    with pytest.raises(UsageError, match="its cache is a file in place of a folder"):
        open_run(run.path.parent.parent, run.name)


@pytest.mark.parametrize("name", contents.FILES)
def test_no_folder_stands_in_the_place_of_a_file(run: RunDirectory, name: str) -> None:
    place = run.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.mkdir()
    with pytest.raises(UsageError):
        contents.require_sound(run.path)


def test_all_that_a_run_keeps_is_known(run: RunDirectory) -> None:
    assert "base.json" in contents.FILES


@pytest.mark.parametrize("name", contents.WRITTEN_IN_PLACE)
def test_a_second_name_of_a_file_that_is_written_in_place_refuses_the_run(run: RunDirectory, outside: Path, name: str) -> None:
    (run.path / name).unlink(missing_ok=True)
    os.link(outside / "kept.json", run.path / name)
    with pytest.raises(UsageError, match="hard link"):
        open_run(run.path.parent.parent, run.name)
    with pytest.raises(LoratuiError, match="hard link"):
        durable_of(run, name)()
    assert (outside / "kept.json").read_text() == "mine\n"


def durable_of(run: RunDirectory, name: str) -> Callable[[], object]:
    path = run.path / name
    if name == "run.lock":
        return lambda: lock.acquire(path)
    if name.endswith(".jsonl"):
        return lambda: EventLog.open(path)

    def write() -> None:
        try:
            durable.open_to_write(path, os.O_WRONLY)
        except OSError as error:
            raise disk_error(error, path) from error

    return write


def test_a_backup_by_hard_links_of_what_is_replaced_as_a_whole_does_no_harm(run: RunDirectory, tmp_path: Path) -> None:
    (run.checkpoints / "step-000001").mkdir()
    (run.checkpoints / "step-000001" / "adapter.safetensors").write_bytes(b"x")
    os.link(run.checkpoints / "step-000001" / "adapter.safetensors", tmp_path / "backup")
    os.link(run.recipe, tmp_path / "recipe")
    assert open_run(run.path.parent.parent, run.name) == run


def test_a_folder_without_end_is_refused(run: RunDirectory) -> None:
    (run.cache / "/".join("deeper" for _ in range(40))).mkdir(parents=True)
    with pytest.raises(UsageError, match="folders deep"):
        contents.require_sound(run.path)


# ---- what is exchanged after it was looked at


SWAPPED: list[tuple[str, Callable[[RunDirectory], object]]] = [
    ("control", control.clear),
    ("control", lambda run: control.send(run, "stop")),
    ("control", lambda run: control.withdraw(run, "00000000000000aa")),
    ("checkpoints", lambda run: durable.sweep_leftovers(run.checkpoints)),
    ("checkpoints", lambda run: durable.remove_tree(run.checkpoints / "step-000001")),
    ("checkpoints", lambda run: durable.write_file(run.checkpoints / "step-000001" / "MANIFEST.json", b"theirs")),
    ("checkpoints", lambda run: durable.make_directory(run.checkpoints / "new")),
    ("checkpoints", lambda run: durable.building(run.checkpoints / "step-000009").__enter__()),
    ("output", lambda run: durable.write_file(run.output / "kept.json", b"theirs")),
    ("validation", lambda run: EventLog.open(run.validation_events)),
    ("validation", lambda run: durable.write_json(run.validation / "kept.json", {})),
    ("log", lambda run: durable.open_to_write(run.trainer_log, os.O_WRONLY | os.O_TRUNC)),
    ("samples", lambda run: durable.make_directory(run.samples / "a" / "b")),
]


@pytest.mark.parametrize(("folder", "action"), SWAPPED)
def test_a_link_that_takes_a_folders_place_later_leads_nowhere(
    run: RunDirectory, outside: Path, folder: str, action: Callable[[RunDirectory], object]
) -> None:
    link(run.path / folder, outside)
    before = content(outside)
    with contextlib.suppress(LoratuiError, OSError):
        action(run)
    assert content(outside) == before


def test_checkpoints_are_pruned_in_the_run_alone(run: RunDirectory, outside: Path) -> None:
    code = "import sys; from pathlib import Path; from loratui.engine.runs.directory import RunDirectory\n"
    code += "from loratui.engine.training.checkpoint import prune; prune(RunDirectory(Path(sys.argv[1])), 1)"
    link(run.checkpoints, outside)
    before = content(outside)
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)
    assert "a link stands where" in done.stderr
    assert content(outside) == before


# ---- deleting


def test_rm_deletes_the_run_and_nothing_that_it_leads_to(
    run: RunDirectory, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoints", "control", "log", "validation"):
        link(run.path / name, outside)
    link(run.events, outside / "events.jsonl")
    os.link(outside / "kept.json", run.lock)
    os.mkfifo(run.path / "pipe")
    before = content(outside)
    assert cli.main(["--home", str(run.path.parent.parent), "rm", run.name, "--yes"]) == 0
    assert "is deleted" in capsys.readouterr().out
    assert not run.path.exists()
    assert content(outside) == before


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "second name"])
def test_a_lock_that_is_none_does_not_keep_a_run_from_going(run: RunDirectory, outside: Path, kind: str) -> None:
    if kind == "link":
        run.lock.symlink_to(outside / "kept.json")
    elif kind == "pipe":
        os.mkfifo(run.lock)
    elif kind == "folder":
        (run.lock / "in it").mkdir(parents=True)
    else:
        os.link(outside / "kept.json", run.lock)
    delete_run(run)
    assert not run.path.exists()
    assert (outside / "kept.json").read_text() == "mine\n"


# ---- names in its records


def test_a_run_of_a_stranger_names_no_file_outside_for_the_trainer_to_write(run: RunDirectory, tmp_path: Path) -> None:
    row = {
        "path": str(tmp_path / "outside.png"),
        "relative": "made by the base/0000.png",
        "sha256": "",
        "made": True,
        "width": 64,
        "height": 64,
        "bucket": [64, 64],
        "fit": {"resized": [64, 64], "left": 0, "top": 0},
        "caption": "woman",
        "concept": "",
        "repeats": 1,
        "regularisation": True,
    }
    for path in (str(tmp_path / "outside.png"), "class_images/../../x.png", "../class_images/x.png", "class_images/a/b.png"):
        table = {"format": 1, "root": "/", "images": [{**row, "path": path}], "left_out": []}
        run.dataset.write_text(json.dumps(table))
        with pytest.raises(DatasetError, match="damaged"):
            read_ledger(run.dataset)
    run.dataset.write_text(
        json.dumps({"format": 1, "root": "/", "images": [{**row, "path": "class_images/0000.png"}], "left_out": []})
    )
    assert read_ledger(run.dataset).images[0].path == run.path / "class_images" / "0000.png"


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "output/../../x", "", "a\0b"])
def test_a_name_that_leads_out_of_the_run_is_refused(run: RunDirectory, name: str) -> None:
    with pytest.raises(UsageError, match="outside"):
        run.inside(name)
    history = RunHistory()
    history.apply(Event("output_written", 1, 0.0, {"path": name, "step": 1, "epoch": 1, "bytes": 1}))
    assert history.outputs[-1].path == ""


def test_an_export_copies_no_file_that_a_link_leads_to(run: RunDirectory, outside: Path, tmp_path: Path) -> None:
    link(run.recipe, outside / "kept.json")
    with pytest.raises(LoratuiError, match="link"):
        keep.copy(run.recipe, tmp_path / "copied")
    assert not (tmp_path / "copied").exists()


def test_lists_read_nothing_through_a_link(run: RunDirectory, outside: Path) -> None:
    (outside / "state.json").write_text(json.dumps({"v": 1, "trigger": "stolen", "status": "done"}))
    link(run.state, outside / "state.json")
    assert read_state(run).trigger == ""
