"""What a terminal may send: no byte of it ends the app, and what is text arrives as text."""

from __future__ import annotations

import os
import pty
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from loratui.tui.terminal import driver
from loratui.tui.terminal.driver import Keys, Screen, TypedText

MOUSE_AT_COLUMN_100 = b"\x1b[M" + bytes((32, 32 + 100, 33))


def typed(*pieces: bytes) -> str:
    text = TypedText()
    return "".join(text.take(piece) for piece in pieces) + text.rest()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([b"caf\xe9 x"], "caf\ufffd x"),
        ([b"\x1b[200~caf\xe9\x1b[201~"], "\x1b[200~caf\ufffd\x1b[201~"),
        (["Mädchen 東京".encode()], "Mädchen 東京"),
        ([bytes((byte,)) for byte in "é東".encode()], "é東"),
        ([b"a", MOUSE_AT_COLUMN_100, b"b"], "ab"),
        ([b"a\x1b[M\x20", b"\xc3\xa9b"], "ab"),  # column 163, row 137: together they would be a letter
        ([b"a\x1b[M", b"\x20\xff", b"\xffq"], "aq"),
        ([b"\x1b[<0;100;5M"], "\x1b[<0;100;5M"),
        ([b"\x1b[M"], "\x1b[M"),
    ],
)
def test_bytes_that_are_no_text(pieces: list[bytes], text: str) -> None:
    assert typed(*pieces) == text


@given(st.text().filter(lambda text: "\x1b" not in text), st.data())
def test_text_arrives_as_it_was_typed_however_it_is_cut(text: str, data: st.DataObject) -> None:
    sent = text.encode("utf-8")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert typed(*pieces) == text


@given(st.lists(st.binary(max_size=40) | st.from_regex(rb"\x1b\[[<0-9:;MmutR~]{0,20}[uMmtR~]", fullmatch=True), max_size=6))
def test_nothing_that_is_sent_raises(pieces: list[bytes]) -> None:
    keys = Keys(lambda words: None)
    for piece in pieces:
        list(keys.take(piece))


@pytest.mark.parametrize(
    "pieces", [[b"\x1b[200~some text"], [b"\x1b[2", b"00~some", b" text"], [b"\x1b[200~x\x1b[201~\x1b[200~some text"]]
)
def test_a_paste_whose_end_is_lost_does_not_take_the_keys_for_ever(
    pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(driver.time, "monotonic", lambda: now[0])
    told: list[str] = []
    keys = Keys(told.append)
    for piece in pieces:
        list(keys.take(piece))
    now[0] += 1  # a link that stalls
    assert not list(keys.take(b""))
    now[0] += 10
    assert [event.text for event in keys.take(b"") if isinstance(event, events.Paste)] == ["some text"]
    assert len(told) == 1
    assert [event.key for event in keys.take(b"q") if isinstance(event, events.Key)] == ["q"]
    now[0] += 10
    assert not list(keys.take(b""))


@pytest.mark.parametrize("inside", [b"\x1b[?2026;2$y", b"\x1b[31m", b"\x1b[<35;10;10M", b"\x1b[A", b"\0", b"\x1b\x1b"])
@pytest.mark.parametrize("cut", range(1, 32))
def test_what_stands_in_a_paste_presses_no_keys(inside: bytes, cut: int) -> None:
    sent = b"a\x1b[200~left" + inside + b"right\x1b[201~b"
    keys = Keys(lambda words: None)
    got = [*keys.take(sent[:cut]), *keys.take(sent[cut:])]
    assert [event.text for event in got if isinstance(event, events.Paste)] == ["leftright"]
    assert [event.key for event in got if isinstance(event, events.Key)] == ["a", "b"]


def test_a_sequence_that_means_nothing_is_left_out_and_told() -> None:
    told: list[str] = []
    keys = Keys(told.append)
    got = list(keys.take(b"a\x1b[99999999u\x1b[0;:ub"))
    assert [event.key for event in got if isinstance(event, events.Key)] == ["a", "b"]
    assert len(told) == 2
    assert "ignored a sequence" in told[0]


def test_a_terminal_that_takes_nothing_more_is_told_once_and_holds_nobody_up() -> None:
    master, slave = pty.openpty()
    told: list[BaseException] = []
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        screen = Screen(stream, told.append)
        screen.write("there ✔ \udce9")
        assert os.read(master, 100) == "there ✔ ?".encode()
        null = os.open("/dev/full", os.O_WRONLY)
        os.dup2(null, stream.fileno())
        for _ in range(100):
            screen.write("x")
        os.close(null)
    os.close(master)
    assert [error.errno for error in told if isinstance(error, OSError)] == [28]


def test_a_terminal_that_another_program_made_non_blocking_gets_all() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    told: list[BaseException] = []
    many = "ä" * 200_000
    got = bytearray()

    def read() -> None:
        while part := os.read(reader, 1 << 16):
            got.extend(part)

    thread = threading.Thread(target=read)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        thread.start()
        Screen(stream, told.append).write(many)
    thread.join(10)
    os.close(reader)
    assert got.decode() == many
    assert not told
