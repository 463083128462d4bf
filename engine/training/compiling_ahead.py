"""Processes that compile a run's blocks while its trainer loads and encodes, so that the trainer finds them on the disk.

Compiling is mostly Python, which one process cannot do beside its own work; what it needs of a run is shapes alone. The other side is
`compile_ahead`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine import jobs
from loratui.engine.durable import write_file
from loratui.engine.errors import LoratuiError
from loratui.engine.machine import hardware
from loratui.engine.planning import figures
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.step_time import step_cost
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings

PROCESSES = 2
"""FLUX has two kinds of blocks, and the UNets have two or three."""
CPUS = 2 * (1 + PROCESSES)
"""The machine's CPUs from which on the trainer loses nothing to them."""
HOST_GIB, CARD_GIB = 16.0, 8.0
"""Main memory and memory of the card that must stay free beside the run's: libraries, the driver's part, one block of each kind, and
its activations."""
PATIENCE_S = 60.0
"""How long the trainer waits for them, when it has nothing else to do: longer than it would take itself."""


class CompilingAhead:
    """The processes of one run. They import their libraries at once, and compile when they are told how."""

    def __init__(self, name: str) -> None:
        """`name` is that of what they compile; see `name_of`."""
        self._name = name
        self._requests: list[queue.SimpleQueue[dict[str, Any] | None]] = [queue.SimpleQueue() for _ in range(PROCESSES)]
        self._cancelled = threading.Event()
        self._done: list[bool] = []
        self._threads = [threading.Thread(target=self._serve, args=(one,), daemon=True) for one in self._requests]
        for thread in self._threads:
            thread.start()

    def decide(self, run: RunDirectory, facts: Facts, plan: MemoryPlan, optimizer_steps: int) -> None:
        """Begins to compile, or ends the processes, now that the run's memory plan is known."""
        if suits(facts, plan, optimizer_steps):
            memory = {"free_gib": facts.free_gib, "host_gib": facts.host_gib, "failed": sorted(facts.failed)}
            self.compile({"run": str(run.path), **memory})
        else:
            self.end()

    def compile(self, request: Mapping[str, Any]) -> None:
        """Begins to compile."""
        for number, one in enumerate(self._requests):
            one.put({**request, "share": number, "shares": PROCESSES})

    def wait(self) -> None:
        """Waits until all is compiled, or cannot be."""
        began = time.monotonic()
        end = began + PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        print(f"waited {time.monotonic() - began:.1f} s for what is compiled ahead", flush=True)
        if len(self._done) == PROCESSES:
            _remember(self._name)
        self.end()

    def end(self) -> None:
        """Ends the processes."""
        self._cancelled.set()
        for one in self._requests:
            one.put(None)

    def _serve(self, requests: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        process = jobs.Process("compile", cancelled=self._cancelled.is_set)
        try:
            process.begin()
            if (request := requests.get()) is not None:
                began = time.monotonic()
                process.ask(request)
                made = process.answer().value
                self._done.append(True)
                print(f"compiled ahead: {made}, {time.monotonic() - began:.1f} s after the libraries and the plan", flush=True)
        except (LoratuiError, jobs.Cancelled) as error:
            if not self._cancelled.is_set():
                print(f"compiling ahead: {error}", flush=True)
        finally:
            process.end()


def begin(settings: Settings) -> CompilingAhead | None:
    """Starts the processes for a run with these settings, before its memory plan is known; None where they are of no use."""
    memory = settings.memory
    wanted = (
        memory.compile != "off"
        and memory.device != "cpu"
        and not memory.limit_gib
        and not settings.base.is_embedded
        and settings.training.processes == 1
    )
    if not wanted or hardware.allowed_cpus() < CPUS or hardware.ram().free_gib < HOST_GIB or not any(hardware.gpus()):
        return None
    name = name_of(settings)
    return None if _is_known(name) else CompilingAhead(name)


def suits(facts: Facts, plan: MemoryPlan, optimizer_steps: int) -> bool:
    """Whether the run compiles its blocks, and leaves them room."""
    settings, need = facts.settings, plan.need
    encoders = PROCESSES * facts.figures.text_encoders_gib * settings.training.train_text_encoder
    if need is None or plan.rung.swaps or plan.room_gib - need.most < CARD_GIB + encoders:
        return False
    if plan.compile == "on":
        return True
    card = facts.card and figures.card(facts.card.name)
    cost = step_cost(settings, facts.figures, card, plan, optimizer_steps) if card else ""
    return not isinstance(cost, str) and cost.compiles


def name_of(settings: Settings) -> str:
    """A name for what these settings have compiled, on this machine and with these libraries."""
    versions = [importlib.metadata.version(name) for name in ("loratui", "torch", "diffusers", "peft")]
    cards = [card.name for card in hardware.gpus()]
    parts = (settings.base.family, settings.dataset, settings.training, settings.adapter, settings.memory, versions, cards)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def _marker(name: str) -> Path | None:
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    return Path(folder) / f"compiled-{name}" if folder else None


def _is_known(name: str) -> bool:
    """Whether it was compiled before; nothing can be left on the disk where no folder is named."""
    marker = _marker(name)
    return marker is None or marker.is_file()


def _remember(name: str) -> None:
    marker = _marker(name)
    if marker is not None:
        with contextlib.suppress(OSError, LoratuiError):
            write_file(marker, b"", durable=False)
