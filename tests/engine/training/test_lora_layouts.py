"""LoRA files in every layout that is met: what is read from them is the change that they were made of, to the last digits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import trained
from narrow_models import clip, flux, unet_sd15, unet_sdxl
from safetensors.torch import save_file
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.families.common import unet_names
from loratui.engine.families.flux import names as flux_names
from loratui.engine.families.lora import Original
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.engine.training.lora_file.init_from import Started, fit, init_from
from loratui.presets.schema import Adapter, Family

RANK = 3
OWN = Adapter(rank=5, alpha=2.0, targets="all")
Layer = tuple[str, str]
Pair = tuple[Tensor, Tensor]
Name = Callable[[str, str], str]


@pytest.fixture(scope="module")
def adapters() -> Mapping[Family, Any]:
    """One adapter a family, on narrow models, as at the start of training."""
    made: dict[Family, dict[Any, Any]] = {
        "sd15": {"denoiser": unet_sd15(), "text_encoder": clip()},
        "sdxl": {"denoiser": unet_sdxl(), "text_encoder": clip(), "text_encoder_2": clip(24, projected=True)},
        "flux": {"denoiser": flux(), "text_encoder": clip()},
    }
    return {family: trained(family, models, OWN, by=0.0) for family, models in made.items()}


@pytest.fixture
def fresh(adapters: Mapping[Family, Any]) -> Iterator[Callable[[Family], Any]]:
    before = {family: adapter.state() for family, adapter in adapters.items()}
    yield lambda family: adapters[family]
    for family, adapter in adapters.items():
        adapter.load_state(before[family])


def pairs(adapter: Any, *, part: str = "", rank: int = RANK) -> dict[Layer, Pair]:
    """Random A and B for each layer of an adapter, or of one part of it."""
    source = torch.Generator().manual_seed(7)
    made = {}
    for (own_part, path), change in adapter.changes(adapter.state()).items():
        if own_part == part or not part:
            down, up = change.tensors["lora_A"], change.tensors["lora_B"]
            made[own_part, path] = (
                torch.randn(rank, *down.shape[1:], generator=source),
                torch.randn(up.shape[0], rank, *up.shape[2:], generator=source),
            )
    return made


def delta(pair: Pair, scale: float = 1.0) -> Tensor:
    return scale * (pair[1].flatten(1) @ pair[0].flatten(1))


def check(path: Path, family: Family, adapter: Any, wanted: Mapping[Layer, Tensor]) -> Started:
    """The file changes the layers as wanted, and no others."""
    started = init_from(path, family, adapter)
    changes = adapter.changes(adapter.state())
    for layer, expected in wanted.items():
        found = changes[layer].matrix()
        assert (found - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max())), layer
    assert started.taken == len(wanted)
    assert all(float(change.norm()) == 0 for layer, change in changes.items() if layer not in wanted)
    return started


def saved(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, metadata)
    return path


ENDS = {
    "lora_A": (".lora_A.weight", ".lora_B.weight"),
    "default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "default_0": (".lora_A.default_0.weight", ".lora_B.default_0.weight"),
    "named": (".lora_A.my-face.weight", ".lora_B.my-face.weight"),
    "lora_down": (".lora_down.weight", ".lora_up.weight"),
    "lora.down": (".lora.down.weight", ".lora.up.weight"),
    "linear_layer": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
}


def file_of(path: Path, made: Mapping[Layer, Pair], stem: Name, ends: str = "lora_A", alpha: float | None = None) -> Path:
    tensors: dict[str, Tensor] = {}
    for (part, layer), (down, up) in made.items():
        beginning = stem(part, layer)
        tensors[beginning + ENDS[ends][0]], tensors[beginning + ENDS[ends][1]] = down, up
        if alpha is not None:
            tensors[f"{beginning}.alpha"] = torch.tensor(alpha)
    return saved(path, tensors)


def original(family: Family, layer: str) -> str:
    return (unet_names.sdxl if family == "sdxl" else unet_names.sd15)(layer)


WRAPPERS = [
    "",
    "unet.",
    "transformer.",
    "diffusion_model.",
    "model.diffusion_model.",
    "base_model.model.",
    "base_model.model.unet.",
]


@pytest.mark.parametrize("alpha", [None, 6.0])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_every_ending(tmp_path: Path, fresh: Any, family: Family, ends: str, alpha: float | None) -> None:
    adapter = fresh(family)
    made = pairs(adapter, part="denoiser")
    path = file_of(tmp_path / "x.safetensors", made, lambda _, layer: f"unet.{layer}", ends, alpha)
    scale = 1.0 if alpha is None else alpha / RANK
    started = check(path, family, adapter, {layer: delta(pair, scale) for layer, pair in made.items()})
    assert started.unmatched == ()
    facts = lora_file_facts(path)
    assert (facts.form, facts.layers, dict(facts.ranks), facts.unknown) == ("lora", len(made), {RANK: len(made)}, ())


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_every_level_around_the_paths_of_diffusers(tmp_path: Path, fresh: Any, family: Family, wrapper: str) -> None:
    adapter = fresh(family)
    made = pairs(adapter, part="denoiser")
    path = file_of(tmp_path / "x.safetensors", made, lambda _, layer: wrapper + layer)
    assert check(path, family, adapter, {layer: delta(pair) for layer, pair in made.items()}).unmatched == ()


@pytest.mark.parametrize("wrapper", ["", "diffusion_model.", "model.diffusion_model.", "base_model.model.", "lora_unet_"])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_paths_of_the_original_code(tmp_path: Path, fresh: Any, family: Family, wrapper: str) -> None:
    adapter = fresh(family)
    made = pairs(adapter, part="denoiser")

    def stem(_: str, layer: str) -> str:
        name = original(family, layer)
        return wrapper + (name.replace(".", "_") if wrapper == "lora_unet_" else name)

    path = file_of(tmp_path / "x.safetensors", made, stem, "lora_down", 1.5)
    assert check(path, family, adapter, {layer: delta(pair, 0.5) for layer, pair in made.items()}).unmatched == ()


@pytest.mark.parametrize("prefix", ["lora_unet_", "lycoris_", "lora_transformer_"])
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_paths_written_with_underscores(tmp_path: Path, fresh: Any, family: Family, prefix: str) -> None:
    adapter = fresh(family)
    made = pairs(adapter, part="denoiser")
    path = file_of(tmp_path / "x.safetensors", made, lambda _, layer: prefix + layer.replace(".", "_"), "lora_down", 6.0)
    assert check(path, family, adapter, {layer: delta(pair, 2.0) for layer, pair in made.items()}).unmatched == ()


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_attention_processors_of_old_diffusers(tmp_path: Path, fresh: Any, family: Family) -> None:
    adapter = fresh(family)
    made = {layer: pair for layer, pair in pairs(adapter, part="denoiser").items() if ".attn" in layer[1]}
    made |= {layer: pair for layer, pair in pairs(adapter, part="text_encoder").items() if "self_attn" in layer[1]}
    tensors = {}
    for (part, layer), (down, up) in made.items():
        if part == "denoiser":
            stem = "unet." + layer.replace(".to_out.0", ".to_out").replace(".to_", ".processor.to_")
        else:
            stem = f"text_encoder.text_model.{layer}".replace("_proj", "").replace(".self_attn.", ".self_attn.to_")
        tensors[f"{stem}_lora.down.weight"], tensors[f"{stem}_lora.up.weight"] = down, up
    path = saved(tmp_path / "x.safetensors", tensors)
    assert check(path, family, adapter, {layer: delta(pair) for layer, pair in made.items()}).unmatched == ()


TEXT_STEMS: dict[str, Name] = {
    "diffusers": lambda part, layer: f"{part}.text_model.{layer}",
    "without the level": lambda part, layer: f"{part}.{layer}",
    "PEFT within": lambda part, layer: f"{part}.base_model.model.text_model.{layer}",
    "PEFT around": lambda part, layer: f"base_model.model.{part}.text_model.{layer}",
    "ComfyUI": lambda part, layer: (
        f"text_encoders.{'clip_g' if part.endswith('2') else 'clip_l'}.transformer.text_model.{layer}"
    ),
    "kohya": lambda part, layer: f"lora_te{'2' if part.endswith('2') else '1'}_text_model_{layer.replace('.', '_')}",
}


@pytest.mark.parametrize("style", TEXT_STEMS)
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_text_encoders(tmp_path: Path, fresh: Any, family: Family, style: str) -> None:
    adapter = fresh(family)
    made = {layer: pair for layer, pair in pairs(adapter).items() if layer[0] != "denoiser"}
    assert len({part for part, _ in made}) == (2 if family == "sdxl" else 1)

    def stem(part: str, layer: str) -> str:
        return TEXT_STEMS[style](part, layer.removeprefix("text_model."))

    path = file_of(tmp_path / "x.safetensors", made, stem, "lora_down", 6.0)
    assert check(path, family, adapter, {layer: delta(pair, 2.0) for layer, pair in made.items()}).unmatched == ()


@pytest.mark.parametrize("family", ["sd15", "flux", "sdxl"])
def test_a_text_encoder_alone_is_told_where_there_are_two(tmp_path: Path, fresh: Any, family: Family) -> None:
    adapter = fresh(family)
    made = pairs(adapter, part="text_encoder")
    path = file_of(
        tmp_path / "x.safetensors", made, lambda _, layer: f"base_model.model.text_model.{layer.removeprefix('text_model.')}"
    )
    if family == "sdxl":
        with pytest.raises(UsageError, match=r"text_model\.encoder"):
            init_from(path, family, adapter)
    else:
        assert check(path, family, adapter, {layer: delta(pair) for layer, pair in made.items()}).unmatched == ()


# ---- FLUX's fused layers


def fused(adapter: Any, wholes: Mapping[str, Original], alpha: float | None) -> tuple[dict[str, Pair], dict[Layer, Tensor]]:
    """A dense LoRA for each original Linear, and what it does to each module of diffusers."""
    source = torch.Generator().manual_seed(11)
    shapes = {path: change.tensors for (part, path), change in adapter.changes(adapter.state()).items() if part == "denoiser"}
    made, wanted = {}, {}
    for stem, whole in wholes.items():
        rows = [shapes[member]["lora_B"].shape[0] for member in whole.members]
        down = torch.randn(RANK, shapes[whole.members[0]]["lora_A"].shape[1], generator=source)
        up = torch.randn(sum(rows), RANK, generator=source)
        made[stem] = (down, up)
        pieces = delta((down, up), 1.0 if alpha is None else alpha / RANK).split(rows)
        for member, piece in zip(whole.members, pieces, strict=True):
            swapped = torch.cat(list(reversed(piece.chunk(2)))) if whole.halves_swapped else piece
            wanted["denoiser", member] = swapped
    return made, wanted


def bfl(adapter: Any) -> dict[str, Original]:
    paths = [path for part, path in adapter.changes(adapter.state()) if part == "denoiser"]
    return {whole.stem: whole for whole in map(flux_names.original, paths)}


@pytest.mark.parametrize(
    ("wrapper", "ends", "alpha"),
    [
        ("", "lora_A", None),
        ("", "lora_down", 6.0),
        ("diffusion_model.", "lora_A", None),
        ("diffusion_model.", "lora_down", 6.0),
        ("model.diffusion_model.", "lora_down", 1.5),
        ("base_model.model.", "default_0", None),
        ("transformer.", "lora_A", None),
        ("lora_unet_", "lora_down", 6.0),
    ],
)
def test_flux_in_the_names_of_its_makers(tmp_path: Path, fresh: Any, wrapper: str, ends: str, alpha: float | None) -> None:
    adapter = fresh("flux")
    wholes = bfl(adapter)
    assert any(len(whole.members) == 4 for whole in wholes.values())
    assert any(whole.halves_swapped for whole in wholes.values())
    made, wanted = fused(adapter, wholes, alpha)
    flat = wrapper == "lora_unet_"
    named = {("denoiser", stem): pair for stem, pair in made.items()}
    path = file_of(
        tmp_path / "x.safetensors", named, lambda _, stem: wrapper + (stem.replace(".", "_") if flat else stem), ends, alpha
    )
    assert check(path, "flux", adapter, wanted).unmatched == ()
    assert lora_file_facts(path).layers == len(wholes)


def xlabs(doubles: int, singles: int) -> dict[str, Original]:
    """The Linears of XLabs' trainer, by hand."""
    made = {}
    for block in range(doubles):
        at = f"transformer_blocks.{block}.attn."
        for name, members in (
            ("qkv_lora1", ("to_q", "to_k", "to_v")),
            ("qkv_lora2", ("add_q_proj", "add_k_proj", "add_v_proj")),
            ("proj_lora1", ("to_out.0",)),
            ("proj_lora2", ("to_add_out",)),
        ):
            made[f"double_blocks.{block}.processor.{name}"] = Original("", tuple(at + one for one in members))
    for block in range(singles):
        at = f"single_transformer_blocks.{block}."
        q_k_v = tuple(f"{at}attn.{one}" for one in ("to_q", "to_k", "to_v"))
        made[f"single_blocks.{block}.processor.qkv_lora"] = Original("", q_k_v)
        made[f"single_blocks.{block}.processor.proj_lora"] = Original("", (f"{at}proj_out",))
    return made


