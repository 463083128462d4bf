"""A pipe, a device or a folder in the place of a small file: whatever reads it goes on at once, as if nothing were there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_run import make_run

from loratui.engine.dataset.ledger import read_table
from loratui.engine.errors import DatasetError, DiskError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.validation_grid import read_wish
from loratui.engine.proof.notes import Checklist, read_checklist
from loratui.engine.runs import changes, control, lock
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.logs import log_tail
from loratui.engine.runs.tail import Tail
from loratui.engine.untrusted import open_regular, read_small
from loratui.presets import list_presets
from loratui.presets.schema import SchemaError
from loratui.tui import settings
from loratui.tui.cli import main
from loratui.tui.dataset.recent import recent_folders
from loratui.tui.terminal.thumbnails import ThumbnailError, load
from loratui.tui.validation.grid_images import read_listed, training_paths
from loratui.tui.wizard.drafts import list_drafts

KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "folder": lambda path: path.mkdir(),
}


@pytest.fixture(autouse=True)
def within_20_s() -> Iterator[None]:
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.fixture(params=KINDS)
def put(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Puts something that is no file at a path, and returns the path."""

    def there(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        KINDS[request.param](path)
        return path

    return there


def test_files_of_a_run(home: Path, put: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    for path in (run.state, run.events, run.lock, run.changes, run.validation_events, run.trainer_log):
        put(path)
    assert main(["status", run.name]) == 2
    assert f"loratui did not open {run.name}: its " in capsys.readouterr().err
    assert main(["runs"]) == 0
    assert run.name in capsys.readouterr().out
    assert not lock.is_held(run.lock)
    assert lock.read_owner(run.lock) is None
    assert not lock.supported(run.lock)
    assert list(Tail(run.events).drain()) == []
    assert list(Tail(run.events).glance()) == []
    assert changes.read(run) == changes.Changes()
    assert log_tail(run.trainer_log) == []
    put(run.control / "20261121000000000000-abcd-stop.json")
    assert control.pending(run) == []


def test_a_log_is_never_written_into_a_pipe(put: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises((DiskError, UsageError)):
        EventLog.open(put(tmp_path / "events.jsonl"))


def test_a_marker_that_is_none_is_no_run(home: Path, put: Callable[[Path], Path]) -> None:
    run = make_run(home)
    put(run.marker)
    assert main(["runs"]) == 0


def test_files_of_the_check(put: Callable[[Path], Path], tmp_path: Path) -> None:
    assert read_listed(put(tmp_path / "grid.json")) == []
    assert read_checklist(put(tmp_path / "checklist.json")) == Checklist()
    assert training_paths(put(tmp_path / "dataset.json")) == {}
    with pytest.raises(DatasetError):
        read_table(tmp_path / "dataset.json")
    with pytest.raises(UsageError):
        read_wish(put(tmp_path / "wish.json"))


def test_recipes_and_presets(put: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SchemaError):
        read_recipe(put(tmp_path / "recipe.toml"))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    put(tmp_path / "presets" / "mine.toml")
    list_presets()


def test_files_of_the_person(put: Callable[[Path], Path], tmp_path: Path) -> None:
    for name in ("app.toml", "keys.toml", "drafts/x.json", "recent-folders.json"):
        put(tmp_path / name)
    assert settings.load(tmp_path).settings == settings.AppSettings()
    assert list_drafts(tmp_path) == []
    assert recent_folders(tmp_path) == ()


def test_an_image(put: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ThumbnailError):
        load(put(tmp_path / "00.png"), 10, 10)


def test_what_is_read_ends_where_it_shall(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * 100_000)
    assert len(read_small(path, 70_000)) == 70_000
    assert len(read_small(path)) == 100_000
    with open_regular(path) as file:
        assert file.read(1) == b"x"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        read_small(link, follow=False)
    with pytest.raises(OSError, match="Invalid"):
        read_small(Path("a\0b"))
