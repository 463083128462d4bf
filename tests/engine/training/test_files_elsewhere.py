"""LoRA files in other programs: loaded by diffusers itself, and their names by what ComfyUI is known to accept."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from adapted_models import facts, settings_of, trained, write
from comfyui_names import accepted, every_layer
from invokeai_files import takes
from narrow_models import answer, clip, flux, unet_sd15, unet_sdxl
from torch import nn

from loratui.engine.families.common import unet_names
from loratui.engine.families.flux import names as flux_names
from loratui.engine.families.lora import LoraLayout
from loratui.engine.families.spec import Layer
from loratui.engine.formats import kohya, peft_names
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_keys import split
from loratui.engine.formats.programs import opened_by
from loratui.engine.planning.lora_size import clip_layers, denoiser_layers, targeted, tensor_shapes, text_encoders_of
from loratui.engine.planning.targets import text_layers_used, text_patterns
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.layouts import file_tensors
from loratui.engine.training.lora_file.write import write_lora_file
from loratui.presets.schema import Adapter, Family, Targets

# ---- ComfyUI


def stems(family: Family, style: str) -> list[str]:
    """Names of every layer of a full-size denoiser in a style of writing them."""
    original = {
        "sd15": unet_names.sd15,
        "sdxl": unet_names.sdxl,
        "flux": lambda path: flux_names.original(path).stem,
    }[family]
    paths = every_layer(family)
    made = {
        "diffusers kohya": [kohya.UNET + path.replace(".", "_") for path in paths],
        "original kohya": [kohya.UNET + original(path).replace(".", "_") for path in paths],
        "peft": [peft_names.stem(family, "denoiser", path) for path in paths],
        "lycoris": ["lycoris_" + path.replace(".", "_") for path in paths],
        "original dotted": ["diffusion_model." + original(path) for path in paths],
    }[style]
    return list(dict.fromkeys(made))


@pytest.mark.parametrize(
    ("family", "style", "taken", "of"),
    [
        ("sd15", "diffusers kohya", 564, 564),
        ("sd15", "original kohya", 564, 564),
        ("sd15", "peft", 308, 564),
        ("sd15", "lycoris", 564, 564),
        ("sd15", "original dotted", 564, 564),
        ("sdxl", "diffusers kohya", 1588, 1588),
        ("sdxl", "original kohya", 1588, 1588),
        ("sdxl", "peft", 468, 1588),
        ("flux", "diffusers kohya", 0, 1008),
        ("flux", "original kohya", 628, 628),
        ("flux", "original dotted", 628, 628),
        ("flux", "peft", 1008, 1008),
        ("flux", "lycoris", 1008, 1008),
    ],
)
def test_the_table_of_accepted_names_has_the_known_counts(family: Family, style: str, taken: int, of: int) -> None:
    """Two keys a layer. The mapping that was measured listed 630 keys for FLUX in its original names, one layer more than
    diffusers' model has."""
    names = stems(family, style)
    known = accepted(family)
    assert (2 * sum(name in known for name in names), 2 * len(names)) == (taken, of)


@pytest.mark.parametrize(
    "flat", ["text_encoder.encoder.layers.0.self_attn.q_proj", "lora_te1_encoder_layers_0_self_attn_q_proj"]
)
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_row_4_text_encoder_names_without_text_model_are_not_accepted(family: Family, flat: str) -> None:
    assert flat not in accepted(family)


def changes_of(family: Family, adapter: Adapter) -> dict[tuple[Part, str], WeightDelta]:
    """A change of every layer at full size, the tensors as small as can be: only their names matter."""
    form = {"lora": ("lora_A", "lora_B"), "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")}
    names = form.get(adapter.kind, ("lokr_w1", "lokr_w2"))
    layers: list[tuple[Part, str]] = [("denoiser", layer.name) for layer in targeted(family, adapter.targets)]
    layers += [(part, layer.name) for part, shape in text_encoders_of(family, None).items() for layer in clip_layers(shape)]

    def tensor(name: str, path: str) -> torch.Tensor:
        rows = 2 if path == "norm_out.linear" else 4 if path.endswith("proj_mlp") else 1
        return torch.ones(rows if name == "lora_B" else 1, 1)

    return {key: WeightDelta({name: tensor(name, key[1]) for name in names}, 1.0) for key in layers}


