"""The learning rate as a function of the step, and optimizers whose state comes back to the right tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW8bit
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from loratui.engine.errors import UsageError
from loratui.engine.planning.optimizer_choice import MOST_IN_FP32, chosen_optimizer
from loratui.engine.training.ema import EMA
from loratui.engine.training.optimizers import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer_state,
    optimizer_state,
    set_learning_rate,
    warmup_steps,
)
from loratui.engine.training.snapshot import Packed
from loratui.presets.schema import Optimizer, OptimizerSection, Scheduler

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("scheduler", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("polynomial", [1, 0.5625, 0.25, 0.0625]),
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
        ("cosine_with_restarts", [1, 0.5, 1, 0.5]),
    ],
)
def test_the_schedules_are_their_formulas(scheduler: Scheduler, factors: list[float]) -> None:
    found = [learning_rate_factor(k, 4, scheduler=scheduler, warmup_steps=0, cycles=2) for k in range(4)]
    assert found == pytest.approx(factors, abs=1e-6)


@given(
    st.sampled_from(["constant", "linear", "polynomial", "cosine", "cosine_with_restarts"]),
    st.integers(1, 300),
    st.floats(0, 0.9),
    st.integers(1, 100),
)
def test_no_step_is_paid_for_and_made_with_rate_0(scheduler: Scheduler, total: int, warmup: float, cycles: int) -> None:
    warm = warmup_steps(OptimizerSection(warmup=warmup), total)
    assert 0 <= warm < total
    for step in range(total):
        assert 1e-9 < learning_rate_factor(step, total, scheduler=scheduler, warmup_steps=warm, cycles=cycles) <= 1


@given(st.integers(1, 100))
def test_a_cycle_of_one_step_is_always_at_its_top(cycles: int) -> None:
    for step in range(cycles):
        factor = learning_rate_factor(step, cycles, scheduler="cosine_with_restarts", warmup_steps=0, cycles=cycles)
        assert factor == 1.0


def test_auto_is_the_optimizer_of_the_machine() -> None:
    assert chosen_optimizer("auto", 2 * MOST_IN_FP32, on_gpu=False) == "adamw"
    assert chosen_optimizer("auto", MOST_IN_FP32, on_gpu=True) == "adamw"
    assert chosen_optimizer("auto", MOST_IN_FP32 + 1, on_gpu=True) == "adamw8bit"
    assert chosen_optimizer("auto", MOST_IN_FP32, on_gpu=True, used="adamw8bit") == "adamw8bit"
    assert chosen_optimizer("adamw8bit", 1, on_gpu=True, used="adamw") == "adamw8bit"
    assert chosen_optimizer("auto", 1, on_gpu=False, used="adamw8bit") == "adamw"


@pytest.mark.parametrize("name", ["adamw8bit"])
def test_what_cannot_be_built_here_is_refused_by_name(name: Any) -> None:
    with pytest.raises(UsageError, match=name):
        build_optimizer(OptimizerSection(name=name), parameters(), CPU)


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    """One tensor large enough for 8-bit state and one that is not."""
    source = torch.Generator().manual_seed(seed)
    return {n: nn.Parameter(torch.randn(shape, generator=source)) for n, shape in (("a", (128, 64)), ("b", (4, 8)))}


def step(optimizer: torch.optim.Optimizer, values: dict[str, nn.Parameter], number: int) -> None:
    source = torch.Generator().manual_seed(number)
    for value in values.values():
        value.grad = torch.randn(value.shape, generator=source)
    optimizer.step()


def adamw(values: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerSection(learning_rate=0.01, weight_decay=0.1), values, CPU)


def adamw8bit(values: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = AdamW8bit(list(values.values()), lr=0.01, weight_decay=0.1)
    return made


def named(name: Optimizer) -> Callable[[dict[str, nn.Parameter]], torch.optim.Optimizer]:
    rate = 1.0 if name in ("prodigy", "dadapt_adam") else 0.01
    return lambda values: build_optimizer(OptimizerSection(name=name, learning_rate=rate, weight_decay=0.1), values, CPU)


ON_A_CPU: tuple[Optimizer, ...] = ("adamw", "adafactor", "prodigy", "dadapt_adam", "lion", "adamw_schedule_free")


@pytest.mark.parametrize("make", [adamw8bit, *(named(name) for name in ON_A_CPU)], ids=["adamw8bit", *ON_A_CPU])
def test_an_optimizer_goes_on_bit_for_bit_from_its_state(make: Callable[..., torch.optim.Optimizer]) -> None:
    whole = parameters()
    optimizer = make(whole)
    for number in range(3):
        step(optimizer, whole, number)
    tensors, plain = optimizer_state(optimizer, list(whole))
    kept = Packed(tensors)
    values = {name: value.detach().clone() for name, value in whole.items()}
    for number in range(3, 6):
        step(optimizer, whole, number)

    resumed = parameters(seed=1)
    for name, value in resumed.items():
        value.data.copy_(values[name])
    again = make(resumed)
    load_optimizer_state(again, list(resumed), kept, plain)
    for number in range(3, 6):
        step(again, resumed, number)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_8_bit_state_stays_8_bit_on_the_way_through_a_checkpoint() -> None:
    values = parameters()
    optimizer = adamw8bit(values)
    step(optimizer, values, 0)
    tensors, plain = optimizer_state(optimizer, list(values))
    small = {name.rpartition("|")[2] for name, value in tensors.items() if name.startswith("a|") and value.dtype == torch.uint8}
    assert small == {"state1", "state2"}
    json.loads(plain)
    again = adamw8bit(values)
    load_optimizer_state(again, list(values), tensors, plain)
    assert again.state[values["a"]]["state1"].dtype == torch.uint8
    assert again.state[values["b"]]["state1"].dtype == torch.float32


def test_state_is_kept_by_name_and_refused_for_other_layers() -> None:
    values = parameters()
    optimizer = adamw(values)
    step(optimizer, values, 0)
    tensors, plain = optimizer_state(optimizer, ["a", "b"])
    turned = {"b": values["b"], "a": values["a"]}
    other = adamw(turned)
    load_optimizer_state(other, ["b", "a"], tensors, plain)
    assert torch.equal(other.state[values["a"]]["exp_avg"], optimizer.state[values["a"]]["exp_avg"])
    with pytest.raises(UsageError, match="other layers: b"):
        load_optimizer_state(adamw(values), ["a", "c"], tensors, plain)


@pytest.mark.parametrize("name", ON_A_CPU)
def test_every_optimizer_finds_the_lowest_point(name: Optimizer) -> None:
    """(x − 3)² from 0: each comes close, with the rate that people use it with."""
    values = {"x": nn.Parameter(torch.zeros(4, 4))}
    rate = 1.0 if name in ("prodigy", "dadapt_adam") else 0.05
    optimizer = build_optimizer(OptimizerSection(name=name, learning_rate=rate, weight_decay=0.0), values, CPU)
    averaging = EMA(values, optimizer, 0.0)
    for _ in range(600):
        optimizer.zero_grad()
        (values["x"] - 3).square().sum().backward()
        optimizer.step()
    with averaging.swapped_in():
        assert values["x"].detach().mean().item() == pytest.approx(3.0, abs=0.25)


@pytest.mark.parametrize("name", ["adamw", "adafactor", "lion"])
def test_a_step_is_as_long_as_the_rate_says_even_from_0(name: Optimizer) -> None:
    """A LoRA's second factor starts at 0; a step relative to its size would leave it there."""
    values = {"x": nn.Parameter(torch.zeros(8, 16))}
    optimizer = build_optimizer(OptimizerSection(name=name, learning_rate=1e-3, weight_decay=0.0), values, CPU)
    for number in range(1, 11):
        values["x"].grad = torch.ones(8, 16)
        optimizer.step()
        assert values["x"].detach().mean().item() == pytest.approx(-1e-3 * number, rel=0.01)


