"""Tensors that lie side by side in one are what they were, and an optimizer makes of them what it makes of each alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loratui.engine.errors import UsageError
from loratui.engine.training.flat_parameters import ALIGNMENT, FlatParameters, keeps_small_apart, state_side_by_side
from loratui.engine.training.optimizers import build_optimizer, load_optimizer_state, optimizer_state
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


@pytest.mark.parametrize("name", ["adamw", "adafactor", "prodigy", "dadapt_adam", "lion", "adamw_schedule_free"])
def test_an_optimizer_does_the_same_to_tensors_side_by_side_as_to_each_alone(name: Optimizer) -> None:
    apart, own = tensors(), tensors()
    flat = FlatParameters(own)
    settings = OptimizerSection(name=name, learning_rate=1.0 if name in ("prodigy", "dadapt_adam") else 0.01, weight_decay=0.1)
    step_both(apart, build_optimizer(settings, apart, CPU), flat, build_optimizer(settings, flat.for_optimizer(name), CPU))
    for one in own:
        # The sums of the adaptive ones round.
        assert torch.allclose(own[one], apart[one], rtol=1e-3, atol=1e-5), one


def test_adamw8bit_keeps_small_tensors_in_fp32_as_the_library_does() -> None:
    """Bit for bit what bitsandbytes makes of each tensor alone. The trainer refuses it on a CPU, where it only costs time."""
    from bitsandbytes.optim import AdamW8bit

    apart, own = ({**tensors(), "denoiser.d.lora_A": nn.Parameter(torch.full((8, 1024), 0.1))} for _ in range(2))
    own, apart = ({name: values[name] for name in sorted(values)} for values in (own, apart))
    flat = FlatParameters(own, small_apart=True)
    assert list(flat.parts) == ["denoiser", "denoiser.small", "text_encoder.small", "text_encoder_2.small"]
    settings = OptimizerSection(name="adamw8bit", learning_rate=0.01, weight_decay=0.1)
    together = build_optimizer(settings, flat.for_optimizer("adamw8bit"), torch.device("cuda"))
    step_both(apart, AdamW8bit(list(apart.values()), lr=0.01, weight_decay=0.1), flat, together)
    assert all(torch.equal(own[one], apart[one]) for one in own)
    kept = {name: together.state[value]["state1"].dtype for name, value in flat.parts.items()}
    assert kept == {name: torch.float32 if name.endswith(".small") else torch.uint8 for name in flat.parts}
    again = build_optimizer(settings, flat.for_optimizer("adamw8bit"), torch.device("cuda"))
    load_optimizer_state(again, list(flat.parts), *optimizer_state(together, list(flat.parts)))
    for value in flat.parts.values():
        assert all(torch.equal(again.state[value][name], together.state[value][name]) for name in ("state1", "state2"))


def test_a_run_goes_on_with_the_state_that_it_began_with() -> None:
    assert keeps_small_apart("adamw8bit", {})
    assert not keeps_small_apart("adamw", {})
    assert not keeps_small_apart("adamw8bit", {"denoiser|step": torch.zeros(1)})
    assert keeps_small_apart("adamw8bit", {"denoiser|step": torch.zeros(1), "denoiser.small|step": torch.zeros(1)})


def test_state_that_was_kept_by_tensor_goes_on_side_by_side() -> None:
    """The first versions kept AdamW's state by tensor."""
    apart, own = tensors(), tensors()
    flat = FlatParameters(own)
    settings = OptimizerSection(name="adamw", learning_rate=0.01, weight_decay=0.1)
    before, after = (build_optimizer(settings, over, CPU) for over in (apart, flat.for_optimizer("adamw")))
    step_both(apart, before, flat, after)
    stored, plain = optimizer_state(before, list(apart))
    joined = state_side_by_side(stored, flat)
    assert joined.keys() == {f"{part}|{key}" for part in flat.parts for key in ("step", "exp_avg", "exp_avg_sq")}
    again = build_optimizer(settings, flat.for_optimizer("adamw"), CPU)
    load_optimizer_state(again, list(flat.parts), joined, plain)
    step_both(apart, before, flat, again)
    assert all(torch.allclose(own[name], apart[name], rtol=1e-3, atol=1e-5) for name in own)
    assert state_side_by_side(joined, flat).keys() == joined.keys()
    torn = {key: value for key, value in stored.items() if not key.startswith("denoiser.a.lora_A|exp_avg_sq")}
    with pytest.raises(UsageError, match="other layers"):
        load_optimizer_state(again, list(flat.parts), state_side_by_side(torn, flat), plain)


def step_both(
    apart: dict[str, nn.Parameter], alone: torch.optim.Optimizer, flat: FlatParameters, together: torch.optim.Optimizer
) -> None:
    """Eight steps with the same gradients."""
    for number in range(8):
        source = torch.Generator().manual_seed(100 + number)
        found = [torch.randn(value.shape, generator=source) for value in apart.values()]
        flat.zero_gradients()
        flat.add_gradients(found)
        for value, gradient in zip(apart.values(), found, strict=True):
            value.grad = gradient
        alone.step()
        together.step()
