"""How the actions are cancelled: by a command of any viewer, or since the machine or a person ends this process."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Literal

from loratui.engine.runs.control import Inbox

CANCEL = "cancel_when_finished"
"""The command that cancels what is not done yet."""

Why = Literal["", "cancelled", "interrupted"]

_LOOK_EVERY_S = 0.2


class Stopping:
    """Whether the actions are to stop. Commands that are for a trainer are refused, since none is there."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._why: Why = ""
        self._looked = float("-inf")
        self._mutex = threading.Lock()

    def install(self) -> None:
        """Takes SIGTERM as the end of this process: what was begun is left for the next start."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @property
    def why(self) -> Why:
        """Empty while nobody asked. Looks into the control folder a few times a second at most."""
        with self._mutex:
            if time.monotonic() - self._looked >= _LOOK_EVERY_S:
                self._looked = time.monotonic()
                for command in self._inbox.poll():
                    cancels = command.command == CANCEL
                    if cancels:
                        self._why = self._why or "cancelled"
                    words = "What is not done yet is cancelled." if cancels else "The training has ended."
                    self._inbox.acknowledge(command, cancels, words)
        return self._why

    def wait(self, seconds: float) -> bool:
        """Waits so long, less if it is to stop; whether it is."""
        end = time.monotonic() + seconds
        while not self.why and (left := end - time.monotonic()) > 0:
            time.sleep(min(_LOOK_EVERY_S, left))
        return bool(self.why)

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._why = "interrupted"
