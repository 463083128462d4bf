"""What the hub's process says to the one that started it, and its end where nothing comes any more."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

_speaking = threading.Lock()


def say(type: str, content: Any) -> None:
    """One line for the parent."""
    with _speaking:
        try:
            sys.stdout.write(json.dumps({"type": type, "is": content}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(1)  # the parent is gone, from whichever thread it shows; what arrived is on the disk


class Watch:
    """Ends the process where a server keeps it busy without an end: a byte now and then resets every time limit of a socket."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def alive(self) -> None:
        """Something was done."""
        self._last = time.monotonic()

    def begin(self, silence_s: float, failure: dict[str, str]) -> None:
        """From now on so many seconds without `alive` are the end, told as `failure`."""
        self.alive()
        threading.Thread(target=self._look, args=(silence_s, failure), daemon=True).start()

    def _look(self, silence_s: float, failure: dict[str, str]) -> None:
        while (left := self._last + silence_s - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
        say("failed", failure)
        os._exit(1)


watch = Watch()
"""That of this process."""
