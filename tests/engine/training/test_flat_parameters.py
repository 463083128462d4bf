"""Tensors that lie side by side in one are what they were, and an optimizer makes of them what it makes of each alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loratui.engine.training.flat_parameters import ALIGNMENT, FlatParameters
from loratui.engine.training.optimizers import build_optimizer, resolve_name
from loratui.presets.schema import Optimizer, OptimizerSection

CPU = torch.device("cpu")
SHAPES = {
    "denoiser.a.lora_A": (16, 64),
    "denoiser.a.lora_B": (48, 16),
    "denoiser.c.lora_A": (4, 8, 3, 3),
    "text_encoder.a.lora_A": (4, 7),
    "text_encoder_2.a.lora_A": (3,),
}


def tensors() -> dict[str, nn.Parameter]:
    source = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape, generator=source)) for name, shape in SHAPES.items()}


def gradients(number: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(100 + number)
    return [torch.randn(shape, generator=source) for shape in SHAPES.values()]


def test_every_tensor_keeps_its_values_and_shape_and_changes_with_the_one_that_it_lies_in() -> None:
    own, before = tensors(), tensors()
    packed = FlatParameters(own)
    assert list(packed.parts) == ["denoiser", "text_encoder", "text_encoder_2"]
    assert all(torch.equal(own[name], before[name]) for name in own)
    with torch.no_grad():
        for part in packed.parts.values():
            part.mul_(2)
    assert all(torch.equal(own[name], 2 * before[name]) for name in own)
    with torch.no_grad():
        own["denoiser.c.lora_A"].fill_(7.0)
    assert int((packed.parts["denoiser"] == 7.0).sum()) == own["denoiser.c.lora_A"].numel()


def test_no_two_tensors_share_a_block_of_8_bit_state() -> None:
    own = tensors()
    packed = FlatParameters(own)
    blocks: set[int] = set()
    for name in ("denoiser.a.lora_A", "denoiser.a.lora_B", "denoiser.c.lora_A"):
        start = own[name].storage_offset() - packed.parts["denoiser"].storage_offset()
        mine = set(range(start // ALIGNMENT, (start + own[name].numel() - 1) // ALIGNMENT + 1))
        assert not blocks & mine
        blocks |= mine


def test_gradients_are_added_and_none_is_nothing() -> None:
    own = tensors()
    packed = FlatParameters(own)
    first, second = gradients(0), gradients(1)
    packed.add_gradients(first)
    packed.add_gradients([None, *second[1:]])
    for name, a, b in zip(own, first, second, strict=True):
        expected = a if name == "denoiser.a.lora_A" else a + b
        found = own[name].grad
        assert found is not None
        assert torch.equal(found, expected)
    packed.zero_gradients()
    assert not any(part.grad is not None and part.grad.any() for part in packed.parts.values())


def test_gradients_are_clipped_by_the_norm_of_all_of_them() -> None:
    own = tensors()
    packed = FlatParameters(own)
    found = gradients(0)
    packed.add_gradients(found)
    norm = torch.cat([one.flatten() for one in found]).norm()
    assert packed.clip_gradients(float("inf")) == pytest.approx(float(norm), rel=1e-6)
    assert packed.clip_gradients(1.0) == pytest.approx(float(norm), rel=1e-6)
    assert packed.clip_gradients(1.0) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "adafactor", "prodigy", "dadapt_adam", "lion", "adamw_schedule_free"])
def test_an_optimizer_does_the_same_to_tensors_side_by_side_as_to_each_alone(name: Optimizer) -> None:
    """AdamW8bit too, whose blocks of 8-bit state begin with each tensor; tensors that are too small for it stay as they are."""
    apart, own = tensors(), tensors()
    packed = FlatParameters(own)
    settings = OptimizerSection(name=name, learning_rate=1.0 if name in ("prodigy", "dadapt_adam") else 0.01, weight_decay=0.1)
    alone, together = (_optimizer(settings, values) for values in (apart, packed.for_optimizer(resolve_name(name, CPU))))
    for number in range(8):
        found = gradients(number)
        packed.zero_gradients()
        packed.add_gradients(found)
        for value, gradient in zip(apart.values(), found, strict=True):
            value.grad = gradient
        alone.step()
        together.step()
    for one in own:
        # 8-bit state is coarser than what AdamW8bit keeps of tensors under 4096 values, and the sums of the adaptive ones round.
        assert torch.allclose(own[one], apart[one], rtol=1e-3, atol=2e-3 if name == "adamw8bit" else 1e-5), one


def _optimizer(settings: OptimizerSection, values: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    if settings.name == "adamw8bit":  # the trainer refuses it on a CPU, where it only costs time
        from bitsandbytes.optim import AdamW8bit

        made: torch.optim.Optimizer = AdamW8bit(list(values.values()), lr=0.01, weight_decay=0.1)
        return made
    return build_optimizer(settings, values, CPU)
