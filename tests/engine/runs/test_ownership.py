"""Whose a home and a run are: other accounts are told of, and refused for root until somebody confirmed them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from loratui.engine import children
from loratui.engine.errors import UsageError
from loratui.engine.runs import ownership
from loratui.engine.runs.directory import compiled_folder, create_run, open_run
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.ownership import concern_about, foreign_owner, is_trusted, require_own, require_trusted, trust
from loratui.engine.runs.summary import summarise
from loratui.tui import cli

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

SOMEBODY = 4711
"""An account of no name."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    ownership._made_owner_cached.cache_clear()
    folder = tmp_path / "place" / "loratui"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    monkeypatch.setenv("LORATUI_HOME", str(folder))
    yield folder
    ownership._made_owner_cached.cache_clear()


def words(place: Path, accounts: tuple[int, ...] = (SOMEBODY,)) -> str:
    concern = concern_about(place, accounts)
    return f"{concern.message} {concern.remedy}" if concern else ""


def test_a_home_of_ones_own_is_no_concern_and_nothing_is_made_in_it(home: Path) -> None:
    assert words(home) == ""
    require_trusted(home)
    assert list(home.iterdir()) == []


def test_a_home_that_somebody_made_first(home: Path) -> None:
    os.chown(home, SOMEBODY, SOMEBODY)
    assert f"{home} belongs to another account, uid {SOMEBODY}" in words(home, ())
    assert "--home" in words(home)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "who", "remedy"), [(0o777, "every account", "chmod o-w"), (0o1777, "every account", "chmod o-w")]
)
def test_a_home_in_which_others_can_write(home: Path, mode: int, who: str, remedy: str) -> None:
    home.chmod(mode)
    assert who in words(home, ())
    assert f"{remedy} {home}" in words(home, ())


@pytest.mark.parametrize(
    ("mode", "owner", "accounts", "concern"),
    [
        (0o777, 0, (SOMEBODY,), "can be written by every account"),
        (0o777, 0, (), ""),  # a volume of a container in which there is nobody else
        (0o1777, 0, (SOMEBODY,), ""),  # as /tmp
        (0o755, SOMEBODY, (SOMEBODY,), "belongs to another account"),
        (0o755, SOMEBODY, (), ""),  # the owner outside of this container
        (0o755, 0, (SOMEBODY,), ""),
    ],
)
@pytest.mark.parametrize("made", [True, False])
def test_the_folder_in_which_the_home_lies(
    home: Path, mode: int, owner: int, accounts: tuple[int, ...], concern: str, made: bool
) -> None:
    if not made:
        home.rmdir()
    home.parent.chmod(mode)
    os.chown(home.parent, owner, owner)
    found = words(home, accounts)
    assert (concern in found) if concern else found == ""


