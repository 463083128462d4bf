"""TOML that anybody may have written: one kind of error, in little time, and the right line in it."""

from __future__ import annotations

import contextlib
import os
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.planning.recipe import read_recipe
from loratui.presets import find_presets
from loratui.presets.schema import SchemaError, parse_value
from loratui.presets.toml_file import located, read_toml
from loratui.presets.toml_text import MOST_BYTES, parse_toml, read_text
from loratui.tui import settings

N = MOST_BYTES
REFUSED = {
    "deep lists": "a=" + "[" * (N - 10),
    "deep tables": "a=" + "{a=" * (N // 3 - 10),
    "a dotted name": "a." * (N // 2 - 10) + "a=1",
    "a dotted name with spaces": "a . " * (N // 4 - 10) + "a=1",
    "a name of quoted parts": '"".' * (N // 3 - 10) + "a=1",
    "a dotted heading": "[" + "a." * (N // 2 - 10) + "a]",
    "the same heading again": "[a]\n" * (N // 4),
    "a string without end": 'a="' + '\\"' * (N // 2 - 10),
    "quotes": '"' * N,
    "a number without end": "a=" + "9" * (N - 10),
    "a number with underscores": "a=" + "9_9" * (N // 3 - 10),
    "too long": " " * (N + 1),
    "zero": "\0",
}
TAKEN = {
    "headings": "\n".join(f"[a{i}.b.c.d.e.f.g]" for i in range(N // 24)),
    "lists of tables": "[[a]]\n[a.b]\n" * (N // 12),
    "small lists": "a=[" + "[]," * (N // 3 - 10) + "]",
    "escapes": 'a="' + "\\u00e9" * (N // 6 - 10) + '"',
    "newlines in a list": "a=[" + "\n" * (N - 10) + "]",
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_text_has_one_error_in_little_time(name: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its kind is the point
        parse_toml(REFUSED[name])
    assert str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", TAKEN)
def test_long_text_takes_little_time(name: str) -> None:
    started = time.process_time()
    parse_toml(TAKEN[name])
    assert time.process_time() - started < 2


PIECES = ["a", ".", "=", "[", "]", "{", "}", '"', "'", '"""', "'''", "\\", "\n", "#", " ", "1", ",", "é"]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_it_says_what_the_parser_says_of_all_else(text: str) -> None:
    """No bracket in a string or comment counts, whatever stands around it."""
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        table = tomllib.loads(text)
        if _depth(table) < 8 and text.count(".") < 8:
            assert parse_toml(text) == table
    with contextlib.suppress(ValueError):
        parse_toml(text)


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    brackets = "[" * 40
    text = f'a = "{brackets}\\"{brackets}" # {brackets}\nb = \'{brackets}\'\nc = """\n{brackets}""{brackets}""""\nd = \'\'\'{brackets}\'\'{brackets}\'\'\''
    assert list(parse_toml(text)) == ["a", "b", "c", "d"]


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    for path in (tmp_path / "a.toml", tmp_path, Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(OSError):  # noqa: PT011 - its kind is the point
            read_text(path)
        with pytest.raises(SchemaError):
            read_toml(path)


LINES = [
    *("[" * N, "[[" + "a" * N, "[" + "] " * (N // 2), " " * N + "a", '"' * N, "'a'" * (N // 3), "a" * N, "a=" * (N // 2)),
    *("[a]\n" * (N // 4), "a=1\n" * (N // 4), "\n" * N, "\x0b" * N, ("[" * 60 + "\n") * (N // 61)),
]


@pytest.mark.parametrize("text", LINES, ids=range(len(LINES)))
def test_the_line_is_found_in_little_time(text: str) -> None:
    started = time.process_time()
    located("f", text, "x", "y")
    located("f", text, "", "y")
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "section", "name", "line"),
    [
        ("format = 1\n[a]\nb = 1\n", "a", "b", 3),
        ("x = '\x0b\x85'\n[a]\n'b' = 1\n", "a", "b", 3),
        ('a.b = 1\n["a"]\nb = 1\n', "a", "b", 1),
        ("[variants.p]\n[variants.p.a]\n  b=2", "variants.p.a", "b", 3),
        ("[[a]]\n[ c ]\n", "", "c", 2),
        ("# [a]\n[a.b]\n", "", "a", 2),
        ("[a]\n", "a", "b", 0),
    ],
)
def test_the_line_is_the_right_one(text: str, section: str, name: str, line: int) -> None:
    assert located("f", text, section, name) == (f"f, line {line}: " if line else "f: ")


def test_a_hostile_preset_is_told_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "good.toml").write_text("[adapter]\nrank = 7\n")
    for number, text in enumerate(
        [*REFUSED.values(), *TAKEN.values(), "extends = 'x'\n" * 2, "variants = [1]", "why = 3", "[adapter]\nrank = [[1]]"]
    ):
        (folder / f"bad{number}.toml").write_text(text)
    (folder / "bytes.toml").write_bytes(b"\xff")
    (folder / "folder.toml").mkdir()
    for number in range(60):
        (folder / f"chain{number:02}.toml").write_text(f"extends = 'chain{number + 1:02}'\n")
    started = time.process_time()
    found = find_presets()
    assert time.process_time() - started < 8
    assert [preset.settings.adapter.rank for preset in found.presets if preset.name == "good"] == [7]
    assert all(len(str(problem)) < 1000 for problem in found.problems)
    assert sum("chain" in str(problem) for problem in found.problems) == 60


def test_a_long_chain_of_presets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    folder = tmp_path / "presets"
    folder.mkdir()
    for number in range(1200):
        (folder / f"chain{number}.toml").write_text(f"extends = 'chain{number + 1}'\n")
    from loratui.presets import load_preset

    with pytest.raises(SchemaError, match="extend one another"):
        load_preset("chain0")


def test_hostile_settings_of_the_app_are_told_in_a_few_lines(tmp_path: Path) -> None:
    for text in [*REFUSED.values(), *TAKEN.values(), "\n".join(f"a{i}=1" for i in range(N // 10)), "a" * 1000 + "=1"]:
        (tmp_path / "app.toml").write_text(text)
        (tmp_path / "keys.toml").write_text(text)
        started = time.process_time()
        loaded = settings.load(tmp_path)
        settings.save(settings.AppSettings(bell=False), tmp_path)
        assert time.process_time() - started < 2
        assert 0 < len(loaded.problems) < 400
        assert settings.load(tmp_path).settings.bell is False


def test_a_hostile_recipe_has_one_error(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for text in [*REFUSED.values(), "preset = 1", "[adapter]\nrank = 1e999", "a" * 10_000 + "=1"]:
        path.write_text(text)
        with pytest.raises(SchemaError) as caught:
            read_recipe(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) <= 1000
    path.write_text('changed = [[1], {}, "adapter.rank"]\npreset = "of another machine"\n')
    assert read_recipe(path).changed == {"adapter.rank"}


def test_a_value_that_is_typed_is_bounded_too() -> None:
    for text in ("[" * 100_000, "9" * 100_000, "{a=" * 10_000):
        with pytest.raises(SchemaError):
            parse_value("adapter.rank", text)


@pytest.mark.parametrize(
    "text", ["f.fti .f.ftitle = 0 ", "a=1", "\n".join(f"a{i}=1" for i in range(199)), "format = 99", "# mine\nbell = true\n"]
)
def test_settings_that_are_saved_are_read_again(tmp_path: Path, text: str) -> None:
    """tomlkit puts a value behind a last line without an end, and makes what is no TOML."""
    (tmp_path / "app.toml").write_text(text)
    settings.save(settings.AppSettings(bell=False, price_per_hour=0.5), tmp_path)
    kept = settings.load(tmp_path).settings
    assert (kept.bell, kept.price_per_hour) == (False, 0.5)
    assert ("# mine" in (tmp_path / "app.toml").read_text()) == text.startswith("#")
