"""When activations are computed twice, and when blocks are compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from loratui.engine import families
from loratui.engine.families.parts import is_mixed
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.rungs import KEPT
from loratui.engine.training import speed
from loratui.engine.training.speed import Compiling
from loratui.presets import load_preset
from loratui.presets.schema import Family, Settings, replace


def plan_of(settings: Settings, gib: float | None) -> MemoryPlan:
    """The plan on a card with so much memory; None: on the CPU."""
    found = decide(Facts.of(settings, Card("some card", gib, (8, 6)) if gib else None))
    assert isinstance(found, MemoryPlan)
    return found


@dataclass
class Told:
    """Stands in for a reporter."""

    warnings: list[str] = field(default_factory=list)

    def warn(self, key: str, **figures: str) -> None:
        self.warnings.append(key)
        assert Finding.of(key, **figures).message

    def phase(self, phase: str, text: str) -> None:
        pass


class Block(nn.Linear):
    """A block that a denoiser repeats."""


class Denoiser(nn.Module):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(2, 2), Block(2, 2)])
        self.fails = fails

    def compile(self, **_: bool) -> None:  # type: ignore[override]  # as `Blocks` has it
        for block in self.blocks:
            block._compiled_call_impl = self._broken if self.fails else block._call_impl

    def uncompile(self) -> None:
        for block in self.blocks:
            block._compiled_call_impl = None

    def _broken(self, *_: Any) -> None:
        raise RuntimeError("no compiler here")

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            value = block(value)
        return value


def compiling(how: str, gib: float | None = 80.0, family: Family = "flux") -> tuple[Compiling, Told]:
    told = Told()
    settings = replace(load_preset("demo").settings, {"memory.compile": how, "base.family": family})
    return Compiling(plan_of(settings, gib), families.family(family).figures, told), told  # type: ignore[arg-type]


def trial_of(denoiser: Denoiser) -> Callable[[], None]:
    return lambda: denoiser(torch.ones(1, 2)).sum().backward()


@pytest.mark.parametrize(("how", "gib"), [("off", 80.0), ("on", None), ("auto", None)])
def test_nothing_is_compiled_where_it_is_not_wanted_or_of_no_use(how: str, gib: float | None) -> None:
    own, _ = compiling(how, gib)
    assert not own.is_due(100_000)


def test_on_compiles_before_the_first_step_and_once() -> None:
    own, _ = compiling("on")
    assert own.is_due(1)
    denoiser = Denoiser()
    own.compile(denoiser, trial_of(denoiser), one_shape=True)  # type: ignore[arg-type]
    assert not own.is_due(100_000)


@pytest.mark.parametrize(
    ("family", "step_s", "steps_left", "due"),
    [
        ("flux", 0.5, 2000, True),
        ("flux", 0.5, 200, False),
        ("flux", 0.05, 2000, False),
        ("flux", 3.0, 300, True),
        ("sdxl", 0.18, 3000, True),
        ("sd15", 0.045, 2000, False),  # compiling takes as long there, and saves less
    ],
)
def test_auto_compiles_when_what_is_left_is_long_enough(family: Family, step_s: float, steps_left: int, due: bool) -> None:
    own, _ = compiling("auto", family=family)
    assert not own.is_due(steps_left)
    for taken in (30.0, 5.0, 5.0, *[step_s] * 5):  # the first steps are longer and say nothing
        own.note(taken)
    assert own.is_due(steps_left) == due
    assert own.done == (not due)


def test_a_base_that_cannot_be_compiled_is_trained_as_it_is() -> None:
    own, told = compiling("on")
    denoiser = Denoiser(fails=True)
    own.compile(denoiser, trial_of(denoiser), one_shape=True)  # type: ignore[arg-type]
    assert told.warnings == ["compile_failed"]
    assert torch.isfinite(denoiser(torch.ones(1, 2))).all()
    assert not own.is_due(100_000)


def test_a_lost_gpu_is_no_fault_of_compiling() -> None:
    own, _ = compiling("on")

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        own.compile(Denoiser(), lost, one_shape=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "sets", "gib", "kept"),
    [
        ("flux-identity-18img", {"training.batch_size": 1}, 141.0, True),
        ("flux-identity-18img", {"training.batch_size": 1}, 49.0, False),
        ("sdxl-person", {}, 141.0, True),
        ("sdxl-person", {}, 16.0, False),
        ("sdxl-person", {"memory.plan": "kept"}, 16.0, True),
        ("sd15-portrait", {"memory.gradient_checkpointing": "on"}, 141.0, False),
        ("sd15-portrait", {}, 24.0, True),
        ("demo", {}, None, True),
        ("demo", {"memory.gradient_checkpointing": "on"}, None, False),
    ],
)
def test_activations_are_kept_where_they_fit(preset: str, sets: dict[str, Any], gib: float | None, kept: bool) -> None:
    plan = plan_of(replace(load_preset(preset).settings, sets), gib)
    assert (plan.rung is KEPT) == kept


def test_autocast_casts_a_loras_inputs() -> None:
    denoiser = Denoiser()
    for block in denoiser.blocks:
        block.cast_input_dtype_enabled = True  # type: ignore[assignment]
    speed.let_autocast_cast(denoiser)
    assert not any(block.cast_input_dtype_enabled for block in denoiser.blocks)


@pytest.mark.parametrize(
    ("device", "dtype", "mixed"),
    [
        ("cpu", torch.bfloat16, False),
        ("cpu", torch.float32, False),
        ("cpu", torch.float16, True),
        ("cuda", torch.float32, False),
        ("cuda", torch.bfloat16, True),
        ("cuda", torch.float16, True),
    ],
)
def test_few_bits_are_computed_under_autocast(device: str, dtype: torch.dtype, mixed: bool) -> None:
    assert is_mixed(torch.device(device), dtype) is mixed


@pytest.mark.long
def test_what_was_compiled_is_found_again_with_gradients_of_our_own(tmp_path: Path) -> None:
    """A second process compiles nothing; one whose gradient is computed otherwise does not get the first one's."""
    code = """if True:
        import sys
        import loratui.engine.training.__main__ as trainer
        trainer._ready()
        import torch
        from torch._dynamo.utils import counters
        class Twice(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2
            @staticmethod
            def backward(ctx, gradient):
                return gradient * int(sys.argv[1])
        x = torch.ones(4, requires_grad=True)
        torch.compile(lambda x: Twice.apply(x) + 1)(x).sum().backward()
        print(int(x.grad[0]), counters["aot_autograd"]["autograd_cache_hit"], counters["aot_autograd"]["autograd_cache_bypass"])
    """
    environ = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code, factor], env=environ, check=True, capture_output=True, text=True).stdout
        for factor in ("2", "2", "3")
    ]
    assert [line.split() for line in said] == [["2", "0", "0"], ["2", "1", "0"], ["3", "0", "0"]]
