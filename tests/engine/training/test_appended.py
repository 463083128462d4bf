"""A LoRA within its base's product computes what it computes beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from PIL import Image
from random_bases import run_on
from small_runs import after_loading, after_step, every_step, losses, train, weights
from torch import Tensor, nn

from loratui.engine.errors import ExitCode
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.rungs import BaseFormat
from loratui.engine.runs import control
from loratui.engine.training import setup
from loratui.engine.training.adapters.adapter import NAME
from loratui.engine.training.frozen import appended
from loratui.engine.training.frozen.appended import AppendedLinear
from loratui.engine.training.frozen.joined import Joiner, LeanLinear, make_lean
from loratui.engine.training.frozen.linear import FrozenLinear
from loratui.engine.training.trainer import Trainer

DTYPE = torch.float32
NARROW, WIDE, TOKENS = 384, 512, 40


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has small layers suit, too."""
    monkeypatch.setattr(appended, "MULTIPLES", {torch.float32: 16, torch.float8_e4m3fn: 32})


def off(found: Tensor, right: Tensor) -> float:
    return float((found - right).norm() / right.norm())


class Layers(nn.Module):
    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(*size) for size in sizes)


def layers(base: BaseFormat, *sizes: tuple[int, int], rank: int = 8) -> list[LeanLinear]:
    """Linears (in, out) with a LoRA that is not zero."""
    torch.manual_seed(0)
    whole = Layers(sizes).requires_grad_(False)
    config = peft.LoraConfig(r=rank, lora_alpha=rank // 2, target_modules=[f"linears.{n}" for n in range(len(sizes))])
    peft.inject_adapter_in_model(config, whole, NAME)
    found = []
    for layer in whole.linears:
        make_lean(layer)
        assert isinstance(layer, LeanLinear)
        nn.init.normal_(layer.lora_B[NAME].weight, std=0.02)
        layer.base_layer = FrozenLinear.of(layer.base_layer, base, torch.device("cpu"), DTYPE)
        found.append(layer)
    return found


def answers(call: nn.Module, own: Sequence[LeanLinear], rows: int = TOKENS) -> list[Tensor]:
    """What it makes of two inputs, the gradients of the input and of all LoRAs, and the answer without the LoRA."""
    torch.manual_seed(1)
    x = torch.randn(1, rows, own[0].in_features, requires_grad=True)
    made = call(x)
    (made * torch.randn(made.shape)).sum().backward()
    trained = [matrix[NAME].weight for layer in own for matrix in (layer.lora_A, layer.lora_B)]
    found = [made.detach(), x.grad, *(value.grad for value in trained)]
    for value in trained:
        value.grad = None
    for layer in own:
        layer._disable_adapters = True
    with torch.no_grad():
        found.append(call(x))
    for layer in own:
        layer._disable_adapters = False
    return [value for value in found if value is not None]


@pytest.mark.parametrize(("base", "limit"), [("full", 1e-5), ("fp8", 0.08)])
@pytest.mark.parametrize("size", [(NARROW, WIDE), (WIDE, NARROW)])
@pytest.mark.parametrize("two_copies", [False, True])
def test_one_product_makes_what_three_made(base: BaseFormat, limit: float, size: tuple[int, int], two_copies: bool) -> None:
    (layer,) = layers(base, size)
    right = answers(layer, [layer])
    joiner = Joiner(appends=True)
    joiner.append(layer)
    assert isinstance(layer.base_layer, AppendedLinear)
    if two_copies:
        layer.base_layer.keep_turned()
    joiner.refresh()
    for found, one in zip(answers(layer, [layer]), right, strict=True):
        assert off(found, one) < limit
    # without the LoRA, the base is the same to the bit
    torch.testing.assert_close(answers(layer, [layer])[-1], right[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", ["full", "fp8"])
def test_the_answer_follows_what_was_learnt(base: BaseFormat) -> None:
    (layer,) = layers(base, (NARROW, WIDE))
    joiner = Joiner(appends=True)
    joiner.append(layer)
    for step in range(3):
        with torch.no_grad():
            layer.lora_B[NAME].weight.mul_(-2).add_(0.01 * step)
            layer.lora_A[NAME].weight.mul_(0.5)
        layer.scaling[NAME] = step / 2
        joiner.refresh()
        x = torch.randn(TOKENS, NARROW)
        base_alone = layer.base_layer(x)
        lora = x @ layer.lora_A[NAME].weight.t() @ layer.lora_B[NAME].weight.t() * layer.scaling[NAME]
        assert off(layer(x).detach(), (base_alone + lora).detach()) < (1e-5 if base == "full" else 0.06)


@pytest.mark.parametrize("base", ["full", "fp8"])
def test_layers_side_by_side_have_their_own_loras(base: BaseFormat) -> None:
    own = layers(base, (NARROW, NARROW), (NARROW, NARROW), (NARROW, WIDE))
    right = [answers(layer, [layer]) for layer in own]
    joiner = Joiner(appends=True)
    mlp, qk = joiner.in_turn([own[2]], own[:2])
    joiner.refresh()
    torch.manual_seed(1)
    x = torch.randn(1, TOKENS, NARROW)
    limit = 1e-5 if base == "full" else 0.08
    assert off(mlp(x).detach(), right[2][0]) < limit
    assert off(qk(x).detach(), torch.cat([right[0][0], right[1][0]], -1)) < limit


def test_a_pass_that_was_broken_off_leaves_nothing() -> None:
    own = layers("full", (NARROW, NARROW), (NARROW, WIDE))
    joiner = Joiner(appends=True)
    first, second = joiner.in_turn([own[1]], [own[0]])
    joiner.refresh()
    x, y = torch.randn(TOKENS, NARROW), torch.randn(TOKENS, NARROW)
    first(x)
    first(y)
    right = own[0].lora_B[NAME](own[0].lora_A[NAME](y)) * own[0].scaling[NAME]
    assert off((second(y) - first.whole.base(y)[:, WIDE:]).detach(), right.detach()) < 1e-4


def test_rows_of_zeros_leave_room_for_what_is_learnt() -> None:
    (layer,) = layers("fp8", (NARROW, WIDE))
    with torch.no_grad():
        layer.base_layer.codes[:4] = torch.zeros_like(layer.base_layer.codes[:4])
        layer.base_layer.scale[:4] = 1e-12
    joiner = Joiner(appends=True)
    joiner.append(layer)
    joiner.refresh()
    x = torch.randn(TOKENS, NARROW)
    lora = x @ layer.lora_A[NAME].weight.t() @ layer.lora_B[NAME].weight[:4].t() * layer.scaling[NAME]
    bias = layer.base_layer.bias[:4]
    assert off((layer(x)[:, :4] - bias).detach(), lora.detach()) < 0.08


def test_few_rows_and_narrow_layers_are_left_as_they_are() -> None:
    (layer,) = layers("fp8", (NARROW, WIDE))
    right = answers(layer, [layer], rows=1)
    joiner = Joiner(appends=True)
    joiner.append(layer)
    joiner.refresh()
    for found, one in zip(answers(layer, [layer], rows=1), right, strict=True):
        assert off(found, one) < 1e-5
    (square,) = layers("full", (NARROW, NARROW))
    (small,) = layers("full", (96, 512))
    Joiner(appends=True).append(square, small)
    assert not any(isinstance(one.base_layer, AppendedLinear) for one in (square, small))


def test_large_values_of_a_lora_are_not_cut_off() -> None:
    (layer,) = layers("fp8", (NARROW, WIDE))
    with torch.no_grad():
        layer.lora_B[NAME].weight.mul_(1000)
    right = answers(layer, [layer])
    joiner = Joiner(appends=True)
    joiner.append(layer)
    joiner.refresh()
    for found, one in zip(answers(layer, [layer])[:-1], right[:-1], strict=True):
        assert off(found, one) < 0.08


@pytest.mark.parametrize("size", [(NARROW, WIDE), (WIDE, NARROW)])
@pytest.mark.parametrize("std", [1e-9, 1e-6, 0.02])
def test_a_lora_that_has_hardly_begun_gets_its_gradients(size: tuple[int, int], std: float) -> None:
    (layer,) = layers("fp8", size)
    nn.init.normal_(layer.lora_B[NAME].weight, std=std)
    right = answers(layer, [layer])
    joiner = Joiner(appends=True)
    joiner.append(layer)
    joiner.refresh()
    for found, one in zip(answers(layer, [layer]), right, strict=True):
        assert off(found, one) < 0.08


RUN = ("base.family=flux", "training.min_snr_gamma=0", "training.precision=auto", "samples.steps=1", "schedule.repeats=1")
WAYS = {
    "averages": ("training.ema_decay=0.9", "training.accumulation=2", "samples.every_image_steps=4"),
    "schedule-free": ("optimizer.name=adamw_schedule_free", "training.batch_size=2", "memory.gradient_checkpointing=on"),
    "text": ("training.train_text_encoder=true", "adapter.targets=attention", "adapter.alpha=0.5"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("base", "limit"), [("off", 2e-4), ("fp8", 0.02)])
def test_a_run_learns_and_ships_what_it_would_beside_the_products(
    way: str, base: str, limit: float, tmp_path: Path, images: Path, flux_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = (*RUN, *WAYS[way], f"memory.quantise={base}")
    beside, within = (run_on(flux_folder, tmp_path, *sets, folder=images) for _ in range(2))
    assert train(beside, every_step) == ExitCode.DONE
    decide, made = setup.decide_memory, []
    monkeypatch.setattr(appended, "MULTIPLES", {torch.float32: 1, torch.float8_e4m3fn: 1})
    monkeypatch.setattr(appended, "MOST", 1)
    monkeypatch.setattr(MemoryPlan, "joins", True)
    monkeypatch.setattr(
        setup, "decide_memory", lambda *facts, **more: dataclasses.replace(decide(*facts, **more), appends=True)
    )

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 2, lambda: control.send(within, "stop"))
        after_loading(trainer, lambda: made.append(trainer))

    assert train(within, stop) == ExitCode.TERMINATED
    assert train(within, every_step) == ExitCode.DONE
    modules = made[0].loaded.model.denoiser.modules()
    assert sum(isinstance(module, AppendedLinear) for module in modules) >= 3
    found, right = ([float.fromhex(loss) for loss in losses(run).values()] for run in (within, beside))
    assert found == pytest.approx(right, rel=limit)
    shipped, expected = weights(within), weights(beside)
    assert shipped.keys() == expected.keys()
    assert off(*(torch.cat([one[name].float().flatten() for name in expected]) for one in (shipped, expected))) < 10 * limit
    pictures = [
        [np.asarray(Image.open(path), float) for path in sorted(run.samples.rglob("*.png"))] for run in (within, beside)
    ]
    assert len(pictures[0]) == len(pictures[1]) > 0
    assert all(abs(a - b).mean() < (1 if base == "off" else 4) for a, b in zip(*pictures, strict=True))


def test_nothing_is_compiled_before_the_blocks_are(
    tmp_path: Path, images: Path, flux_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a C compiler can compile nothing, and trains all the same."""
    compiled: list[int] = []
    monkeypatch.setattr(appended, "MULTIPLES", {torch.float8_e4m3fn: 1})
    monkeypatch.setattr(appended, "MOST", 1)
    monkeypatch.setattr(appended, "_compiled", lambda: compiled.append(1) or appended._in_fp8)
    monkeypatch.setattr(MemoryPlan, "joins", True)
    monkeypatch.setattr(Tensor, "is_cuda", True)
    job = setup.read_job(run_on(flux_folder, tmp_path, *RUN, "memory.quantise=fp8", folder=images))
    job = dataclasses.replace(job, memory_plan=dataclasses.replace(job.memory_plan, appends=True))
    model = setup.load_base(job)
    blocks = setup.place_on_card(job, model, setup.add_adapter(job, model))
    (refresh,) = model.denoiser._forward_pre_hooks.values()
    refresh(model.denoiser, ())
    assert not compiled
    blocks.compile(one_shape=True)
    refresh(model.denoiser, ())
    assert compiled
    blocks.uncompile()
    compiled.clear()
    refresh(model.denoiser, ())
    assert not compiled