@pytest.mark.parametrize(
    ("name", "beta2", "expected"),
    [
        *(("adamw", 0.0, 0.999), ("prodigy", 0.0, 0.999), ("dadapt_adam", 0.0, 0.999), ("adamw_schedule_free", 0.0, 0.999)),
        *(("lion", 0.0, 0.99), ("lion", 0.999, 0.999), ("adamw", 0.99, 0.99)),
    ],
)
def test_each_optimizer_has_its_own_usual_second_beta_and_takes_the_one_that_is_set(
    name: Optimizer, beta2: float, expected: float
) -> None:
    rate = 1.0 if name in ("prodigy", "dadapt_adam") else 0.01
    optimizer = build_optimizer(OptimizerSection(name=name, learning_rate=rate, beta2=beta2), parameters(), CPU)
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.9, expected)
    assert OptimizerSection().beta2 == 0.0, "a default of its own would hide which one the person chose"


def test_the_text_encoder_has_a_rate_of_its_own_and_both_follow_the_schedule() -> None:
    values = {name: nn.Parameter(torch.ones(2, 2)) for name in ("denoiser.a", "text_encoder.a", "text_encoder_2.a")}
    optimizer = build_optimizer(OptimizerSection(learning_rate=4e-4, text_encoder_learning_rate=4e-5), values, CPU)
    assert set_learning_rate(optimizer, 0.5) == pytest.approx(2e-4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2e-4, 2e-5])
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 2]


def test_two_rates_for_one_that_finds_its_own_are_refused() -> None:
    values = {name: nn.Parameter(torch.ones(2, 2)) for name in ("denoiser.a", "text_encoder.a")}
    with pytest.raises(UsageError, match="one rate for all parts"):
        build_optimizer(OptimizerSection(name="prodigy", learning_rate=1.0, text_encoder_learning_rate=0.5), values, CPU)


def test_the_rate_that_is_told_of_prodigy_is_the_one_at_work() -> None:
    values = parameters()
    optimizer = named("prodigy")(values)
    for _ in range(20):
        optimizer.zero_grad()
        sum((value - 3).square().sum() for value in values.values()).backward()
        optimizer.step()
    d = optimizer.param_groups[0]["d"]
    assert d > 1e-6
    assert set_learning_rate(optimizer, 0.25) == pytest.approx(0.25 * d)


def test_a_checkpoint_of_another_device_does_not_decide_how_steps_are_computed() -> None:
    """The GPU leaves out steps that are not finite in torch's fused kernels only."""
    values = {"a": nn.Parameter(torch.ones(4))}
    stored = optimizer_state(torch.optim.AdamW(values.values(), lr=0.1), ["a"])
    fused = torch.optim.AdamW(values.values(), lr=0.2, fused=True)
    load_optimizer_state(fused, ["a"], *stored)
    assert fused.param_groups[0]["fused"] is True
    assert fused.param_groups[0]["lr"] == 0.1
