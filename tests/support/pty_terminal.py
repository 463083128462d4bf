"""Runs a command in a terminal of its own making: what it sends and when, its keys, its processor time, its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyte


@dataclass
class Terminal:
    """A child process behind a pty, whose output is kept with its times."""

    pid: int
    fd: int
    columns: int
    rows: int
    started: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """Seconds since the start, and what came then."""
    exit_code: int | None = None
    _screen: pyte.Screen | None = None
    _stream: pyte.ByteStream | None = None
    _fed: int = 0
    _rest: bytes = b""

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 40,
        environ: Mapping[str, str] | None = None,
        ignore_hangup: bool = False,
    ) -> Terminal:
        """Starts `command` in a terminal of that size."""
        env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
        env.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", **(environ or {})})
        started = time.monotonic()
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.execvpe(command[0], list(command), env)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.set_inheritable(fd, False)  # a second terminal's child must not keep the first one open
        return cls(pid, fd, columns, rows, started)

    @property
    def sent(self) -> bytes:
        """Everything that the child has sent."""
        return b"".join(part for _, part in self.chunks)

    def read_for(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Reads for so long, or until the condition holds; whether it held."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return until()
            try:
                part = os.read(self.fd, 1 << 16)
            except OSError:
                part = b""
            if not part:
                return until()
            self.chunks.append((time.monotonic() - self.started, part))
        return True

    def forget(self) -> None:
        """Has the screen be what is sent from now on."""
        self.chunks.clear()
        self._screen = None

    def screen(self) -> str:
        """What stands on the screen now, as an emulator sees it."""
        return "\n".join(line.rstrip() for line in self._emulated().display)

    def left_bare(self) -> int:
        """How many cells show the terminal's own background, which may be white where the theme is dark."""
        cells = self._emulated().buffer
        return sum(cells[y][x].bg == "default" for y in range(self.rows) for x in range(self.columns))

    def chunk_that_shows(self, words: str) -> int | None:
        """Which chunk brought words to the screen; None if they never were there. Only what changes is sent, so that words
        on the screen need not stand in one piece in what was sent."""
        import pyte

        screen = pyte.Screen(self.columns, self.rows)
        stream = pyte.ByteStream(screen)
        for number, (_, part) in enumerate(self.chunks):
            stream.feed(_without_what_pyte_lacks(part))
            if any(words in line for line in screen.display):
                return number
        return None

    def shows(self, *words: str, timeout_s: float = 20.0) -> str:
        """Reads until all words are on the screen. Fails with the screen if they never are."""
        end = time.monotonic() + timeout_s
        while True:
            self.read_for(0.03)
            text = self.screen()
            missing = [word for word in words if word not in text]
            if not missing:
                return text
            assert time.monotonic() < end, f"{missing} never came:\n{text}"

    def hides(self, words: str, timeout_s: float = 20.0) -> None:
        """Reads until words are gone from the screen. Fails with the screen if they never are."""
        assert self.read_for(timeout_s, lambda: words not in self.screen()), f"{words} never went:\n{self.screen()}"

    def settles(self, quiet_s: float = 0.15) -> None:
        """Reads until nothing has come for so long."""
        while select.select([self.fd], [], [], quiet_s)[0]:
            before = len(self.chunks)
            self.read_for(0.01)
            if len(self.chunks) == before:  # the child has closed its end
                return

    def _emulated(self) -> pyte.Screen:
        """The screen after all that was sent: what is new since the last look is added to what was there then."""
        import pyte

        size = (self.columns, self.rows)
        if self._screen is None or self._stream is None or (self._screen.columns, self._screen.lines) != size:
            self._screen, self._fed, self._rest = pyte.Screen(*size), 0, b""
            self._stream = pyte.ByteStream(self._screen)
        data = self._rest + b"".join(part for _, part in self.chunks[self._fed :])
        self._fed = len(self.chunks)
        # A sequence may be cut by the end of a chunk: it waits for the rest of it.
        escape = data.rfind(b"\x1b")
        whole = len(data) if escape < 0 or _ENDED.match(data, escape) else escape
        self._rest = data[whole:]
        self._stream.feed(_without_what_pyte_lacks(data[:whole]))
        return self._screen

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self.fd, keys.encode())

    def hang_up(self) -> None:
        """Closes the terminal, as a dropped connection does."""
        os.close(self.fd)
        self.fd = -1

    def ended(self, timeout_s: float) -> bool:
        """Whether the child ends within so many seconds; output is read meanwhile."""
        end = time.monotonic() + timeout_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
                return True
            if time.monotonic() > end:
                return False
            if self.fd >= 0:
                self.read_for(0.05)
            else:
                time.sleep(0.02)

    def close(self) -> None:
        """Ends the child and the terminal."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        if self.fd >= 0:
            os.close(self.fd)

    def cpu_s(self) -> float:
        """Processor time that the child has used, seconds."""
        # The clock of a process's processor time (clock_getcpuclockid(3) of Linux), to the nanosecond: /proc/PID/stat counts ticks,
        # and what wakes by timers is asleep or awake in step with them.
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_mib(self) -> float:
        """Memory that the child holds, MiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_ENDED = re.compile(rb"\x1b(?:[^\[]|\[[0-?]*[ -/]*[@-~])")
"""A sequence that is whole, or one whose cut pyte bears."""


def _without_what_pyte_lacks(data: bytes) -> bytes:
    """pyte prints the ends of sequences that it does not know (kitty's keys, synchronised output) as text."""
    return re.sub(rb"\x1b\[[<>=?][0-9;]*[uqpmn$]+|\x1b\[[?][0-9;]*\$p", b"", data)