@pytest.mark.parametrize(
    ("family", "kind", "layout"),
    [
        *itertools.product(("sd15", "sdxl"), ("lora", "loha", "lokr"), ("kohya",)),
        *itertools.product(("flux",), ("lora",), ("kohya", "peft")),
        *itertools.product(("flux",), ("loha", "lokr"), ("kohya",)),
    ],
)
def test_row_3_no_name_of_a_file_for_comfyui_is_dropped_by_it(family: Any, kind: Any, layout: Any) -> None:
    targets: Any = "all" if family == "flux" else "all+conv"
    adapter = Adapter(kind=kind, rank=1, targets=targets)
    assert "comfyui" in opened_by(family, adapter, layout, trains_text=True)
    tensors = file_tensors(family, changes_of(family, adapter), layout, torch.float32)
    known = accepted(family)
    assert tensors
    assert not [name for name in tensors if split(name)[0] not in known or not split(name)[1]]


def test_peft_names_of_a_unet_are_not_said_to_open_in_comfyui() -> None:
    assert opened_by("sdxl", Adapter(), "peft", trains_text=False) == ("diffusers",)
    assert opened_by("sd15", Adapter(dora=True), "peft", trains_text=True) == ("diffusers",)


# ---- InvokeAI


def files() -> Iterator[tuple[Family, Adapter, LoraLayout, bool]]:
    """Every sort of file that loratui writes: base, adapter, layout, and whether text encoders are in it."""
    for family, kind, targets, text in itertools.product(
        ("sd15", "sdxl", "flux"), ("lora", "loha", "lokr"), get_args(Targets), (False, True)
    ):
        if family == "flux" and targets.endswith("+conv"):
            continue
        for rank in (1, 15, 16) if kind == "lokr" else (1,):
            yield family, Adapter(kind=kind, rank=rank, alpha=1.0, targets=targets), "kohya", text
        if kind == "lora":
            yield family, Adapter(rank=1, alpha=1.0, targets=targets), "peft", text
    yield "sd15", Adapter(kind="lokr", rank=16, alpha=1.0, targets="attention", factor=4), "kohya", True


def names_in(family: Family, adapter: Adapter, layout: LoraLayout, text: bool) -> set[str]:
    """The names of a file for a base of full size, whose layers and tensors are those of training."""
    layers: list[tuple[Part, Layer]] = [("denoiser", layer) for layer in targeted(family, adapter.targets)]
    for part, shape in text_encoders_of(family, None).items() if text else ():
        patterns = text_patterns(adapter.targets, text_layers_used(family, part, shape.layers, 1))
        layers += [(part, layer) for layer in clip_layers(shape) if any(re.fullmatch(p, layer.name) for p in patterns)]
    changes = {
        (part, layer.name): WeightDelta({name: torch.zeros(s) for name, s in tensor_shapes(layer, adapter).items()}, 1.0)
        for part, layer in layers
    }
    return set(file_tensors(family, changes, layout, torch.float16))


@pytest.mark.parametrize("family", ["sd15", pytest.param("sdxl", marks=pytest.mark.long), "flux"])
def test_invokeai_is_named_for_the_files_that_it_takes_whole_and_no_others(family: Family) -> None:
    said, known = {}, {}
    for case in files():
        if case[0] == family:
            adapter, layout, text = case[1:]
            said[case] = "invokeai" in opened_by(family, adapter, layout, trains_text=text)
            known[case] = takes(family, names_in(*case))
    assert said == known
    assert {True, False} == set(said.values())


# ---- diffusers


