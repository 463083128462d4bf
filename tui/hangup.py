"""Ends the app when its terminal is gone, even where SIGHUP is ignored (nohup): a dropped link leaves nothing that spins."""

from __future__ import annotations

import os
import select
import threading

_LOOK_EVERY_MS = 300


def watch(fd: int) -> None:
    """Watches a terminal from a thread of its own and ends the process with exit code 129 when it hangs up.

    The process holds nothing that would be lost: runs are processes of their own.
    """
    threading.Thread(target=_wait, args=(fd,), name="hang-up", daemon=True).start()


def _wait(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, 0)
    while True:
        if any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(_LOOK_EVERY_MS)):
            os._exit(129)
