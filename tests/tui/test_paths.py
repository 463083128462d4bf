"""Paths as people type and paste them, and their completion."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loratui.presets.schema import PATHS
from loratui.tui.paths import ENDINGS, completion, path_from_text, path_text


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("", None),
        ("  ", None),
        ("'/a b/c'", "/a b/c"),
        ('"/x"', "/x"),
        (" /y ", "/y"),
        ("'", "'"),
        ("/a\\ b/c\\(1\\)", "/a b/c(1)"),
        ("/it\\'s/here", "/it's/here"),
        ("/a' b'/c", "/a b/c"),
        ("/ends with\\", "/ends with\\"),
        ("/two words\\ here", "/two words\\ here"),
        ("file:///a%20b/%C3%A4", "/a b/ä"),
        ("owner/name", "owner/name"),
    ],
)
def test_paths_as_people_paste_them(typed: str, path: str | None) -> None:
    assert path_from_text(typed) == (Path(path) if path else None)


def test_the_home_folder_is_found_or_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_from_text("~/a") == tmp_path / "a"
    assert path_from_text("~/my\\ a") == tmp_path / "my a"
    assert path_from_text("~no-such-user/a") == Path("~no-such-user/a")


def test_a_variable_at_the_front_is_filled_in_as_a_shell_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORK", str(tmp_path))
    monkeypatch.delenv("NOTHING", raising=False)
    (tmp_path / "my photos").mkdir()
    for typed in ("$WORK/my photos", "${WORK}/my\\ photos", '"$WORK/my photos"'):
        assert path_from_text(typed) == tmp_path / "my photos"
    for typed in ("'$WORK/my photos'", "$NOTHING/a", "/costs $WORK"):
        assert path_from_text(typed) == Path(typed.strip("'"))
    assert completion("$WORK/my") == "$WORK/my photos"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$WORK").mkdir()
    assert path_from_text("$WORK") == Path("$WORK")


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", ["my photos", "it's mine", 'the "best"'])
def test_what_tab_completed_behind_a_quote_is_found_without_the_quote_that_closes_it(
    tmp_path: Path, quote: str, name: str
) -> None:
    (tmp_path / name).mkdir()
    completed = completion(f"{quote}{tmp_path}/{name[:2]}")
    assert completed == f"{quote}{tmp_path}/{name}"
    assert path_from_text(completed) == tmp_path / name


def test_a_name_with_a_backslash_or_a_quote_that_exists_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("a\\ b", "it's", '"x"'):
        (tmp_path / name).mkdir()
        assert path_text(f"{tmp_path}/{name}") == f"{tmp_path}/{name}"


@given(st.text(st.characters(exclude_categories=("C",)), max_size=30))
def test_what_a_shell_escapes_is_read_as_it_was(name: str) -> None:
    path = f"/no such folder/{name}x"
    assert path_text(shlex.quote(path)) == path


@given(st.text(max_size=30))
@example("\x00/a")
def test_any_text_is_read_and_completed_or_not(text: str) -> None:
    path_from_text(text)
    offered = completion(text)
    assert offered is None or offered.startswith(text)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pho", "photos one"),
        ("photos\\ ", "photos\\ one"),
        ("photos ", "photos one"),
        ("'photos ", "'photos one"),
        ("ph\\o", "ph\\otos\\ one"),
        ("zi", "zip me.ZIP"),
        ("zip\\ m", "zip\\ me.ZIP"),
        ("no", None),
        ("photos one", None),
        ("", None),
    ],
)
def test_the_rest_is_offered_as_the_beginning_was_typed(tmp_path: Path, typed: str, completed: str | None) -> None:
    (tmp_path / "photos one").mkdir()
    (tmp_path / "zip me.ZIP").touch()
    (tmp_path / "note.txt").touch()

    def at(typed: str) -> str:
        return typed[:1] + f"{tmp_path}/{typed[1:]}" if typed.startswith("'") else f"{tmp_path}/{typed}"

    assert completion(at(typed), (".zip",)) == (None if completed is None else at(completed))


def test_every_setting_that_holds_a_path_is_completed() -> None:
    assert set(ENDINGS) == set(PATHS)
