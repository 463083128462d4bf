"""What a trainer begins before its libraries are loaded, so that the disk and the card work meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loratui.engine import families
from loratui.engine.errors import LoratuiError
from loratui.engine.families.fingerprints import begin_to_read
from loratui.engine.limits import CHUNK_BYTES
from loratui.engine.machine import hardware
from loratui.engine.planning.bases import find_base
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.world import World
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.untrusted import open_regular
from loratui.engine.words import GIB

ROOM = 0.5
"""Share of the free main memory that files read ahead may take."""


def begin(run: RunDirectory, world: World) -> None:
    """Begins to make the digests that decide the names of cached files, to read the denoiser ahead, and to make the card ready. What
    goes wrong is told when it is needed."""
    with contextlib.suppress(LoratuiError, ValueError):
        settings = read_recipe(run.effective).settings
        base = find_base(settings.base)
        denoiser = families.family(base.family).denoiser.name
        begin_to_read(run.fingerprints, [part for name, part in base.parts.items() if name != denoiser])
        if denoiser in base.parts:
            _in_the_background(read_ahead, base.parts[denoiser].files)
        if settings.memory.device != "cpu" and world.local_size == 1:  # of several, each process first chooses its card
            _in_the_background(_wake_the_card)


def _in_the_background(work: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=work, args=args, name=work.__name__.strip("_"), daemon=True).start()


def _wake_the_card() -> None:
    """The driver takes seconds for a first computation, and lets others work meanwhile."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import torch

        if torch.version.cuda:
            torch.ones(8, device="cuda").sum().item()


def read_ahead(paths: Sequence[Path]) -> None:
    """Has the system bring files into its memory, where it has room for them."""
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    with contextlib.suppress(OSError):
        if sum(path.stat().st_size for path in paths) > hardware.ram().free_gib * GIB * ROOM:
            return
        for path in paths:
            with open_regular(path) as file:
                for start in range(0, os.fstat(file.fileno()).st_size, CHUNK_BYTES):  # Linux takes little more at once
                    os.posix_fadvise(file.fileno(), start, CHUNK_BYTES, os.POSIX_FADV_WILLNEED)
