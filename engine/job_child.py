"""The other side of `jobs`: `python -m loratui.engine.job_child MODULE` does what it is asked on its standard input.

The module has a function `begin(parent, **options)`, which makes everything ready and returns what answers a request: with a value for
JSON, or with `Content`. What that raises becomes `failed`. Where the parent cancels or is gone, a request that is being answered ends by
SIGTERM; whoever has something to finish first handles that signal.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from loratui.engine.durable import write_all
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.secrecy import hidden
from loratui.engine.untrusted import parse_json

Answer = Callable[[Any], Any]


class Content(NamedTuple):
    """An answer with bytes that follow it."""

    value: Any
    content: bytes


class Parent:
    """Whoever started this process."""

    def __init__(self, out: int) -> None:
        """`out` is the pipe to it; it is listened to on standard input."""
        self._out = out
        self._speaking = threading.Lock()
        self._asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting, self._busy = True, False
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def progress(self, value: Any) -> None:
        """Tells how far it is."""
        self._say({"type": "progress", "is": value})

    def serve(self, begin: Callable[..., Answer]) -> int:
        """Answers until nobody waits any more; the exit code."""
        try:
            answer = begin(self, **self._asked.get()["is"])
        except LoratuiError as error:
            self._fail(error)
            return int(error.exit_code)
        self._say({"type": "ready", "is": None})
        for request in self._requests():
            try:
                answered = answer(request)
            except Exception as error:
                self._fail(error)
                continue
            value, content = answered if isinstance(answered, Content) else (answered, b"")
            self._say({"type": "done", "is": value, "bytes": len(content)}, content)
        return 0

    def _requests(self) -> Iterator[Any]:
        while (message := self._asked.get()) is not None and self._waiting:
            self._busy = True
            yield message["is"]
            self._busy = False

    def _listen(self) -> None:
        left = b""
        while part := os.read(0, 1 << 16):
            *lines, left = (left + part).split(b"\n")
            for message in map(parse_json, lines):
                if message["type"] == "cancel":
                    return self._leave()
                self._asked.put(message)
        return self._leave()

    def _leave(self) -> None:
        self._waiting = False
        self._asked.put(None)
        if self._busy:
            os.kill(os.getpid(), signal.SIGTERM)

    def _fail(self, error: Exception) -> None:
        known = error if isinstance(error, LoratuiError) else _explained(error)
        # Libraries quote what they were given.
        told = {"message": hidden(known.message), "remedy": hidden(known.remedy), "code": getattr(error, "code", "")}
        self._say({"type": "failed", "is": {**told, "exit_code": int(known.exit_code)}})

    def _say(self, message: dict[str, Any], content: bytes = b"") -> None:
        data = json.dumps(message, allow_nan=False).encode("ascii") + b"\n" + content
        with self._speaking:
            try:
                write_all(self._out, data)
            except BrokenPipeError:
                os._exit(1)  # the parent is gone, from whichever thread it shows; what is to be kept is on the disk


def _explained(error: Exception) -> LoratuiError:
    """An error that nobody put into words; where it came from goes to what the parent may show of it."""
    if type(error).__name__ == "SchemaError":  # presets know nothing of the engine's errors
        return UsageError(str(error))
    traceback.print_exc()
    return LoratuiError(
        f"loratui failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}", exit_code=ExitCode.CRASHED
    )


def main() -> int:
    """Serves the module that the command line names."""
    os.umask(0o077)
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    return Parent(out).serve(importlib.import_module(sys.argv[1]).begin)


if __name__ == "__main__":
    from loratui.engine import job_child  # the one that jobs import: this module is a second copy of it

    sys.exit(job_child.main())
