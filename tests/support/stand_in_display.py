"""The process that decodes for the screen, with decoders that misbehave at certain names: a crash, an endless loop, a flood."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from loratui.engine.dataset import display_worker, worker_limits
from loratui.engine.dataset.display import Room, Shown
from loratui.engine.job_child import Answer, Parent

_decode = display_worker.decode


def decode(path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
    """As the real one, but for three names."""
    if path.name == "crash.png":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name == "endless.png":
        worker_limits.IMAGE_CPU_S = 0
        with worker_limits.limited():
            while True:
                pass
    if path.name == "flood.png":
        return Shown(1, 1, bytes(4_000_000_000), 1, 1)
    return _decode(path, room, ground)


def begin(parent: Parent) -> Answer:
    """As the real one."""
    display_worker.decode = decode
    return display_worker.begin(parent)