def test_a_group_counts_by_its_members(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.chmod(0o770)
    os.chown(home, 0, SOMEBODY)
    assert words(home) == ""
    monkeypatch.setattr(ownership, "_has_others", lambda gid, own: gid == SOMEBODY)
    assert "can be written by its group. Close it: chmod g-w" in words(home)


@pytest.mark.parametrize(("owner", "mode"), [(SOMEBODY, 0o600), (0, 0o666), (0, 0o777)])
def test_a_volume_on_which_owners_or_rights_say_nothing_stays_usable(
    home: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int
) -> None:
    os.chown(home, owner, owner)
    home.chmod(0o777)
    monkeypatch.setattr(ownership, "_made", lambda folder: (owner, mode))
    assert words(home) == ""
    assert foreign_owner(home) == ""


def test_a_volume_that_squashes_owners_hides_no_third_account(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(home, SOMEBODY, SOMEBODY)
    monkeypatch.setattr(ownership, "_made", lambda folder: (65_534, 0o600))
    assert "another account" in words(home)


def test_a_link_to_a_home_is_judged_by_where_it_leads(home: Path, tmp_path: Path) -> None:
    os.chown(home, SOMEBODY, SOMEBODY)
    (tmp_path / "link").symlink_to(home)
    assert str(home) in words(tmp_path / "link")


# ---- root


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_whoever_can_write_where_a_link_lies_can_lead_it_elsewhere(home: Path, tmp_path: Path, hops: int) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to(home)
    place = theirs / "link"
    for hop in range(1, hops):
        place = tmp_path / f"link{hop}"
        place.symlink_to(theirs / "link" if hop == 1 else f"link{hop - 1}")
    assert words(place) == words(place / "inner") == ""
    os.chown(theirs, SOMEBODY, SOMEBODY)
    assert f"{theirs}, in which {place} lies, belongs to another account" in words(place)
    assert f"{theirs}, in which {place / 'inner'} lies, belongs to another account" in words(place / "inner")
    place = tmp_path / "round"
    place.symlink_to("round")
    assert words(place) == ""


def test_root_starts_nothing_there_before_it_is_confirmed_and_is_not_asked_again(home: Path) -> None:
    run = create_run(home, "a", recipe_toml="", effective_toml="", ledger={})
    home.chmod(0o777)
    for action in (lambda: launch(run), lambda: create_run(home, "b", recipe_toml="", effective_toml="", ledger={})):
        with pytest.raises(UsageError, match="every account of this machine") as caught:
            action()
        assert "--trust" in caught.value.remedy
    trust(home)
    require_trusted(home)
    require_trusted(run.path.parent)


def test_what_was_confirmed_is_that_folder_and_no_other_in_its_place(home: Path) -> None:
    home.chmod(0o777)
    trust(home)
    assert is_trusted(home)
    home.rename(home.with_name("before"))
    home.mkdir()
    assert not is_trusted(home)


def test_a_home_can_be_confirmed_before_it_is_there(home: Path) -> None:
    home.rmdir()
    trust(home)
    assert is_trusted(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_command_refuses_and_takes_a_confirmation(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.chmod(0o777)
    assert cli.main(["demo", "--json", "--no-tui"]) == 2
    assert "chmod o-w" in capsys.readouterr().err
    assert cli.main(["runs"]) == 0
    assert cli.main(["runs", "--trust"]) == 0
    assert is_trusted(home)


@pytest.mark.parametrize("answer", [True, False])
def test_somebody_at_a_terminal_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr("loratui.tui.commands.common.can_ask", lambda: True)
    monkeypatch.setattr("loratui.tui.commands.common.ask", lambda words, default: asked.append(words) or answer)
    home.chmod(0o777)
    assert cli.main(["resume", "no-such-run"]) == 2
    assert (asked, is_trusted(home)) == (["Use it anyway, from now on?"], answer)


def test_a_run_of_somebody_else_is_marked_and_not_resumed_by_root_in_silence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = create_run(home, "a", recipe_toml="", effective_toml="", ledger={})
    assert summarise(run).owner == ""
    os.chown(run.path, SOMEBODY, SOMEBODY)
    assert summarise(run).owner == f"uid {SOMEBODY}"
    trust(home)  # the home is one thing, a run another
    with pytest.raises(UsageError, match=f"belongs to another account, uid {SOMEBODY}"):
        launch(run)
    assert cli.main(["runs"]) == 0
    assert f"{run.name} (of uid {SOMEBODY})" in capsys.readouterr().out
    assert cli.main(["status", run.name, "--trust"]) == 0
    require_own(run.path)
    assert open_run(home, run.name) == run


def test_another_account_than_root_is_told_and_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(home, SOMEBODY, SOMEBODY)
    home.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert cli.main(["resume", "no-such-run"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {home} can be written by every account of this machine. Close it: chmod o-w")
    assert "no run no-such-run" in told


# ---- compiled code


def test_compiled_code_lies_in_the_home_unless_somebody_else_made_the_folder(home: Path) -> None:
    run = create_run(home, "a", recipe_toml="", effective_toml="", ledger={})
    shared = home / "compiled"
    assert compiled_folder(run) == shared
    shared.mkdir(mode=0o700)
    assert compiled_folder(run) == shared
    shared.chmod(0o777)
    assert compiled_folder(run) == run.cache / "compiled"
    shared.chmod(0o700)
    os.chown(shared, SOMEBODY, SOMEBODY)
    assert compiled_folder(run) == run.cache / "compiled"
    shared.rmdir()
    shared.symlink_to("/tmp")
    assert compiled_folder(run) == run.cache / "compiled"


def test_every_cache_of_compiled_code_is_named_to_children_and_a_persons_own_is_kept() -> None:
    env = children.environment(
        {"TRITON_CACHE_DIR": "/mine", "TORCH_EXTENSIONS_DIR": "relative"}, compiled=Path("/home/x/compiled")
    )
    assert {name: env[name] for name in env if name != "PYTHONSAFEPATH"} == {
        "TORCHINDUCTOR_CACHE_DIR": "/home/x/compiled/inductor",
        "TRITON_CACHE_DIR": "/mine",
        "TORCH_EXTENSIONS_DIR": "/home/x/compiled/extensions",
        "CUDA_CACHE_PATH": "/home/x/compiled/cuda",
    }
