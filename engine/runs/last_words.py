"""The events of a supervisor: written to the run's log between two trainers, or kept until there is room for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from loratui.engine.errors import DiskError, LoratuiError
from loratui.engine.runs.event_log import EventLog

_SAY_EVERY_S = 1.0


class LastWords:
    """What a supervisor says in the log of its run, which may move."""

    def __init__(self, log: Callable[[], Path]) -> None:
        """`log` tells where the log is now."""
        self._log = log
        self.unsaid: list[tuple[str, dict[str, object]]] = []
        """Events that no volume has taken."""

    def record(self, type: str, **fields: object) -> None:
        """One event; the log is opened for it alone, since the trainer has written meanwhile.

        A log that cannot be written must not end the run: the event is kept on another volume, or here until there is room.
        """
        self.unsaid.append((type, fields))
        self._say()

    def say_the_rest(self, in_vain: Callable[[], bool]) -> None:
        """Waits for room for the last word, which no other volume takes, until it is `in_vain`."""
        while self.unsaid and not in_vain():
            time.sleep(_SAY_EVERY_S)
            self._say()

    def _say(self) -> None:
        try:
            with EventLog.open(self._log()) as log:
                while self.unsaid:
                    type, fields = self.unsaid[0]
                    try:
                        log.append(type, durable=True, **fields)
                    except DiskError as error:
                        print(f"{type} {fields} was not logged: {error}", file=sys.stderr, flush=True)
                        if not log.is_kept:
                            return
                    del self.unsaid[0]
        except LoratuiError as error:
            print(f"{[type for type, _ in self.unsaid]} was not logged: {error}", file=sys.stderr, flush=True)
