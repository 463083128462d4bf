"""Ends the app or a follower when the terminal is gone, even where SIGHUP is ignored (nohup), so nothing spins."""

from __future__ import annotations

import errno
import os
import select
import sys
import termios
import threading

_LOOK_EVERY_MS = 300


def watch(fd: int) -> None:
    """Watches a terminal from its own thread and ends the process with exit code 129 when it hangs up.

    Nothing is lost: runs are separate processes.
    """
    threading.Thread(target=_wait, args=(fd,), name="hang-up", daemon=True).start()


def watch_output() -> None:
    """As `watch`, for the terminal of plain lines; does nothing for a file or a pipe."""
    try:
        fd = sys.stdout.fileno()
        termios.tcgetattr(fd)
    except termios.error as error:
        if error.args[0] == errno.EIO:  # already gone
            os._exit(129)
        return
    except OSError:  # no descriptor at all
        return
    watch(fd)


def is_gone(fd: int, wait_ms: int = 0) -> bool:
    """Whether the terminal hangs up within so many milliseconds."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(wait_ms))


def _wait(fd: int) -> None:
    while not is_gone(fd, _LOOK_EVERY_MS):
        pass
    os._exit(129)
