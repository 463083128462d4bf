"""FLUX files: PEFT's names, and kohya's fused ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapted_models import trained, write
from hypothesis import given, settings
from hypothesis import strategies as st
from narrow_models import answer, clip, flux
from safetensors.torch import load_file, save_file

from loratui.engine.errors import UsageError
from loratui.engine.families.flux.names import original
from loratui.engine.families.lora import Original
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.fuse import fuse, unfuse
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.lora_file.read import read_lora
from loratui.presets.schema import Adapter

QKV = original("transformer_blocks.0.attn.to_q")
LINEAR1 = original("single_transformer_blocks.0.proj_mlp")
WIDTH = 6


def change(seed: int, rank: int, rows: int, scale: float) -> WeightDelta:
    source = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, WIDTH, generator=source), torch.randn(rows, rank, generator=source)
    return WeightDelta({"lora_A": down, "lora_B": up}, scale)


@st.composite
def members(draw: st.DrawFn) -> tuple[Original, dict[str, WeightDelta]]:
    """Some members of a fused layer, each with its own rank and scale."""
    fused = draw(st.sampled_from([QKV, LINEAR1]))
    present = draw(st.lists(st.sampled_from(fused.members), min_size=1, unique=True))
    made = {}
    for path, height in zip(fused.members, fused.heights, strict=True):
        if path in present:
            scale = draw(st.sampled_from([0.25, 0.5, 1.0, 1.5, 4.0]))
            made[path] = change(draw(st.integers(0, 999)), draw(st.integers(1, 4)), height * WIDTH, scale)
    return fused, made


@given(members())
@settings(deadline=None, max_examples=60)
def test_row_5_a_fused_layer_does_what_its_members_do(case: tuple[Original, dict[str, WeightDelta]]) -> None:
    fused, parts = case
    whole = fuse(fused, parts)
    at = 0
    for path, height in zip(fused.members, fused.heights, strict=True):
        rows = whole.matrix()[at : at + height * WIDTH]
        expected = parts[path].matrix() if path in parts else torch.zeros_like(rows)
        assert torch.allclose(rows, expected, rtol=1e-5, atol=1e-6), path
        at += height * WIDTH
    assert at == whole.tensors["lora_B"].shape[0]
    assert whole.rank == len(fused.members) * max(part.rank for part in parts.values())


@given(members())
@settings(deadline=None, max_examples=60)
def test_what_was_fused_comes_apart_into_what_it_was_made_of(case: tuple[Original, dict[str, WeightDelta]]) -> None:
    fused, parts = case
    again = unfuse(fused, fuse(fused, parts))
    assert again.keys() == parts.keys()
    for path, part in parts.items():
        assert again[path].rank == part.rank
        assert torch.equal(again[path].tensors["lora_A"], part.tensors["lora_A"])
        assert torch.allclose(again[path].matrix(), part.matrix(), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 999), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_row_50_a_dense_fused_layer_comes_apart_into_tensors_of_their_own(seed: int, rank: int) -> None:
    whole = change(seed, rank, 7 * WIDTH, 0.5)
    parts = unfuse(LINEAR1, whole)
    assert list(parts) == list(LINEAR1.members)
    assert torch.allclose(torch.cat([part.matrix() for part in parts.values()]), whole.matrix())
    assert len({part.tensors["lora_A"].data_ptr() for part in parts.values()}) == 4


def test_the_alpha_of_a_fused_layer_is_n_times_that_of_its_members(tmp_path: Path) -> None:
    """Row 5: unscaled, qkv would work at a third of its strength and linear1 at a quarter."""
    settings_ = Adapter(rank=4, alpha=2.0, targets="attention+ff")
    adapter = trained("flux", {"denoiser": flux()}, settings_)
    write(tmp_path / "kohya.safetensors", "flux", adapter, settings_, layout="kohya")
    tensors = load_file(tmp_path / "kohya.safetensors")
    for stem, n in (("double_blocks_0_img_attn_qkv", 3), ("single_blocks_1_linear1", 4), ("double_blocks_0_img_mlp_0", 1)):
        assert float(tensors[f"lora_unet_{stem}.alpha"]) == n * 2.0
        assert tensors[f"lora_unet_{stem}.lora_down.weight"].shape[0] == n * 4


@pytest.mark.parametrize("targets", ["attention", "diffusers", "attention+ff", "sd-scripts", "all"])
@pytest.mark.parametrize("layout", ["peft", "kohya"])
def test_both_layouts_come_back_whole_for_every_target_set(tmp_path: Path, layout, targets) -> None:
    settings_ = Adapter(rank=4, alpha=2.0, targets=targets)
    model = flux()
    adapter = trained("flux", {"denoiser": model}, settings_)
    before, output = adapter.state(), answer(model)
    write(tmp_path / "lora.safetensors", "flux", adapter, settings_, layout=layout)
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.zero_()
    read_lora_file(tmp_path / "lora.safetensors", "flux", adapter)
    after = adapter.state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(answer(model), output)


def test_the_usual_file_has_peft_names_with_alpha_folded_in_and_its_text_encoder(tmp_path: Path) -> None:
    settings_ = Adapter(rank=4, alpha=2.0)
    adapter = trained("flux", {"denoiser": flux(), "text_encoder": clip()}, settings_)
    write(tmp_path / "lora.safetensors", "flux", adapter, settings_)
    tensors = load_file(tmp_path / "lora.safetensors")
    assert not any("alpha" in name for name in tensors)
    assert {name.split(".")[0] for name in tensors} == {"transformer", "text_encoder"}
    assert all("text_encoder.text_model." in name for name in tensors if name.startswith("text_encoder"))
    state = adapter.state()
    name = "transformer_blocks.0.attn.to_q"
    assert torch.equal(tensors[f"transformer.{name}.lora_B.weight"], state[f"denoiser.{name}.lora_B"] * 0.5)


def test_the_last_norm_has_its_halves_swapped_in_kohyas_names(tmp_path: Path) -> None:
    settings_ = Adapter(rank=2, alpha=2.0, targets="all")
    adapter = trained("flux", {"denoiser": flux()}, settings_)
    write(tmp_path / "lora.safetensors", "flux", adapter, settings_, layout="kohya")
    ours = adapter.state()["denoiser.norm_out.linear.lora_B"]
    theirs = load_file(tmp_path / "lora.safetensors")["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"]
    half = len(ours) // 2
    assert torch.equal(theirs, torch.cat([ours[half:], ours[:half]]))


def test_loha_keeps_diffusers_modules_apart_in_lycoris_names(tmp_path: Path) -> None:
    settings_ = Adapter(kind="loha", rank=2, alpha=2.0, targets="attention")
    model = flux()
    adapter = trained("flux", {"denoiser": model}, settings_)
    output = answer(model)
    write(tmp_path / "lora.safetensors", "flux", adapter, settings_)
    names = read_header(tmp_path / "lora.safetensors").tensors
    assert "lycoris_single_transformer_blocks_1_attn_to_k.hada_w2_b" in names
    read_lora_file(tmp_path / "lora.safetensors", "flux", adapter)
    assert torch.equal(answer(model), output)


def test_a_fused_loha_cannot_be_taken_apart_and_is_told_of(tmp_path: Path) -> None:
    pair = {"hada_w1_a": (18, 2), "hada_w1_b": (2, 6), "hada_w2_a": (18, 2), "hada_w2_b": (2, 6)}
    tensors = {f"lora_unet_double_blocks_0_img_attn_qkv.{name}": torch.ones(shape) for name, shape in pair.items()}
    save_file(tensors, tmp_path / "lora.safetensors")
    found = read_lora(tmp_path / "lora.safetensors", "flux", [("denoiser", "transformer_blocks.0.attn.to_q")])
    assert not found.changes
    assert set(found.others) == set(tensors)


def test_a_file_with_half_a_pair_is_told_of(tmp_path: Path) -> None:
    save_file({"transformer.proj_out.lora_A.weight": torch.ones(2, 3)}, tmp_path / "lora.safetensors")
    found = read_lora(tmp_path / "lora.safetensors", "flux", [("denoiser", "proj_out")])
    assert found.others == ("transformer.proj_out.lora_A.weight",)
    with pytest.raises(UsageError, match="did not train"):
        read_lora_file(
            tmp_path / "lora.safetensors", "flux", trained("flux", {"denoiser": flux()}, Adapter(rank=2, targets="attention"))
        )
