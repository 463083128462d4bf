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
from loratui.engine.training import compiling_ahead, torch_facts
from loratui.engine.training.compiling_ahead import CompilingAhead
from loratui.engine.untrusted import open_regular
from loratui.engine.words import GIB

ROOM = 0.5
"""Share of the free main memory that files read ahead may take."""


def prepare() -> None:
    """Prepares this process for training, before anything of torch is loaded."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded while training
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait by spinning take cores from other work; a step then takes several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Compiled blocks with gradients of our own are kept on the disk too: their names there depend on the whole traced code.
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE_ALLOW_CUSTOM_AUTOGRAD", "1")
    os.environ.setdefault("HF_ENABLE_PARALLEL_LOADING", "1")  # the files of a base at once
    torch_facts.let_memory_grow()


def begin(run: RunDirectory, world: World, *, trains: bool) -> CompilingAhead | None:
    """Begins to make the digests that decide the names of cached files, to read the denoiser ahead, to make the card ready, and to
    start what compiles for a training. What goes wrong is told when it is needed."""
    with contextlib.suppress(LoratuiError, ValueError):
        settings = read_recipe(run.effective).settings
        base = find_base(settings.base)
        denoiser = families.family(base.family).denoiser.name
        others = [part for name, part in base.parts.items() if name != denoiser]
        begin_to_read(run.fingerprints, others)
        # In the order in which they are needed, for the disk serves what was asked first.
        wanted = [path for part in others for path in part.files]
        _in_the_background(read_ahead, wanted, base.parts[denoiser].files if denoiser in base.parts else ())
        if settings.memory.device != "cpu":
            _in_the_background(_wake_the_card)
        if trains and world.size == 1:
            return compiling_ahead.begin(settings)
    return None


def _in_the_background(work: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=work, args=args, name=work.__name__.strip("_"), daemon=True).start()


def _wake_the_card() -> None:
    """The driver takes seconds for a first computation, and lets others work meanwhile."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import torch

        if torch.version.cuda:
            torch_facts.compute_once(torch)


def read_ahead(*groups: Sequence[Path]) -> None:
    """Has the system bring groups of files into its memory, one after another, up to the first for which it has no room."""
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    with contextlib.suppress(OSError):
        for paths in groups:
            if sum(path.stat().st_size for path in paths) > hardware.ram().free_gib * GIB * ROOM:
                return
            for path in paths:
                with open_regular(path) as file:
                    for start in range(0, os.fstat(file.fileno()).st_size, CHUNK_BYTES):  # Linux takes little more at once
                        os.posix_fadvise(file.fileno(), start, CHUNK_BYTES, os.POSIX_FADV_WILLNEED)