@pytest.mark.parametrize("wrapper", ["", "diffusion_model.", "transformer."])
@pytest.mark.parametrize("singles", [0, 2])
def test_xlabs(tmp_path: Path, fresh: Any, wrapper: str, singles: int) -> None:
    adapter = fresh("flux")
    made, wanted = fused(adapter, xlabs(1, singles), None)
    tensors = {
        f"{wrapper}{stem}.{end}.weight": value
        for stem, pair in made.items()
        for end, value in zip(("down", "up"), pair, strict=True)
    }
    path = saved(tmp_path / "x.safetensors", tensors)
    assert check(path, "flux", adapter, wanted).unmatched == ()
    facts = lora_file_facts(path)
    assert (facts.form, facts.layers, facts.unknown) == ("lora", len(made), ())
    with pytest.raises(BaseRefused) as refused:
        identify(path)
    assert refused.value.code == "base_is_lora"


# ---- alphas that stand elsewhere, and what cannot be mapped


@pytest.mark.parametrize("rslora", [False, True])
def test_alphas_in_the_file_beside_that_peft_writes(tmp_path: Path, fresh: Any, rslora: bool) -> None:
    adapter = fresh("sd15")
    made = pairs(adapter, part="denoiser")
    layers = [layer for _, layer in made]
    path = file_of(tmp_path / "adapter_model.safetensors", made, lambda _, layer: f"base_model.model.{layer}")
    config = {
        "r": RANK,
        "lora_alpha": 6,
        "use_rslora": rslora,
        "alpha_pattern": {f"^{layers[0]}$".replace(".", r"\."): 9},
        "rank_pattern": {},
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    divisor = RANK**0.5 if rslora else RANK
    wanted = {layer: delta(pair, (9 if layer[1] == layers[0] else 6) / divisor) for layer, pair in made.items()}
    check(path, "sd15", adapter, wanted)


@pytest.mark.parametrize("pattern", ["(a+)+$", ".*", "(x|x)*y", "["])
def test_a_pattern_that_is_more_than_a_path_is_never_run(tmp_path: Path, fresh: Any, pattern: str) -> None:
    adapter = fresh("sd15")
    made = pairs(adapter, part="denoiser")
    table = {"unet.r": RANK, "unet.lora_alpha": 6, "unet.alpha_pattern": {pattern: 9}, "unet.rank_pattern": {}}
    tensors = {
        f"unet.{layer}{end}": value
        for (_, layer), pair in made.items()
        for end, value in zip(ENDS["lora_A"], pair, strict=True)
    }
    path = saved(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": json.dumps(table)})
    with pytest.raises(UsageError, match="another kind or shape"):
        init_from(path, "sd15", adapter)


def test_of_two_adapters_one_is_taken_whole(tmp_path: Path, fresh: Any) -> None:
    adapter = fresh("sd15")
    first = pairs(adapter, part="denoiser")
    second = {layer: (2 * down, up) for layer, (down, up) in first.items()}
    tensors = {}
    for (_, layer), (down, up) in first.items():
        tensors[f"{layer}.lora_A.b_first.weight"], tensors[f"{layer}.lora_B.b_first.weight"] = down, up
    for (_, layer), (down, up) in second.items():
        tensors[f"{layer}.lora_A.a_second.weight"], tensors[f"{layer}.lora_B.a_second.weight"] = down, up
    path = saved(tmp_path / "x.safetensors", tensors)
    started = check(path, "sd15", adapter, {layer: delta(pair) for layer, pair in second.items()})
    assert len(started.unmatched) == 2 * len(first)
    assert all("b_first" in name for name in started.unmatched)


def test_what_cannot_be_mapped_is_listed_by_name(tmp_path: Path, fresh: Any) -> None:
    adapter = fresh("flux")
    made = pairs(adapter, part="denoiser")
    path = file_of(tmp_path / "x.safetensors", made, lambda _, layer: f"diffusion_model.{layer}")
    extra = {
        "diffusion_model.double_blocks.7.img_attn.qkv.lora_A.weight": torch.ones(2, 2),
        "diffusion_model.img_in.diff_b": torch.ones(2),
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": torch.ones(2, 2),
        "bundle_emb.x": torch.ones(2),
        f"{next(iter(made))[1]}.lora_B.bias": torch.ones(2),
    }
    from safetensors.torch import load_file

    started = init_from(saved(tmp_path / "y.safetensors", {**load_file(path), **extra}), "flux", adapter)
    assert set(started.unmatched) == set(extra)
    assert all(any(name in line for line in started.listed()) for name in extra)
    assert "and 2 more" in " ".join(started.sentences())
    assert set(lora_file_facts(tmp_path / "y.safetensors").unknown) == {
        name for name in extra if not name.endswith("lora_A.weight") and "te3" not in name
    }


def test_a_layer_that_stands_twice_is_taken_once_and_the_other_is_listed(tmp_path: Path, fresh: Any) -> None:
    adapter = fresh("flux")
    whole = {stem: one for stem, one in bfl(adapter).items() if stem == "single_blocks.0.linear1"}
    made, wanted = fused(adapter, whole, None)
    again, _ = fused(adapter, {k: v for k, v in xlabs(0, 1).items() if "qkv" in k}, None)
    tensors = {f"{stem}{end}": value for stem, pair in made.items() for end, value in zip(ENDS["lora_A"], pair, strict=True)}
    tensors |= {
        f"{stem}.{end}.weight": 9 * value
        for stem, pair in again.items()
        for end, value in zip(("down", "up"), pair, strict=True)
    }
    started = init_from(saved(tmp_path / "x.safetensors", tensors), "flux", adapter)
    assert len(started.unmatched) == 2
    assert started.taken == len(wanted)


@pytest.mark.parametrize(("file_has", "wanted_has"), [(4, 2), (2, 4)])
def test_a_convolution_of_one_pixel_and_a_linear_layer_are_the_same(file_has: int, wanted_has: int) -> None:
    from loratui.engine.training.adapters.weight_delta import WeightDelta

    def pair(dimensions: int, rank: int) -> dict[str, Tensor]:
        ones = (1,) * (dimensions - 2)
        return {"lora_A": torch.randn(rank, 5, *ones), "lora_B": torch.randn(7, rank, *ones)}

    given, own = WeightDelta(pair(file_has, 3), 0.5), WeightDelta(pair(wanted_has, 4), 2.0)
    fitted = fit(given, own)
    assert fitted is not None
    assert torch.allclose(fitted[0].matrix(), given.matrix(), atol=1e-6)
    assert {name: value.shape for name, value in fitted[0].tensors.items()} == {
        name: value.shape for name, value in own.tensors.items()
    }
