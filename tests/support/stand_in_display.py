"""The process that decodes for the screen, with decoders that misbehave at certain names: a crash, an endless loop, a flood."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from loratui.engine.dataset import display_worker, worker_limits
from loratui.engine.dataset.display import Room, Shown

_decode = display_worker.decode


def decode(path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
    """As the real one, but for three names."""
    if path.name == "crash.png":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name == "endless.png":
        worker_limits.SECONDS_A_IMAGE = 0
        worker_limits.limit_seconds()
        while True:
            pass
    if path.name == "flood.png":
        return Shown(1, 1, bytes(4_000_000_000), 1, 1)
    return _decode(path, room, ground)


if __name__ == "__main__":
    display_worker.decode = decode
    sys.exit(display_worker.main())
