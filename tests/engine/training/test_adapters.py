"""Adapters on their models: what trains, in which format, and how strongly it works."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from narrow_models import answer, clip, flux, unet_sd15, unet_sdxl
from torch import nn

from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import part_of
from loratui.engine.planning.adapter_rules import contradictions
from loratui.engine.planning.lora_size import Layer, factors, tensor_shapes
from loratui.engine.planning.targets import denoiser_patterns, text_layers_used, text_patterns
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.adapters.build import Target, add_adapters, matching_modules
from loratui.presets.schema import Adapter, Base, Family, Output, Settings

ADAPTER = Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv")
KINDS = [
    ADAPTER,
    Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv", kind="loha"),
    Adapter(rank=2, alpha=3.0, targets="sd-scripts+conv", kind="lokr"),
    Adapter(rank=1, alpha=3.0, targets="sd-scripts+conv", kind="lokr", decompose_both=True, factor=4),
    Adapter(rank=64, alpha=32.0, targets="sd-scripts+conv", kind="lokr"),
    Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv", dora=True),
]
each_kind = pytest.mark.parametrize("settings", KINDS, ids=["lora", "loha", "lokr", "lokr-split", "lokr-whole", "dora"])


def put(model: nn.Module, settings: Adapter = ADAPTER, family: Family = "sd15", seed: int = 1) -> LoraAdapter:
    patterns = denoiser_patterns(family, settings.targets)
    return add_adapters({"denoiser": Target(model, patterns, settings)}, seed=seed)


def move(adapter: LoraAdapter, by: float = 0.1) -> None:
    """Changes every value, as training would."""
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.add_(torch.randn(value.shape, generator=source) * by)


def frozen_hash(model: nn.Module, adapter: LoraAdapter) -> str:
    own = {id(p) for p in adapter.parameters.values()}
    digest = hashlib.sha256()
    for name, value in model.named_parameters():
        if id(value) not in own:
            digest.update(name.encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()


@each_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_row_1_adapters_are_fp32_on_every_base(dtype: torch.dtype, settings: Adapter) -> None:
    model = unet_sd15().to(dtype)
    adapter = put(model, settings)
    assert {value.dtype for value in adapter.parameters.values()} == {torch.float32}
    assert all(value.requires_grad for value in adapter.parameters.values())
    assert sum(p.requires_grad for p in model.parameters()) == len(adapter.parameters)


def test_row_1_small_updates_are_not_lost() -> None:
    value = put(unet_sd15().to(torch.bfloat16)).layers[0].parameters["lora_B"]
    torch.nn.init.constant_(value, 0.05)
    optimizer = torch.optim.AdamW([value], lr=1e-5, weight_decay=0)
    for _ in range(500):
        value.grad = torch.ones_like(value)
        optimizer.step()
    assert (0.05 - value).mean().item() == pytest.approx(0.005, rel=1e-2)


@each_kind
def test_a_new_adapter_changes_nothing_and_a_moved_one_does(settings: Adapter) -> None:
    model = unet_sd15()
    base = answer(model)
    adapter = put(model, settings)
    assert torch.allclose(base, answer(model), atol=1e-6 if settings.dora else 0.0)
    move(adapter)
    assert not torch.allclose(base, answer(model), atol=1e-3)


@each_kind
def test_strength_0_is_the_base_bit_for_bit_and_the_way_back_is_whole(settings: Adapter) -> None:
    model = unet_sd15()
    base = answer(model)
    adapter = put(model, settings)
    move(adapter)
    full = answer(model)
    with adapter.strength(0.0):
        assert torch.equal(base, answer(model))
    with adapter.strength(0.5):
        half = answer(model)
    assert torch.equal(full, answer(model))
    assert (half - base).norm() < (full - base).norm()
    assert all(value.requires_grad for value in adapter.parameters.values())


@each_kind
def test_the_starting_values_depend_on_the_seed_alone(settings: Adapter) -> None:
    torch.manual_seed(123)
    model, other = unet_sd15(), unet_sd15()
    state = torch.get_rng_state()
    first = put(model, settings, seed=1).state()
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(77)
    second = put(other, settings, seed=1).state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = put(unet_sd15(), settings, seed=2).state()
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_convolutions_may_have_their_own_rank_and_alpha() -> None:
    adapter = put(unet_sd15(), Adapter(rank=4, alpha=8.0, conv_rank=2, conv_alpha=1.0, targets="sd-scripts+conv"))
    downs = {one.path: one.parameters["lora_A"] for one in adapter.layers}
    by_kind = {tuple(downs[one.path].shape[2:]) == (3, 3): (len(downs[one.path]), one.scale) for one in adapter.layers}
    assert by_kind == {True: (2, 0.5), False: (4, 2.0)}


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 1.0), ({"alpha": 2.0}, 0.5), ({"alpha": 2.0, "rank_stabilised": True}, 1.0)]
)
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_the_scale_is_alpha_over_rank_or_over_its_root(kind: Any, settings: dict[str, Any], scale: float) -> None:
    layer = put(unet_sd15(), Adapter(kind=kind, rank=4, targets="attention", **settings)).layers[0]
    assert layer.scale == pytest.approx(scale)


@each_kind
def test_row_39_training_moves_every_layer_of_the_adapter_and_nothing_else(settings: Adapter) -> None:
    model = unet_sd15()
    adapter = put(model, settings)
    before, began = frozen_hash(model, adapter), adapter.state()
    optimizer = torch.optim.AdamW(adapter.parameters.values(), lr=1e-2, weight_decay=0)
    source = torch.Generator().manual_seed(3)
    for step in range(5):
        given = torch.randn(2, 4, 16, 16, generator=source), torch.tensor([10, 900 - step])
        prediction = model(*given, torch.randn(2, 7, 16, generator=source), return_dict=False)[0]
        (prediction - 1).square().mean().backward()
        assert all(value.grad is not None for value in adapter.parameters.values())
        optimizer.step()
        optimizer.zero_grad()
    assert frozen_hash(model, adapter) == before
    after = adapter.state()
    moved = {name for name in began if not torch.equal(began[name], after[name])}
    assert all(any(f"{one.name}.{name}" in moved for name in one.parameters) for one in adapter.layers)
    assert all(change.norm() > 0 for change in adapter.changes(after).values())


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
@pytest.mark.parametrize("dropout", ["dropout", "rank_dropout", "module_dropout"])
def test_row_13_dropouts_are_off_when_samples_are_made(kind: Any, dropout: str) -> None:
    if kind != "lora" and dropout == "dropout":
        pytest.skip("refused: see the contradictions")
    model = unet_sd15()
    adapter = put(model, Adapter(kind=kind, rank=4, targets="attention", **{dropout: 0.5}))
    move(adapter, 0.3)
    adapter.train()
    assert not torch.equal(answer(model), answer(model))
    with adapter.strength(1.0):
        assert torch.equal(answer(model), answer(model))
    assert not torch.equal(answer(model), answer(model)), "dropout must be on again afterwards"
    drawn = []
    for _ in range(2):
        torch.manual_seed(11)
        drawn.append(answer(model))
    assert torch.equal(*drawn), "the seed of a step decides what is dropped"


@pytest.mark.parametrize("dropout", ["rank_dropout", "module_dropout"])
def test_dropout_keeps_the_effect_on_average_or_leaves_it_out_whole(dropout: str) -> None:
    model = nn.Sequential(nn.Linear(6, 5))
    settings = Adapter(rank=4, **{dropout: 0.5})
    adapter = add_adapters({"denoiser": Target(model, ("0",), settings)}, seed=1)
    move(adapter, 0.5)
    given = torch.ones(3, 6)
    with torch.no_grad(), adapter.strength(0.0):
        base = model(given)
    with torch.no_grad(), adapter.strength(1.0):
        full = model(given)
    adapter.train()
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = torch.stack([model(given) for _ in range(4000)])
    if dropout == "rank_dropout":
        assert torch.allclose(drawn.mean(0), full, atol=0.15)
        assert not torch.equal(drawn[0, 0], drawn[0, 1]), "images of a batch lose different ranks"
        return
    is_base = torch.isclose(drawn, base).all(-1).all(-1)
    assert torch.equal(is_base, ~torch.isclose(drawn, full).all(-1).all(-1))
    assert 0.45 < is_base.float().mean() < 0.55


@each_kind
def test_state_comes_back_and_another_shape_is_refused(settings: Adapter) -> None:
    model = unet_sd15()
    adapter = put(model, settings)
    move(adapter)
    state, output = adapter.state(), answer(model)
    move(adapter, 0.3)
    adapter.load_state(state)
    assert torch.equal(output, answer(model))
    name = next(iter(state))
    with pytest.raises(UsageError, match="another rank"):
        adapter.load_state({**state, name: state[name][:1]})
    with pytest.raises(UsageError, match="other layers"):
        adapter.load_state({k: v for k, v in state.items() if k != name})


def test_row_38_a_pattern_that_matches_nothing_is_an_error_even_beside_one_that_does() -> None:
    model = unet_sd15()
    with pytest.raises(UsageError, match="nothing_like_it"):
        add_adapters({"denoiser": Target(model, (r".*attn1\.to_q", "nothing_like_it"), ADAPTER)}, seed=1)


def test_row_38_a_name_that_is_also_the_end_of_others_takes_only_itself() -> None:
    model = flux()
    adapter = add_adapters({"denoiser": Target(model, ("proj_out",), Adapter(rank=2))}, seed=1)
    assert [one.path for one in adapter.layers] == ["proj_out"]
    inner = put(flux(), Adapter(rank=2, targets="sd-scripts"), "flux")
    assert "proj_out" not in {one.path for one in inner.layers}


def full_size(family: Family) -> nn.Module:
    from diffusers import FluxTransformer2DModel, UNet2DConditionModel

    with torch.device("meta"):
        if family == "flux":
            return FluxTransformer2DModel(guidance_embeds=True)
        if family == "sd15":
            return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        return unet_sdxl(
            cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20),
            norm_num_groups=32,
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )


COUNTS: dict[Family, dict[str, tuple[int, int]]] = {
    "sd15": {
        "diffusers": (128, 0),
        "attention": (128, 0),
        "attention+ff": (160, 0),
        "sd-scripts": (192, 6_782_976),
        "all": (184, 0),
        "sd-scripts+conv": (278, 0),
    },
    "sdxl": {
        "diffusers": (560, 0),
        "attention": (560, 0),
        "attention+ff": (700, 0),
        "sd-scripts": (722, 42_557_440),
        "all": (743, 0),
        "sd-scripts+conv": (788, 0),
    },
    "flux": {
        "diffusers": (342, 0),
        "attention": (266, 26_148_864),
        "attention+ff": (418, 0),
        "sd-scripts": (494, 0),
        "all": (504, 0),
    },
}


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_row_38_target_sets_have_their_known_numbers_of_modules_at_full_size(family: Family) -> None:
    model = full_size(family)
    for targets, (modules, parameters) in COUNTS[family].items():
        matched = matching_modules(model, denoiser_patterns(family, targets))  # type: ignore[arg-type]
        assert len(matched) == modules, targets
        if parameters:
            assert 16 * sum(_sizes(module) for module in matched.values()) == parameters


def _sizes(module: Any) -> int:
    weight = module.weight
    return int(weight.shape[0] + weight[0].numel())


@each_kind
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_plan_knows_every_tensor_of_every_kind(family: Family, settings: Adapter) -> None:
    model = unet_sd15() if family == "sd15" else unet_sdxl()
    layers = {path: _layer(path, module) for path, module in model.named_modules() if hasattr(module, "weight")}
    adapter = put(model, settings, family)
    for one in adapter.layers:
        shapes = {name: tuple(value.shape) for name, value in one.parameters.items()}
        assert shapes == tensor_shapes(layers[one.path], settings), one.path


def _layer(path: str, module: Any) -> Layer:
    shape = tuple(module.weight.shape)
    return Layer(path, shape[1] if len(shape) > 1 else 0, shape[0], shape[2] if len(shape) == 4 else 0)


@pytest.mark.parametrize("wanted", [-1, 1, 3, 4, 8, 100])
def test_kronecker_factors_are_those_of_the_library(wanted: int) -> None:
    from peft.tuners.lokr.layer import factorization

    assert [factors(n, wanted) for n in range(1, 400)] == [factorization(n, wanted) for n in range(1, 400)]


# ---- text encoders


@pytest.mark.parametrize(("targets", "each"), [("attention", 4), ("attention+ff", 6), ("sd-scripts", 6), ("all+conv", 6)])
def test_row_4_text_encoders_get_all_four_projections_and_never_the_last_one(targets: Any, each: int) -> None:
    for model in (clip(), clip(projected=True)):
        matched = matching_modules(model, text_patterns(targets, 3))
        assert len(matched) == 3 * each
        assert sum(path.endswith("self_attn.out_proj") for path in matched) == 3
        assert not any("text_projection" in path for path in matched)


@pytest.mark.parametrize(
    ("family", "part", "clip_skip", "used"),
    [
        ("sd15", "text_encoder", 1, 12),
        ("sd15", "text_encoder", 2, 11),
        ("sd15", "text_encoder", 12, 1),
        ("sdxl", "text_encoder", 1, 11),
        ("sdxl", "text_encoder", 2, 11),
        ("sdxl", "text_encoder", 3, 10),
        ("sdxl", "text_encoder_2", 2, 12),
        ("flux", "text_encoder", 1, 12),
    ],
)
def test_layers_that_clip_skip_passes_over_get_no_adapter(family: Any, part: Any, clip_skip: int, used: int) -> None:
    assert text_layers_used(family, part, 12, clip_skip) == used


def test_every_layer_of_a_text_encoder_that_has_an_adapter_gets_a_gradient() -> None:
    encoder: Any = clip(layers=4)
    used = text_layers_used("sd15", "text_encoder", 4, 2)
    adapter = add_adapters({"text_encoder": Target(encoder, text_patterns("sd-scripts", used), ADAPTER)}, seed=1)
    hidden = encoder(torch.tensor([[198, 5, 6, 199]]), output_hidden_states=True).hidden_states
    hidden[-2].square().sum().backward()
    assert all(one.parameters["lora_B"].grad.abs().max() > 0 for one in adapter.layers)


def test_several_parts_are_one_adapter_whose_names_tell_them_apart() -> None:
    unet, first, second = unet_sdxl(), clip(), clip(24, projected=True)
    before = [answer(model) for model in (unet, first, second)]
    patterns = text_patterns("attention", 3)
    wide, narrow = Adapter(rank=4, targets="attention"), Adapter(rank=2)
    adapter = add_adapters(
        {
            "denoiser": Target(unet, denoiser_patterns("sdxl", "attention"), wide),
            "text_encoder": Target(first, patterns, narrow),
            "text_encoder_2": Target(second, patterns, narrow),
        },
        seed=1,
    )
    parts = [part_of(name) for name in adapter.parameters]
    assert parts == sorted(parts), "the parts stand one after the other"
    assert set(parts) == {"denoiser", "text_encoder", "text_encoder_2"}
    assert "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_A" in adapter.parameters
    state = adapter.state()
    assert state["denoiser.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A"].shape[0] == 4
    move(adapter, 0.3)
    moved = [answer(model) for model in (unet, first, second)]
    assert all(not torch.allclose(old, new, atol=1e-3) for old, new in zip(before, moved, strict=True))
    with adapter.strength(0.0):
        assert all(torch.equal(old, answer(model)) for old, model in zip(before, (unet, first, second), strict=True))


def test_a_name_of_no_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part"):
        part_of("unet.conv_in.lora_A")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(adapter=Adapter(kind="loha", dropout=0.1)), "adapter.dropout"),
        (Settings(adapter=Adapter(kind="lokr", dora=True)), "adapter.dora"),
        (Settings(adapter=Adapter(dora=True, rank_dropout=0.1)), "adapter.dora"),
        (Settings(base=Base(family="flux"), adapter=Adapter(targets="attention+conv")), "no convolutions"),
        (Settings(adapter=Adapter(dora=True), output=Output(format="kohya")), "output.format"),
        (Settings(adapter=Adapter(kind="lokr"), output=Output(format="peft")), "output.format"),
    ],
)
def test_settings_that_exclude_each_other_are_told_before_a_start(settings: Settings, said: str) -> None:
    (found,) = contradictions(settings)
    assert said in found.message
    assert found.remedy


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(adapter=Adapter(dora=True, dropout=0.1)), Settings(adapter=KINDS[2])]
)
def test_settings_that_go_together_are_not(settings: Settings) -> None:
    assert not list(contradictions(settings))
