"""The LoRA on its model: what trains, in which format, and how strongly it works."""

from __future__ import annotations

import hashlib

import pytest
import torch

from loratui.engine.errors import UsageError
from loratui.engine.training.adapters import LoraAdapter, add_lora
from loratui.engine.training.families.base import Framing, TextStates
from loratui.engine.training.families.sd15 import Sd15
from loratui.presets.schema import Adapter

WHOLE = Framing.whole(64, 64)
ADAPTER = Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv")


def put(family: Sd15, settings: Adapter = ADAPTER, seed: int = 1) -> LoraAdapter:
    return add_lora(family.denoiser, family.target_pattern(settings.targets), settings, seed=seed)


def move(adapter: LoraAdapter) -> None:
    """Gives B values, as training would."""
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in adapter.modules:
            module.up.copy_(torch.randn(module.up.shape, generator=source) * 0.2)


def run(family: Sd15) -> torch.Tensor:
    text = TextStates({"states": torch.ones(77, 16)}, 0)
    with torch.no_grad():
        return family.predict(torch.linspace(-1, 1, 256).view(1, 4, 8, 8), torch.tensor([300]), [text], [WHOLE])


def frozen_hash(family: Sd15, adapter: LoraAdapter) -> str:
    own = {id(p) for p in adapter.parameters.values()}
    digest = hashlib.sha256()
    for name, value in family.denoiser.named_parameters():
        if id(value) not in own:
            digest.update(name.encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lora_is_fp32_on_every_base(family: Sd15, dtype: torch.dtype) -> None:
    family.denoiser.to(dtype)
    adapter = put(family)
    assert {value.dtype for value in adapter.parameters.values()} == {torch.float32}
    assert all(value.requires_grad for value in adapter.parameters.values())
    trainable = [p for p in family.denoiser.parameters() if p.requires_grad]
    assert len(trainable) == len(adapter.parameters)


def test_small_updates_are_not_lost(family: Sd15) -> None:
    family.denoiser.to(torch.bfloat16)
    value = put(family).modules[0].up
    torch.nn.init.constant_(value, 0.05)
    optimizer = torch.optim.AdamW([value], lr=1e-5, weight_decay=0)
    for _ in range(500):
        value.grad = torch.ones_like(value)
        optimizer.step()
    assert (0.05 - value).mean().item() == pytest.approx(0.005, rel=1e-2)


def test_a_new_lora_changes_nothing_and_a_moved_one_does(family: Sd15) -> None:
    base = run(family)
    adapter = put(family)
    assert torch.equal(base, run(family))
    move(adapter)
    assert not torch.allclose(base, run(family), atol=1e-3)


def test_strength_0_is_the_base_bit_for_bit_and_the_way_back_is_whole(family: Sd15) -> None:
    base = run(family)
    adapter = put(family)
    move(adapter)
    full = run(family)
    with adapter.strength(0.0):
        assert torch.equal(base, run(family))
    with adapter.strength(0.5):
        half = run(family)
    assert torch.equal(full, run(family))
    assert (half - base).norm() < (full - base).norm()
    assert all(value.requires_grad for value in adapter.parameters.values())


def test_the_starting_values_depend_on_the_seed_alone(family: Sd15, base_folder) -> None:
    from loratui.engine.formats.base_files import identify
    from loratui.engine.training.families.sd15 import load
    from loratui.presets.schema import Settings

    torch.manual_seed(123)
    state = torch.get_rng_state()
    first = put(family, seed=1).state()
    assert torch.equal(state, torch.get_rng_state())
    second_family = load(identify(base_folder), Settings(), device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(second_family, Sd15)
    second = put(second_family, seed=1).state()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(name.endswith("lora_A") and first[name].abs().max() > 0 for name in first)
    assert all(first[name].abs().max() == 0 for name in first if name.endswith("lora_B"))


def test_convolutions_may_have_their_own_rank_and_alpha(family: Sd15) -> None:
    adapter = put(family, Adapter(rank=4, alpha=8.0, conv_rank=2, conv_alpha=1.0, targets="sd-scripts+conv"))
    by_kind = {(tuple(m.down.shape[2:]) == (3, 3)): (m.rank, m.scale) for m in adapter.modules}
    assert by_kind == {True: (2, 0.5), False: (4, 2.0)}


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 1.0), ({"alpha": 2.0}, 0.5), ({"alpha": 2.0, "rank_stabilised": True}, 1.0)]
)
def test_the_scale_is_alpha_over_rank(family: Sd15, settings: dict, scale: float) -> None:
    module = put(family, Adapter(rank=4, targets="attention", **settings)).modules[0]
    assert module.scale == pytest.approx(scale)
    assert module.file_alpha / module.rank == pytest.approx(scale)


def test_training_moves_every_layer_of_the_lora_and_nothing_else(family: Sd15) -> None:
    adapter = put(family)
    before = frozen_hash(family, adapter)
    optimizer = torch.optim.AdamW(adapter.parameters.values(), lr=1e-2)
    text = TextStates({"states": torch.randn(77, 16)}, 0)
    for step in range(3):
        prediction = family.predict(torch.randn(2, 4, 8, 8), torch.tensor([10, 900 - step]), [text, text], [WHOLE, WHOLE])
        (prediction - 1).square().mean().backward()
        assert all(value.grad is not None for value in adapter.parameters.values())
        optimizer.step()
        optimizer.zero_grad()
    assert frozen_hash(family, adapter) == before
    assert all(module.up.abs().max() > 0 for module in adapter.modules)


def test_dropout_is_off_when_samples_are_made(family: Sd15) -> None:
    adapter = put(family, Adapter(rank=4, targets="attention", dropout=0.5))
    move(adapter)
    adapter.train()
    assert not torch.equal(run(family), run(family))
    with adapter.strength(1.0):
        assert torch.equal(run(family), run(family))
    assert not torch.equal(run(family), run(family)), "dropout must be on again afterwards"


def test_state_comes_back_and_another_shape_is_refused(family: Sd15) -> None:
    adapter = put(family)
    move(adapter)
    state, output = adapter.state(), run(family)
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.zero_()
    adapter.load_state(state)
    assert torch.equal(output, run(family))
    name = next(iter(state))
    with pytest.raises(UsageError, match="another rank"):
        adapter.load_state({**state, name: state[name][:1]})
    with pytest.raises(UsageError, match="other layers"):
        adapter.load_state({k: v for k, v in state.items() if k != name})


def test_targets_that_match_nothing_are_an_error(family: Sd15) -> None:
    with pytest.raises(UsageError, match="no layer"):
        add_lora(family.denoiser, "nothing", ADAPTER, seed=1)


def test_a_kind_that_is_not_trained_is_refused(family: Sd15) -> None:
    with pytest.raises(UsageError, match="loha"):
        put(family, Adapter(kind="loha"))