def pipeline(family: Family, models: dict[Part, nn.Module]) -> Any:
    from diffusers import (
        DDIMScheduler,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
    )

    first, second, denoiser = models.get("text_encoder"), models.get("text_encoder_2"), models["denoiser"]
    none: dict[str, Any] = {"vae": None, "tokenizer": None}
    if family == "flux":
        scheduler = FlowMatchEulerDiscreteScheduler()
        return FluxPipeline(
            **none, text_encoder=first, transformer=denoiser, scheduler=scheduler, text_encoder_2=None, tokenizer_2=None
        )
    if family == "sdxl":
        return StableDiffusionXLPipeline(
            **none, text_encoder=first, text_encoder_2=second, tokenizer_2=None, unet=denoiser, scheduler=DDIMScheduler()
        )
    return StableDiffusionPipeline(
        **none,
        text_encoder=first,
        unet=denoiser,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


MODELS: dict[Family, Any] = {
    "sd15": lambda: {"denoiser": unet_sd15(), "text_encoder": clip()},
    "sdxl": lambda: {"denoiser": unet_sdxl(), "text_encoder": clip(), "text_encoder_2": clip(24, projected=True)},
    "flux": lambda: {"denoiser": flux(), "text_encoder": clip()},
}


@pytest.mark.parametrize(
    ("family", "settings", "layout"),
    [
        ("sd15", Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv"), "kohya"),
        ("sd15", Adapter(rank=4, alpha=3.0, targets="attention", rank_stabilised=True), "kohya"),
        ("sd15", Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv"), "peft"),
        ("sd15", Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv", dora=True), "peft"),
        ("sdxl", Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv", conv_rank=2, conv_alpha=3.0), "kohya"),
        ("sdxl", Adapter(rank=4, alpha=2.0, targets="all+conv"), "kohya"),
        ("sdxl", Adapter(rank=4, alpha=2.0, targets="all"), "peft"),
        ("sdxl", Adapter(rank=4, alpha=2.0, targets="attention", dora=True), "peft"),
        ("flux", Adapter(rank=4, alpha=2.0, targets="attention"), "peft"),
        ("flux", Adapter(rank=4, alpha=2.0, targets="all"), "peft"),
        ("flux", Adapter(rank=4, alpha=2.0, targets="all", dora=True), "peft"),
    ],
)
def test_row_2_diffusers_loads_a_file_with_full_effect_whatever_alpha_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, family: Family, settings: Adapter, layout: Any
) -> None:
    """Rows 2 and 4: denoiser and text encoders work as they were trained, and nothing of the file is left over."""
    models, fresh = MODELS[family](), MODELS[family]()
    base = [answer(model) for model in models.values()]
    adapter = trained(family, models, settings)
    own = [answer(model) for model in models.values()]
    path = tmp_path / "lora.safetensors"
    write(path, family, adapter, settings, layout=layout)
    loaded = pipeline(family, fresh)
    with caplog.at_level(logging.INFO):
        loaded.load_lora_weights(path)
    assert "unexpected" not in caplog.text.lower()
    assert "No LoRA keys" not in caplog.text
    for model, before, wanted in zip(fresh.values(), base, own, strict=True):
        assert (answer(model) - wanted).norm() < 1e-4 * (wanted - before).norm()
    if not settings.dora:
        loaded.set_adapters(loaded.get_active_adapters(), 0.0)
        assert all(torch.equal(answer(model), before) for model, before in zip(fresh.values(), base, strict=True))


@pytest.mark.parametrize("mlp", [True, False], ids=["all members", "one missing"])
def test_row_5_diffusers_reads_fused_flux_files_of_true_width_with_full_effect(tmp_path: Path, mlp: bool) -> None:
    """Its converter knows FLUX.1's true width only, so the file has that, and few layers."""
    from diffusers import FluxPipeline

    wanted = [
        layer
        for layer in denoiser_layers("flux")
        if layer.name.startswith(("transformer_blocks.0.", "single_transformer_blocks.0."))
        and (mlp or not layer.name.endswith("proj_mlp"))
    ]
    source = torch.Generator().manual_seed(0)
    changes: dict[tuple[Part, str], WeightDelta] = {
        ("denoiser", layer.name): WeightDelta(
            {
                "lora_A": torch.randn(2, layer.inputs, generator=source),
                "lora_B": torch.randn(layer.outputs, 2, generator=source),
            },
            0.75,
        )
        for layer in wanted
    }
    path = tmp_path / "lora.safetensors"
    write_lora_file(path, changes, facts(settings_of("flux", Adapter(rank=2, alpha=1.5)), "kohya"), "fp32")
    theirs = FluxPipeline.lora_state_dict(path)
    for layer in wanted:
        down, up = (theirs.pop(f"transformer.{layer.name}.lora_{end}.weight") for end in "AB")
        own = changes["denoiser", layer.name]
        given = torch.randn(layer.inputs, 3, generator=source)
        expected = own.scale * (own.tensors["lora_B"] @ (own.tensors["lora_A"] @ given))
        assert torch.allclose(up @ (down @ given), expected, rtol=1e-3, atol=1e-2), layer.name
    assert not any(bool(value.any()) for name, value in theirs.items() if "lora_B" in name), "only what is missing, as zeros"


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_diffusers_does_not_read_lycoris_files(tmp_path: Path, kind: Any) -> None:
    """If it ever does, the table of what loads where can say so."""
    settings = Adapter(kind=kind, rank=2, targets="attention")
    models = MODELS["sd15"]()
    write(tmp_path / "lora.safetensors", "sd15", trained("sd15", models, settings), settings)
    assert "diffusers" not in opened_by("sd15", settings, "kohya", trains_text=True)
    fresh = MODELS["sd15"]()
    before = answer(fresh["denoiser"])
    with pytest.raises((ValueError, KeyError, AttributeError, RuntimeError)):
        pipeline("sd15", fresh).load_lora_weights(tmp_path / "lora.safetensors")
    assert torch.equal(answer(fresh["denoiser"]), before)
