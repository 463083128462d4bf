"""Run directories appear whole, carry safe names, are found by name or path, and only they are ever deleted."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine import sealed
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.runs import directory, lock
from loratui.engine.runs.directory import RunDirectory, create_run, delete_run, list_runs, loratui_home, open_run, safe_name


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(home: Path, name: str = "anafox", today: str = "20261121") -> RunDirectory:
    return create_run(home, name, recipe_toml="a = 1\n", effective_toml="b = 2\n", ledger={"images": []}, today=today)


def test_a_new_run_is_whole_private_and_counted(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        run = make(tmp_path / "home")
    finally:
        os.umask(old)
    assert run.name == "anafox-20261121-1"
    assert run.recipe.read_text() == "a = 1\n"
    assert run.effective.read_text() == "b = 2\n"
    assert sealed.read(run.dataset, run.path) == {"images": []}
    for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    assert make(tmp_path / "home").name == "anafox-20261121-2"
    assert make(tmp_path / "home", "bob").name == "bob-20261121-1"


def test_counting_goes_on_behind_a_gap_and_past_nine(tmp_path: Path) -> None:
    (tmp_path / "runs" / "anafox-20261121-10").mkdir(parents=True)
    (tmp_path / "runs" / "anafox-20261121-9").mkdir()
    (tmp_path / "runs" / "anafox-20261121-x").mkdir()
    assert make(tmp_path).name == "anafox-20261121-11"


def test_two_that_want_the_same_name_get_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tmp_path)
    (first.path / "precious").write_text("x")
    real = directory._names
    monkeypatch.setattr(directory, "_names", lambda folder: [] if folder.name == "runs" else real(folder))
    assert make(tmp_path).name == "anafox-20261121-2"
    assert (first.path / "precious").read_text() == "x"


@pytest.mark.parametrize(
    "hostile",
    [
        "../../x",
        "$(id)",
        ";rm -rf /",
        "--help",
        "a\nb",
        "",
        ".",
        "..",
        "/etc/passwd",
        "\x1b[31mred",
        "狐",
        "a" * 500,
        "-",
        "ﬁ",
        "a\0b",
    ],
)
def test_a_hostile_name_becomes_a_harmless_one(tmp_path: Path, hostile: str) -> None:
    run = make(tmp_path, hostile)
    assert run.path.parent == tmp_path / "runs"
    assert directory.RUN_NAME.fullmatch(run.name)
    assert open_run(tmp_path, run.name) == run
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


@given(st.text(max_size=300))
def test_every_text_gives_a_safe_name(text: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,47}", name)
    assert not name.endswith((".", "-"))
    assert ".." not in name
    assert safe_name(name) == name


CREATE = """
import sys
from pathlib import Path
from loratui.engine.runs.directory import create_run
create_run(Path(sys.argv[1]), "x", recipe_toml="a", effective_toml="b", ledger={}, today="20261121")
"""


@pytest.mark.parametrize("hit", ["write_file.opened:2", "write_file.written:4", "publish.start:1", "publish.synced:1"])
def test_a_start_that_is_killed_half_way_leaves_no_run(tmp_path: Path, hit: str) -> None:
    env = {**os.environ, "LORATUI_FAILPOINT": hit}
    done = subprocess.run([sys.executable, "-c", CREATE, str(tmp_path)], env=env, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list_runs(tmp_path) == []
    assert make(tmp_path, "x").name == "x-20261121-1"


def test_a_disk_that_fills_up_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.fsync, [3]

    def fsync(fd: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskError, match="disk is full"):
        make(tmp_path)
    assert names_in(tmp_path / "runs") == []


def test_runs_are_listed_newest_first_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000, 2000))
    monkeypatch.setattr("loratui.engine.runs.directory.time.time", lambda: float(next(clock)))
    runs = [make(tmp_path, name) for name in ("b", "a", "c")]
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / ".x.tmp").mkdir()
    (tmp_path / "runs" / "link").symlink_to(runs[0].path)
    assert list_runs(tmp_path) == runs[::-1]
    assert open_run(tmp_path, "latest") == runs[2]
    assert list_runs(tmp_path / "nowhere") == []


def test_runs_made_in_the_same_moment_are_in_order_of_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loratui.engine.runs.directory.time.time", lambda: 5.0)
    for _ in range(11):
        make(tmp_path)
    assert [run.name.rsplit("-", 1)[1] for run in list_runs(tmp_path)] == [str(n) for n in range(11, 0, -1)]


def test_a_run_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path)
    assert open_run(tmp_path, run.name) == run
    assert open_run(tmp_path / "other", str(run.path)) == run
    monkeypatch.chdir(run.path)
    assert open_run(tmp_path / "other", ".").path == run.path


@pytest.mark.parametrize("wrong", ["nosuch", "..", "../..", "/", "", "a/b", "x\0y", "a/\0", "-n", "--help"])
def test_what_is_no_run_is_refused(tmp_path: Path, wrong: str) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match="There is no run"):
        open_run(tmp_path, wrong)


def test_a_mistyped_name_gets_its_neighbours(tmp_path: Path) -> None:
    run = make(tmp_path)
    with pytest.raises(UsageError, match=f"Did you mean {run.name}"):
        open_run(tmp_path, "anafix-20261121-1")
    with pytest.raises(UsageError, match=f"Did you mean {run.name}"):
        open_run(tmp_path, "anafox")


def test_latest_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="loratui train"):
        open_run(tmp_path, "latest")


def test_a_run_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.marker.write_text('{"format": 2}')
    with pytest.raises(UsageError, match="newer loratui"):
        open_run(tmp_path, run.name)
    run.marker.write_text("rubbish")
    assert open_run(tmp_path, run.name) == run
    assert run.created() == 0.0


def test_only_a_run_is_deleted_and_not_while_it_lives(tmp_path: Path) -> None:
    run, other = make(tmp_path), tmp_path / "runs" / "thesis"
    other.mkdir()
    with pytest.raises(UsageError, match="not a run"):
        delete_run(RunDirectory(other))
    held = lock.acquire(run.lock)
    with pytest.raises(UsageError, match="already running"):
        delete_run(run)
    assert run.recipe.is_file()
    held.release()
    delete_run(run)
    assert (names_in(tmp_path / "runs")) == ["thesis"]


def test_deleting_spares_what_links_lead_to(tmp_path: Path) -> None:
    run = make(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_text("x")
    (run.cache / "images").symlink_to(tmp_path / "images")
    delete_run(run)
    assert (tmp_path / "images" / "1.png").is_file()


def test_the_last_checkpoint_is_the_highest_with_a_manifest(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.last_checkpoint_step() == 0
    for step, whole in ((20, True), (180, True), (1000000, True), (2000000, False)):
        run.checkpoint(step).mkdir()
        if whole:
            (run.checkpoint(step) / "MANIFEST.json").write_text("{}")
    (run.checkpoints / ".step-000999.0a0b0c0d.tmp").mkdir()
    (run.checkpoints / "step-broken").mkdir()
    assert run.last_checkpoint_step() == 1_000_000


def test_home_is_chosen_from_the_variable_the_volume_or_the_data_folder(tmp_path: Path) -> None:
    nowhere, volume = tmp_path / "none", tmp_path / "workspace"
    volume.mkdir()
    assert loratui_home({"LORATUI_HOME": "/x/../y", "HOME": "/h"}, volume) == Path("/y")
    assert loratui_home({"LORATUI_HOME": "~/z", "HOME": "/h"}, volume) == Path("/h/z")
    assert loratui_home({"LORATUI_HOME": "", "HOME": "/h"}, volume) == volume / "loratui"
    assert loratui_home({"HOME": "/h", "XDG_DATA_HOME": "/d"}, nowhere) == Path("/d/loratui")
    assert loratui_home({"HOME": "/h", "XDG_DATA_HOME": "rel"}, nowhere) == Path("/h/.local/share/loratui")
    with pytest.raises(UsageError, match="HOME is not set"):
        loratui_home({}, nowhere)
    with pytest.raises(UsageError, match="HOME is not set"):
        loratui_home({"LORATUI_HOME": "~/z"}, nowhere)


def test_a_file_in_place_of_the_home_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UsageError, match="a file stands where"):
        make(tmp_path / "home")


def test_a_recipe_that_cannot_be_written_down_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        create_run(tmp_path, "anafox", recipe_toml="a\udcff", effective_toml="", ledger={})
    assert list(tmp_path.iterdir()) == []
