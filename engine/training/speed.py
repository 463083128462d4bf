"""What a GPU run trades between memory and time: activations kept or made again, and blocks compiled or not."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from loratui.engine import families
from loratui.engine.families.model import Family
from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.planning.estimate import way_in
from loratui.engine.planning.step_time import will_compile
from loratui.engine.training.reporting import Reporter
from loratui.presets.schema import Settings

STEPS_TO_LOOK_AT = 8
"""Steps whose median tells how long one takes; the first are longer."""


def choose_activations(settings: Settings, family: Family, device: torch.device) -> bool:
    """Whether activations are made again in the backward pass; `auto` does so where they would not fit into the free memory."""
    if device.type == "cuda":
        again = way_in(settings, _usable_gib(device)) == "again"
    else:
        again = settings.memory.gradient_checkpointing == "on"
    if again:
        family.enable_gradient_checkpointing()
    return again


def _usable_gib(device: torch.device) -> float:
    """Memory that is free, or that this process holds already."""
    free, _ = torch.cuda.mem_get_info(device)
    return (free + torch.cuda.memory_reserved(device)) / 2**30


def let_autocast_cast(denoiser: nn.Module) -> None:
    """Leaves the casting of a LoRA's inputs to autocast, which casts once; PEFT would go to fp32 and autocast back again."""
    for module in denoiser.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]  # PEFT's switch, made for autocast


class Compiling:
    """Compiles the blocks of a denoiser that occur many times, once it is clear that the run is long enough to gain from it."""

    def __init__(self, settings: Settings, device: torch.device, report: Reporter) -> None:
        self._settings = settings
        self._known = families.family(settings.base.family).figures
        self._report = report
        self._step_s: deque[float] = deque(maxlen=STEPS_TO_LOOK_AT - 3)
        self._seen = 0
        self.done = settings.memory.compile == "off" or device.type != "cuda"
        """Whether all is decided."""
        self.compiled = False
        """Whether the blocks are compiled."""

    def is_due(self, steps_left: int) -> bool:
        """Whether the blocks should be compiled before the next step."""
        if self.done:
            return False
        if self._settings.memory.compile == "on":
            return True
        if self._seen < STEPS_TO_LOOK_AT:
            return False
        self.done = not will_compile(self._settings, self._known, statistics.median(self._step_s), steps_left)
        return not self.done

    def note(self, step_s: float) -> None:
        """A step took so long."""
        self._seen += 1
        if self._seen > 3:  # the first ones choose kernels and fill the allocator
            self._step_s.append(step_s)

    def compile(self, denoiser: Any, trial: Callable[[], None]) -> None:
        """Compiles, and tries it with `trial`, a forward and a backward pass that change nothing. If that fails the blocks
        stay as they were, and a warning says so."""
        self.done = True
        self._report.phase("loading", "Compiling the base for this GPU")
        try:
            denoiser.compile_repeated_blocks()
            trial()
            self.compiled = True
        except Exception as error:
            undo(denoiser)
            if is_gpu_lost(error):
                raise
            if is_out_of_memory(error):
                torch.cuda.empty_cache()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self._report.warn(
                "compile_failed", f"The base could not be compiled: {reason}", "Training goes on without, somewhat slower."
            )
        # A shape that comes later and cannot be compiled is computed without, and ends nothing.
        torch._dynamo.config.suppress_errors = True
        self._report.phase("training", "")


def undo(denoiser: nn.Module) -> None:
    """Has every block computed as before it was compiled."""
    for module in denoiser.modules():
        module._compiled_call_impl = None  # what nn.Module.compile sets
