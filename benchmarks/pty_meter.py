"""Runs a command in a terminal of its own making and measures what it sends: when the first byte and the first whole
screen come, and how many bytes flow. Used by the other benchmarks; standard library only."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Terminal:
    """A child process behind a pty whose output is kept with its times."""

    pid: int
    fd: int
    started: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """Seconds since the start, and what came then."""

    @classmethod
    def start(
        cls, command: Sequence[str], *, columns: int = 120, rows: int = 40, environ: Mapping[str, str] | None = None
    ) -> Terminal:
        """Starts `command` in a terminal of that size."""
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environ or {})}
        env.pop("NO_COLOR", None)
        started = time.monotonic()
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], list(command), env)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        return cls(pid, fd, started)

    def read_for(self, seconds: float, until: bytes = b"") -> bytes:
        """Reads for so long, or until `until` has come, and returns what came."""
        end = time.monotonic() + seconds
        got = b""
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                part = os.read(self.fd, 1 << 16)
            except OSError:
                break
            if not part:
                break
            self.chunks.append((time.monotonic() - self.started, part))
            got += part
            if until and until in got:
                break
        return got

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self.fd, keys.encode())

    def close(self) -> None:
        """Ends the child and the terminal."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(self.fd)
            os.waitpid(self.pid, 0)

    def cpu_s(self) -> float:
        """Processor time that the child has used, seconds."""
        with open(f"/proc/{self.pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
