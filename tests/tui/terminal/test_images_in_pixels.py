"""Real pixels: what a terminal is taken for, answers that come late or never, and the bytes of each protocol."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import re
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.dataset.display import Room
from loratui.tui.terminal import full_image, graphics, pixels
from loratui.tui.terminal.graphics import Capability, Tmux
from loratui.tui.terminal.thumbnails import upright_image

XTERM_SIXEL = b"\x1b[6;18;9t\x1b[?63;1;2;4;6;9;15;22c"
XTERM_PLAIN = b"\x1b[?1;2c"
KITTY = b"\x1b_Gi=4242;OK\x1b\\\x1b[6;20;10t\x1b[?62c"


class FakeTerminal:
    """The other end of a pty: answers each question after some time, or never, and keeps what is written to it."""

    def __init__(self, answer: bytes, delay_s: float | None) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""
        self._answer, self._delay_s = answer, delay_s
        self.said = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        answered = 0
        while True:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return
            self.seen += part
            if self.seen.count(graphics._ATTRIBUTES_QUERY) > answered and self._delay_s is not None:
                answered += 1
                threading.Timer(self._delay_s, self._say).start()

    def _say(self) -> None:
        # In two pieces, as a thin line brings it.
        half = len(self._answer) // 2
        os.write(self.master, self._answer[:half])
        time.sleep(0.02)
        os.write(self.master, self._answer[half:])
        self.said.set()

    def press(self, keys: bytes, after_s: float = 0.0) -> None:
        threading.Timer(after_s, os.write, (self.master, keys)).start()

    def waits_for(self, words: bytes, count: int = 1) -> None:
        """Waits until something was written to it so often."""
        end = time.monotonic() + 10
        while self.seen.count(words) < count:
            assert time.monotonic() < end, self.seen[-500:]
            time.sleep(0.005)

    def waits_for_all(self) -> None:
        """Waits until what was written so far has come through."""
        mark = b"-- all --"
        os.write(self.slave, mark)
        self.waits_for(mark)
        self.seen = self.seen.replace(mark, b"")

    def left_over(self) -> bytes:
        """What the app would read as keys."""
        with graphics.raw(self.slave):
            return graphics.read_until(self.slave, lambda data: False, time.monotonic() + 0.15)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    full_image._known.clear()
    yield
    full_image._known.clear()


IMAGE = Image.new("RGB", (64, 48), (200, 40, 40))


@pytest.mark.parametrize(
    ("environ", "tmux", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, None, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, None, "kitty"),
        ({"TERM": "xterm-ghostty"}, None, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, None, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, None, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, None, "iterm"),
        ({"TERM": "xterm-256color"}, None, None),
        ({"TERM": "linux"}, None, "none"),
        ({"TERM": "dumb"}, None, "none"),
        ({"TERM": "screen-256color", "STY": "1.a"}, None, "none"),
        ({"TERM": "tmux-256color"}, Tmux("xterm-kitty kitty(0.32.2)", True), "kitty"),
        ({"TERM": "tmux-256color"}, Tmux("xterm-kitty kitty(0.32.2)", False), None),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, Tmux("xterm-256color XTerm(390)", True), None),
        ({"TERM": "xterm-256color", "LORATUI_PICTURES": "sixel"}, None, "sixel"),
        ({"TERM": "xterm-kitty", "LORATUI_PICTURES": "none"}, None, "none"),
        ({"TERM": "xterm-256color", "LORATUI_PICTURES": "nonsense"}, None, None),
    ],
)
def test_names_say_what_is_certain_and_nothing_else(environ: dict[str, str], tmux: Tmux | None, protocol: str | None) -> None:
    known = graphics.by_name(environ, tmux)
    assert (known.protocol if known else None) == protocol
    if known and tmux and known.protocol == "kitty":
        assert known.tmux


@pytest.mark.parametrize(
    ("reply", "in_tmux", "protocol"),
    [
        (KITTY, False, "kitty"),
        (XTERM_SIXEL, False, "sixel"),
        (XTERM_SIXEL, True, "sixel"),
        (XTERM_PLAIN, False, "none"),
        (b"\x1b[?4c", False, "none"),
        (b"\x1b[?64;14;41c", False, "none"),
        (b"", False, "none"),
    ],
)
def test_answers_mean_what_they_say(reply: bytes, in_tmux: bool, protocol: str) -> None:
    assert graphics.by_answer(reply, in_tmux=in_tmux) == protocol


@pytest.mark.parametrize("delay_s", [0.0, 0.15, 0.8])
def test_a_sixel_terminal_is_found_however_far_away_and_no_answer_is_left_over(delay_s: float) -> None:
    terminal = FakeTerminal(XTERM_SIXEL, delay_s)
    terminal.press(b"x", delay_s + 0.6)
    problem = full_image.show_on(terminal.slave, terminal.slave, IMAGE, "a caption", {"TERM": "xterm-256color"})
    assert problem == ""
    terminal.waits_for_all()
    assert b"\x1bP0;1q" in terminal.seen
    assert b"a caption" in terminal.seen
    assert terminal.seen.endswith(b"\x1b[?25h\x1b[?1049l")
    assert terminal.left_over() == b""


def test_an_image_is_drawn_again_when_the_window_has_another_size_and_keeps_it() -> None:
    terminal = FakeTerminal(XTERM_SIXEL, 0.0)

    def has_columns(columns: int) -> None:
        fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def person() -> None:
        terminal.waits_for(b"any key returns")
        has_columns(120)
        terminal.waits_for(b"any key returns", 2)
        os.write(terminal.master, b"x")

    has_columns(80)
    threading.Thread(target=person, daemon=True).start()
    wide = Image.new("RGB", (640, 80), (200, 40, 40))
    assert full_image.show_on(terminal.slave, terminal.slave, wide, "a caption", {"TERM": "xterm"}) == ""
    terminal.waits_for_all()
    drawn = re.findall(rb'\x1bP[0-9;]*q"1;1;(\d+);', terminal.seen)
    assert drawn == [b"720", b"1080"]
    assert terminal.seen.count(b"any key returns") == 2
    assert terminal.seen.count(b"\x1b[?1049h") == terminal.seen.count(b"\x1b[?1049l") == 1


def test_a_silent_terminal_costs_a_moment_and_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "PATIENCE_S", 0.3)
    monkeypatch.setattr(graphics, "GRACE_S", 0.6)
    terminal = FakeTerminal(b"", None)
    terminal.press(b"x", 0.4)
    began = time.monotonic()
    problem = full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", {"TERM": "xterm-256color"})
    assert "did not answer" in problem
    assert 0.5 < time.monotonic() - began < 2.0
    asked = terminal.seen.count(graphics._ATTRIBUTES_QUERY)
    assert "did not answer" in full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", {"TERM": "xterm-256color"})
    assert terminal.seen.count(graphics._ATTRIBUTES_QUERY) == asked == 1


def test_an_answer_after_the_patience_is_over_never_reaches_the_app_as_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "PATIENCE_S", 0.2)
    monkeypatch.setattr(graphics, "GRACE_S", 2.0)
    terminal = FakeTerminal(XTERM_SIXEL, 0.7)
    terminal.press(b"q", 0.3)
    full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", {"TERM": "xterm-256color"})
    assert terminal.said.wait(10)
    assert terminal.left_over() == b""


def test_reports_are_no_keys_but_escape_is_one() -> None:
    terminal = FakeTerminal(b"", None)
    with graphics.raw(terminal.slave):
        terminal.press(KITTY + b"\x1b[?2026;2$y", 0.05)
        terminal.press(b"\x1b", 0.4)
        began = time.monotonic()
        graphics.wait_for_key(terminal.slave, Capability("kitty", ""))
    assert 0.4 <= time.monotonic() - began < 2.0


def test_a_terminal_that_goes_away_ends_the_wait() -> None:
    master, slave = os.openpty()
    threading.Timer(0.2, os.close, (master,)).start()
    began = time.monotonic()
    graphics.wait_for_key(slave, Capability("kitty", ""))
    assert time.monotonic() - began < 3.0


def test_a_terminal_without_images_says_so_at_once_and_draws_nothing() -> None:
    terminal = FakeTerminal(XTERM_PLAIN, 0.0)
    assert "no images" in full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", {"TERM": "xterm"})
    terminal.waits_for_all()
    assert b"\x1b[?1049h" not in terminal.seen


@pytest.mark.parametrize("term", ["tmux-256color", "screen", "screen-256color"])
def test_a_tmux_at_the_other_end_of_ssh_is_not_asked_what_it_would_take_for_a_title(term: str) -> None:
    terminal = FakeTerminal(XTERM_PLAIN, 0.0)
    why = full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", {"TERM": term})
    assert "from inside tmux" in why
    assert term in why
    terminal.waits_for_all()
    assert b"\x1b_G" not in terminal.seen
    assert graphics._ATTRIBUTES_QUERY in terminal.seen


@pytest.mark.parametrize(
    ("tmux", "said", "unsaid"),
    [
        (Tmux("xterm-256color XTerm(379)", True), "the terminal around it (xterm-256color) is not known", "allow-passthrough"),
        (Tmux("", True), "the terminal around it is not known", "allow-passthrough"),
        (Tmux("xterm-256color XTerm(379)", False), "set -g allow-passthrough on", "not known"),
    ],
)
def test_in_tmux_what_is_missing_is_said_and_not_what_is_there(
    tmux: Tmux, said: str, unsaid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphics, "ask_tmux", lambda environ: tmux)
    terminal = FakeTerminal(XTERM_PLAIN, 0.0)
    environ = {"TERM": "tmux-256color", "TMUX": "x"}
    why = full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", environ)
    assert said in why
    assert unsaid not in why


@pytest.mark.parametrize(
    ("said", "hands_on"), [("1", True), ("0", False), ("on", True), ("all", True), ("off", False), ("", False)]
)
def test_each_version_of_tmux_says_in_its_own_words_whether_it_hands_images_on(
    said: str, hands_on: bool, tmp_path: Path
) -> None:
    stand_in = tmp_path / "tmux"
    stand_in.write_text(f"#!/bin/sh\nprintf 'xterm-kitty kitty(0.26.5)\\n3 7\\n{said}\\n'\n")
    stand_in.chmod(0o755)
    tmux = graphics.ask_tmux({"TMUX": "/tmp/tmux-0/default,1,0", "PATH": str(tmp_path)})
    assert tmux == Tmux("xterm-kitty kitty(0.26.5)", hands_on, (3, 7))


def test_a_terminal_that_does_not_tell_its_cells_is_measured_by_its_window() -> None:
    terminal = FakeTerminal(XTERM_SIXEL.replace(b"\x1b[6;18;9t", b""), 0.0)
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 43, 157, 1099, 731))
    with graphics.raw(terminal.slave):
        assert graphics.detect(terminal.slave, terminal.slave, {"TERM": "xterm"}).cell_px == (7, 17)


def test_after_tmux_moved_to_another_terminal_that_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Tmux("xterm-kitty kitty(0.26.5)", True)
    monkeypatch.setattr(graphics, "ask_tmux", lambda environ: outside)
    terminal = FakeTerminal(XTERM_PLAIN, 0.0)
    environ = {"TERM": "tmux-256color", "TMUX": "x"}
    terminal.press(b"x", 0.3)
    assert full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", environ) == ""
    outside = Tmux("xterm-256color XTerm(379)", True)
    assert "tmux shows no sixel" in full_image.show_on(terminal.slave, terminal.slave, IMAGE, "c", environ)


def test_kitty_gets_the_image_in_small_pieces_that_add_up_to_a_png() -> None:
    noise = Image.effect_noise((200, 150), 80).convert("RGB")
    parts = list(pixels.kitty(noise, 20, 8))
    assert len(parts) > 3
    assert all(len(part) < 4200 for part in parts)
    assert b"q=2" in parts[0]
    assert b",c=20,r=8" in parts[0]
    payload = b"".join(re.match(rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\$", part).group(1) for part in parts)  # type: ignore[union-attr]
    assert Image.open(io.BytesIO(base64.b64decode(payload))).tobytes() == noise.tobytes()
    assert [b"m=1" in part for part in parts] == [True] * (len(parts) - 1) + [False]


def test_iterm_gets_one_file() -> None:
    (part,) = pixels.iterm(IMAGE, 10, 5)
    head, _, data = part.partition(b":")
    assert head.startswith(b"\x1b]1337;File=inline=1;size=")
    assert Image.open(io.BytesIO(base64.b64decode(data.rstrip(b"\x07")))).size == IMAGE.size


def _unsixel(data: bytes) -> Image.Image:
    """Draws sixels as a VT340 does."""
    head = re.match(rb'\x1bP[0-9;]*q"1;1;(\d+);(\d+)', data)
    assert head
    image = Image.new("RGB", (int(head.group(1)), int(head.group(2))))
    palette: dict[int, tuple[int, int, int]] = {}
    x = y = colour = 0
    for token in re.finditer(rb"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|([?-~])", data[head.end() : -2]):
        define, r, g, b, choose, count, repeated, move, single = token.groups()
        if define:
            palette[int(define)] = tuple(round(int(c) * 2.55) for c in (r, g, b))  # type: ignore[assignment]
        elif choose:
            colour = int(choose)
        elif move:
            x, y = 0, y + (6 if move == b"-" else 0)
        else:
            bits = (repeated or single)[0] - 63
            end = x + int(count or 1)
            for at in range(x, end):
                for bit in (bit for bit in range(6) if bits >> bit & 1):
                    image.putpixel((at, y + bit), palette[colour])
            x = end
    return image


def test_sixels_draw_the_image_again() -> None:
    image = Image.new("RGB", (37, 20), (10, 120, 240))
    image.paste((250, 200, 0), (5, 3, 30, 16))
    drawn = _unsixel(b"".join(pixels.sixel(image)))
    assert drawn.size == image.size
    worst = max(abs(a - b) for a, b in zip(drawn.tobytes(), image.tobytes(), strict=True))
    assert worst <= 3


def test_a_sequence_through_tmux_doubles_its_escapes() -> None:
    assert pixels.through_tmux(b"\x1b_Ga\x1b\\") == b"\x1bPtmux;\x1b\x1b_Ga\x1b\x1b\\\x1b\\"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
def test_every_kind_of_image_is_fitted(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (300, 100)).save(path)
    shown = upright_image(path, Room(150, 150, enlarge=False))
    assert (shown.source_width, shown.source_height) == (300, 100)
    image = Image.frombytes("RGB", (shown.width, shown.height), shown.rgb)
    assert image.size == (150, 50)
    assert pixels.fitted(image, 90, 90).size == (90, 30)
    assert pixels.fitted(image.resize((10, 10)), 900, 900).size == (40, 40)
