"""What makes a step fast: casts left to autocast, and blocks that are compiled once that pays."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable

import torch
from torch import nn

from loratui.engine.families.figures import FamilyFigures
from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.reporting import Reporter, first_line

STEPS_TO_LOOK_AT = 8
"""Steps that are timed before compiling is decided; the first are slower and not counted."""


def let_autocast_cast(denoiser: nn.Module) -> None:
    """Leaves the casting of a LoRA's inputs to autocast, which casts once; PEFT would cast to fp32, and autocast back."""
    for module in denoiser.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]  # PEFT's switch, made for autocast


class Compiling:
    """Compiles the repeated blocks of a denoiser once it is clear that the run is long enough to gain from it."""

    def __init__(self, plan: MemoryPlan, known: FamilyFigures, report: Reporter) -> None:
        self._plan, self._known = plan, known
        self._report = report
        self._step_s: deque[float] = deque(maxlen=STEPS_TO_LOOK_AT - 3)
        self._seen = 0
        self.done = plan.compile == "off"
        """Whether the decision is made."""
        self.compiled = False
        """Whether the blocks are compiled."""

    def is_due(self, steps_left: int) -> bool:
        """Whether the blocks should be compiled before the next step."""
        if self.done:
            return False
        if self._plan.compile == "on":
            return True
        if self._seen < STEPS_TO_LOOK_AT:
            return False
        self.done = not self._plan.pays_to_compile(self._known, statistics.median(self._step_s), steps_left)
        return not self.done

    def note(self, step_s: float) -> None:
        """Records the duration of a step."""
        self._seen += 1
        if self._seen > 3:  # the first ones choose kernels and fill the allocator
            self._step_s.append(step_s)

    def compile(self, blocks: Blocks, trial: Callable[[], None], *, one_shape: bool) -> None:
        """Compiles, and runs `trial`, a forward and a backward pass that change nothing. If it fails, the blocks stay
        uncompiled, with a warning. `one_shape`: every batch of the run has the same shape."""
        self.done = True
        self._report.phase("loading", "Compiling the base for this GPU")
        try:
            blocks.compile(one_shape=one_shape)
            trial()
            self.compiled = True
            self._tell_of_other_shapes()
            print(_compiling_in_words(), flush=True)
        except Exception as error:
            blocks.uncompile()
            if is_gpu_lost(error):
                raise
            if is_out_of_memory(error):
                torch.cuda.empty_cache()
            self._report.warn("compile_failed", reason=first_line(error))
        # A later shape that cannot be compiled runs uncompiled and does not end the run.
        torch._dynamo.config.suppress_errors = True
        self._report.phase("training", "")

    def _tell_of_other_shapes(self) -> None:
        """Says so when a later step compiles for another shape, which takes up to minutes."""
        callbacks = torch._dynamo.callback.callback_handler
        callbacks.register_start_callback(lambda _: self._report.phase("loading", "Compiling the base for another image size"))
        callbacks.register_end_callback(lambda _: self._report.phase("training", ""))


def _compiling_in_words() -> str:
    """How many blocks were compiled, how many of these were found on the disk, and what took how long."""
    from torch._dynamo.utils import compilation_time_metrics, counters

    cache = counters["aot_autograd"]
    found = cache["autograd_cache_hit"]
    times = {words: sum(compilation_time_metrics.get(name, ())) for name, words in _STEPS.items()}
    taken = ", ".join(f"{words} {seconds:.1f} s" for words, seconds in times.items() if seconds)
    return f"compiled {counters['stats']['unique_graphs']} kinds of blocks, {found} of them found on the disk: {taken}"


_STEPS = {
    "_compile.compile_inner": "in all",
    "bytecode_tracing": "tracing",
    "aot_trace_joint_graph": "gradients",
    "GraphLowering.run": "lowering",
    "Scheduler.__init__": "fusing",
    "GraphLowering.compile_to_fn": "writing and compiling kernels",
    "async_compile.wait": "waiting for kernels",
    "backward._backward_impl": "backward pass",
}
"""What torch times of a compilation, which partly lies within each other -> words for it."""
