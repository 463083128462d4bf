"""A process that reads images for this one: a decoder that crashes, hangs or asks for too much memory costs one image."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from loratui.engine import children
from loratui.engine.dataset.worker_limits import SECONDS_A_IMAGE

SECONDS_TO_BEGIN = 60.0


class WorkerDiedError(Exception):
    """There is no answer, and why; continues the image's name to a sentence."""


class WorkerProcess:
    """One process of a module that serves requests. They are JSON, a line each; the first line of its answers says ready."""

    def __init__(self, module: str, *arguments: str, given_up: Callable[[], bool] = lambda: False) -> None:
        self._command = children.command(module, *arguments)
        self._given_up = given_up
        self._process: subprocess.Popen[bytes] | None = None
        self._read = bytearray()
        self.failure = ""
        """Why it could not be started."""

    @property
    def runs(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._process is not None

    def begin(self) -> bool:
        """Starts it and waits until it is ready; False if it did not come so far, and `failure` says why."""
        with tempfile.TemporaryFile() as said:
            try:
                self._process = children.start(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
                self.line(SECONDS_TO_BEGIN)
            except OSError as error:
                self.failure = error.strerror or str(error)
            except WorkerDiedError:
                if not self._given_up():
                    said.seek(0)
                    last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                    self.failure = last or f"it did not begin within {SECONDS_TO_BEGIN:.0f} s"
            else:
                return True
        self.end()
        return False

    def send(self, request: Any) -> None:
        """Asks; a process that died meanwhile is told of by the missing answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()

    def line(self, limit_s: float) -> bytes:
        """One line of an answer, without its end. Raises `WorkerDiedError`, also if nobody waits for it any more."""
        self._wait(lambda: b"\n" in self._read, limit_s)
        line, _, self._read = self._read.partition(b"\n")
        return bytes(line)

    def content(self, count: int, limit_s: float) -> bytes:
        """So many bytes of an answer. Raises `WorkerDiedError`."""
        self._wait(lambda: len(self._read) >= count, limit_s)
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def end(self) -> None:
        """Ends it at once: it holds nothing that could be lost. It can be started again."""
        process, self._process = self._process, None
        self._read.clear()
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):  # what it did not take
            process.stdin.close()
        process.stdout.close()

    def _wait(self, arrived: Callable[[], bool], limit_s: float) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not arrived():
                if self._given_up() or time.monotonic() > end:
                    raise WorkerDiedError(f"takes more than {limit_s:.0f} s to decode")
                if selector.select(timeout=0.1):
                    part = os.read(self._process.stdout.fileno(), 1 << 16)
                    if not part:
                        raise WorkerDiedError(self._why_it_died())
                    self._read += part

    def _why_it_died(self) -> str:
        assert self._process is not None
        if self._process.wait() == -signal.SIGXCPU:
            return f"takes more than {SECONDS_A_IMAGE} s of processor time to decode"
        return "makes its decoder crash"
