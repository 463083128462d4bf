"""The bounded reader of JSON: one kind of error for whatever stands in a file, in little time and memory."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sys
import time
import tracemalloc
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine import untrusted
from loratui.engine.untrusted import Gone, Unreadable, parse_json, read_json, read_text, read_whole

MIB = 1 << 20
HOSTILE: dict[str, bytes | str] = {
    "deep lists": b"[" * MIB,
    "deep tables": b'{"a":' * (MIB // 5),
    "a string without end": '"' + '\\"' * (MIB // 2),
    "quotes": b'"' * MIB,
    "a digit more than Python reads": b"9" * 5000,
    "a million digits": b"9" * MIB,
    "an infinite float": b"1e999",
    "a long float": b"1." + b"1" * MIB,
    "NaN": b'{"a": NaN}',
    "infinity": b"[-Infinity]",
    "not UTF-8": b'"\xff"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": b"\0" * MIB,
    "nothing": b"",
    "two values": b"{}{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_has_one_error_in_little_time(name: str) -> None:
    started = time.process_time()
    with pytest.raises(Unreadable) as caught:
        parse_json(HOSTILE[name])
    assert time.process_time() - started < 1
    assert caught.value.strerror
    assert isinstance(caught.value, (OSError, ValueError))


@pytest.mark.parametrize("text", [b"[" + b"[]," * (MIB // 3) + b"1]", b"[" + b'{"":{}},' * (MIB // 8) + b"1]"])
def test_many_small_values_stay_within_bounds(text: bytes) -> None:
    tracemalloc.start()
    parse_json(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * MIB


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value).encode(), unique=True) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_back_exactly(value: float) -> None:
    assert parse_json(json.dumps(value)) == value


@given(st.binary() | st.text(alphabet='[]{}",:\\0x9eE+-.NaInfity \n'))
def test_no_text_raises_anything_else(text: bytes | str) -> None:
    with contextlib.suppress(Unreadable):
        parse_json(text, unique=True)


def test_depth_counts_no_brackets_within_strings() -> None:
    assert parse_json('["' + "[" * 100 + '\\"{"]') == ["[" * 100 + '"{']
    assert parse_json("[" * 32 + "]" * 32)
    with pytest.raises(Unreadable, match="more than 32 deep"):
        parse_json("[" * 33 + "]" * 33)
    with pytest.raises(Unreadable, match="more than 2 deep"):
        parse_json('{"a": {"b": {}}}', depth=2)


def test_a_name_that_stands_twice_is_refused_where_it_matters() -> None:
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(Unreadable, match="'a' stands twice"):
        parse_json('{"a": 1, "a": 2}', unique=True)


def test_whole_numbers_have_at_most_64_digits_whatever_python_allows() -> None:
    allowed = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert math.isfinite(float(parse_json("9" * 64)))
        with pytest.raises(Unreadable, match="too many digits"):
            parse_json("9" * 65)
    finally:
        sys.set_int_max_str_digits(allowed)


def test_memory_that_runs_out_is_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Out(json.JSONDecoder):
        def decode(self, *_: Any) -> Any:  # type: ignore[override]
            raise MemoryError

    monkeypatch.setattr(untrusted, "_ANY", Out())
    with pytest.raises(Unreadable):
        parse_json("1")


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert read_text(path) == '{"a": 1}'
    with pytest.raises(Unreadable, match="larger than 5 bytes"):
        read_json(path, 5)
    with pytest.raises(Gone):
        read_json(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "gone")
    path.write_bytes(b"[[1]")
    with pytest.raises(Unreadable, match=r"a\.json: is not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "link", "name"])
def test_what_is_no_plain_file_is_never_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "link":
            (tmp_path / "y").write_text("{}")
            path.symlink_to(tmp_path / "y")
        case "name":
            path = tmp_path / "a\0b\ud800"
    with pytest.raises(Unreadable):
        read_json(path, follow=False)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written over"])
def test_a_file_that_changes_meanwhile_is_refused(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1" * 10)

    class Changing(FileIO):
        def read(self, size: int | None = -1) -> bytes:
            match change:
                case "grows":
                    path.write_bytes(b"1" * 20)
                case "shrinks":
                    path.write_bytes(b"1" * 2)
                case _:
                    path.write_bytes(b"2" * 10)
                    os.utime(path, ns=(1, 1))
            return super().read(size) or b""

    monkeypatch.setattr(untrusted, "FileIO", Changing)
    with pytest.raises(Unreadable, match="changed while"):
        read_whole(path)


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/../../x", "/etc/passwd", "a\0b", "a/..", "a/" + "é" * 128, "\ud800" * 90]
)
def test_a_name_that_leads_out_or_is_too_long_names_no_file(name: str) -> None:
    assert untrusted.inside(Path("/run"), name) is None


@pytest.mark.parametrize("name", ["a", "a/b.png", "..a/b..", "a/.b", "a/" + "b" * 255])
def test_any_other_name_is_a_file_of_the_folder(name: str) -> None:
    assert untrusted.inside(Path("/run"), name) == Path("/run") / name
