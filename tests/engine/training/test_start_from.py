"""Training that goes on from an existing LoRA, whoever made it and whatever its rank."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import trained, write
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from narrow_models import answer, clip, flux, unet_sd15, unet_sdxl
from safetensors.torch import load_file, save_file

from loratui.engine.errors import UsageError
from loratui.engine.families.common import unet_names
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.init_from import fit, init_from, reduce_rank
from loratui.presets.schema import Adapter

OLD = Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv")


def new(family: Any, models: Any, settings: Adapter, seed: int = 9) -> Any:
    """An adapter as at the start of training: it changes nothing."""
    return trained(family, models, settings, by=0.0, seed=seed)


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A LoRA file of SD1.5, and what the model answers with it."""
    model = unet_sd15()
    write(tmp_path / "old.safetensors", "sd15", trained("sd15", {"denoiser": model}, OLD), OLD)
    return tmp_path / "old.safetensors", answer(model)


@pytest.mark.parametrize("settings", [OLD, Adapter(rank=4, alpha=16.0, targets="sd-scripts+conv")], ids=["same", "other alpha"])
def test_the_model_answers_as_with_the_old_file(old: tuple[Path, torch.Tensor], settings: Adapter) -> None:
    path, wanted = old
    model = unet_sd15()
    adapter = new("sd15", {"denoiser": model}, settings)
    assert not torch.allclose(answer(model), wanted, atol=1e-3)
    started = init_from(path, "sd15", adapter)
    assert torch.allclose(answer(model), wanted, atol=1e-5)
    assert started.taken == len(adapter.layers)
    assert started.sentences() == [f"{started.taken} layers taken over from it."]


def test_a_lower_rank_is_embedded_and_the_new_ranks_can_learn(old: tuple[Path, torch.Tensor]) -> None:
    path, wanted = old
    model: Any = unet_sd15()
    adapter = new("sd15", {"denoiser": model}, Adapter(rank=7, alpha=3.0, targets="sd-scripts+conv"))
    init_from(path, "sd15", adapter)
    assert torch.allclose(answer(model), wanted, atol=1e-5)
    layer = next(one for one in adapter.layers if one.path.endswith("attn2.to_v"))
    (model(torch.randn(1, 4, 16, 16), torch.tensor([5]), torch.randn(1, 7, 16), return_dict=False)[0]).square().sum().backward()
    gradient = layer.parameters["lora_B"].grad
    assert gradient is not None
    assert bool((gradient[:, 4:].abs().sum(0) > 0).all()), "ranks of zeros on both sides would stay dead"


def test_a_higher_rank_is_reduced_and_what_that_cost_is_told(old: tuple[Path, torch.Tensor]) -> None:
    path, wanted = old
    model = unet_sd15()
    base = answer(model)
    adapter = new("sd15", {"denoiser": model}, Adapter(rank=3, alpha=3.0, targets="sd-scripts+conv"))
    started = init_from(path, "sd15", adapter)
    assert started.reduced == started.taken == len(adapter.layers)
    assert 0 < started.lost < 0.6
    assert (answer(model) - wanted).norm() < (base - wanted).norm()
    assert "had a higher rank" in " ".join(started.sentences())


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.25, 1.0, 1.5]))
@hypothesis_settings(deadline=None, max_examples=80)
def test_padding_keeps_the_change_and_reducing_keeps_the_nearest(seed: int, old_rank: int, new_rank: int, scale: float) -> None:
    source = torch.Generator().manual_seed(seed)

    def pair(rank: int) -> dict[str, torch.Tensor]:
        return {
            "lora_A": torch.randn(rank, 5, 3, 3, generator=source),
            "lora_B": torch.randn(8, rank, 1, 1, generator=source),
        }

    given_, own = WeightDelta(pair(old_rank), scale), WeightDelta(pair(new_rank), 0.5)
    fitted = fit(given_, own)
    assert fitted is not None
    change, lost = fitted
    assert {n: t.shape for n, t in change.tensors.items()} == {n: t.shape for n, t in own.tensors.items()}
    assert change.scale == own.scale
    values = torch.linalg.svdvals(given_.matrix().double())
    assert (change.matrix() - given_.matrix()).norm().item() == pytest.approx(lost, abs=1e-3)
    assert lost == pytest.approx(float(values[new_rank:].norm()), abs=1e-3)
    if new_rank >= old_rank:
        assert lost == 0.0


def test_reducing_to_the_own_rank_loses_nothing() -> None:
    whole = WeightDelta({"lora_A": torch.randn(3, 7), "lora_B": torch.randn(6, 3)}, 2.0)
    again, lost = reduce_rank(whole, 3)
    assert torch.allclose(again.matrix(), whole.matrix(), atol=1e-4)
    assert lost == 0.0


# ---- files of other makers


def renamed(path: Path, rename: Any) -> Path:
    tensors = {rename(name): value for name, value in load_file(path).items()}
    target = path.with_name("renamed.safetensors")
    save_file({name: value for name, value in tensors.items() if name}, target)
    return target


@functools.cache
def _modules() -> dict[str, str]:
    return {path.replace(".", "_"): path for path, _ in unet_sd15().named_modules()}


def _sgm(name: str) -> str:
    stem, _, end = name.partition(".")
    path = _modules()[stem.removeprefix("lora_unet_")]
    return f"lora_unet_{unet_names.sd15(path).replace('.', '_')}.{end}"


@pytest.mark.parametrize(
    "rename",
    [lambda name: name.replace("lora_unet_", "lycoris_"), _sgm],
    ids=["lycoris prefix", "original names"],
)
def test_names_of_other_makers_are_known(old: tuple[Path, torch.Tensor], rename: Any) -> None:
    path, wanted = old
    model = unet_sd15()
    adapter = new("sd15", {"denoiser": model}, OLD)
    started = init_from(renamed(path, rename), "sd15", adapter)
    assert not started.unmatched
    assert torch.allclose(answer(model), wanted, atol=1e-5)


@pytest.mark.parametrize("style", ["peft", "bare peft", "old diffusers", "processors", "base_model"])
def test_peft_and_diffusers_names_are_known(tmp_path: Path, style: str) -> None:
    attention = Adapter(rank=4, alpha=4.0, targets="attention")
    model = unet_sd15()
    write(tmp_path / "lora.safetensors", "sd15", trained("sd15", {"denoiser": model}, attention), attention, layout="peft")
    wanted = answer(model)

    def rename(name: str) -> str:
        if style == "bare peft":
            return name.removeprefix("unet.")
        if style == "base_model":
            return name.replace("unet.", "base_model.model.").replace(".weight", ".default.weight")
        if style == "old diffusers":
            return name.replace("lora_A", "lora.down").replace("lora_B", "lora.up")
        if style == "processors":
            name = name.replace(".to_out.0.", ".to_out.").replace(".lora_A.", "_lora.down.").replace(".lora_B.", "_lora.up.")
            return name.replace(".to_", ".processor.to_")
        return name

    fresh = unet_sd15()
    started = init_from(renamed(tmp_path / "lora.safetensors", rename), "sd15", new("sd15", {"denoiser": fresh}, attention))
    assert not started.unmatched
    assert torch.allclose(answer(fresh), wanted, atol=1e-5)


def test_alpha_in_the_metadata_of_diffusers_is_respected(tmp_path: Path) -> None:
    attention = Adapter(rank=4, alpha=4.0, targets="attention")
    model = unet_sd15()
    adapter = trained("sd15", {"denoiser": model}, attention)
    write(tmp_path / "lora.safetensors", "sd15", adapter, attention, layout="peft")
    with adapter.strength(0.5):
        half = answer(model)
    table = {"unet.r": 4, "unet.lora_alpha": 2, "unet.use_rslora": False, "unet.rank_pattern": {}, "unet.alpha_pattern": {}}
    tensors = load_file(tmp_path / "lora.safetensors")
    save_file(tensors, tmp_path / "told.safetensors", {"lora_adapter_metadata": json.dumps(table)})
    fresh = unet_sd15()
    init_from(tmp_path / "told.safetensors", "sd15", new("sd15", {"denoiser": fresh}, attention))
    assert torch.allclose(answer(fresh), half, atol=1e-5)


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_flux_goes_on_from_both_layouts(tmp_path: Path, layout: Any) -> None:
    settings = Adapter(rank=4, alpha=2.0)
    model = flux()
    write(tmp_path / "lora.safetensors", "flux", trained("flux", {"denoiser": model}, settings), settings, layout=layout)
    wanted = answer(model)
    fresh = flux()
    started = init_from(tmp_path / "lora.safetensors", "flux", new("flux", {"denoiser": fresh}, settings))
    assert started.reduced == 0
    assert torch.allclose(answer(fresh), wanted, atol=1e-5)


@pytest.mark.parametrize("beginning", ["transformer.", "base_model.model.", "diffusion_model.", ""])
@pytest.mark.parametrize("kind", ["lora", "lokr"])
def test_flux_goes_on_from_files_of_ai_toolkit_and_their_like(tmp_path: Path, kind: Any, beginning: str) -> None:
    """The paths of diffusers' modules, for LoKr too; LoRA without an alpha, since theirs is the rank."""
    settings = Adapter(kind=kind, rank=4, alpha=4.0, targets="attention", factor=2)
    model = flux()
    adapter = trained("flux", {"denoiser": model}, settings)
    wanted = answer(model)
    tensors = {}
    for (_, path), change in adapter.changes(adapter.state()).items():
        for name, value in change.tensors.items():
            ending = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight"}.get(name, name)
            tensors[f"{beginning}{path}.{ending}"] = value.detach().clone().contiguous()
        if kind == "lokr":
            tensors[f"{beginning}{path}.alpha"] = torch.tensor(4.0)
    save_file(tensors, tmp_path / "lora.safetensors")
    fresh = flux()
    started = init_from(tmp_path / "lora.safetensors", "flux", new("flux", {"denoiser": fresh}, settings))
    assert (started.unmatched, started.untouched, started.unfit) == ((), (), ())
    assert torch.allclose(answer(fresh), wanted, atol=1e-5)


def test_flux_goes_on_from_a_dense_fused_file_with_its_higher_rank_told(tmp_path: Path) -> None:
    """sd-scripts trains the fused layers as they are; each member then has the whole rank."""
    wide = {"lora_down.weight": torch.randn(4, 32), "lora_up.weight": torch.randn(96, 4), "alpha": torch.tensor(4.0)}
    stem = "lora_unet_double_blocks_0_img_attn_qkv"
    save_file({f"{stem}.{name}": value for name, value in wide.items()}, tmp_path / "lora.safetensors")
    adapter = new("flux", {"denoiser": flux()}, Adapter(rank=4, targets="attention"))
    started = init_from(tmp_path / "lora.safetensors", "flux", adapter)
    assert (started.taken, started.reduced) == (3, 0)
    rows = (wide["lora_up.weight"] @ wide["lora_down.weight"]).split(32)
    state = adapter.state()
    for name, expected in zip("qkv", rows, strict=True):
        path = f"denoiser.transformer_blocks.0.attn.to_{name}"
        assert torch.allclose(state[f"{path}.lora_B"] @ state[f"{path}.lora_A"], expected, atol=1e-5)
    assert len(started.untouched) == len(adapter.layers) - 3


def test_sdxl_goes_on_with_its_text_encoders_and_names_what_is_not_there(tmp_path: Path) -> None:
    def models() -> Any:
        return {"denoiser": unet_sdxl(), "text_encoder": clip(), "text_encoder_2": clip(24, projected=True)}

    first, second = models(), models()
    write(tmp_path / "lora.safetensors", "sdxl", trained("sdxl", first, OLD), OLD)
    init_from(tmp_path / "lora.safetensors", "sdxl", new("sdxl", second, OLD))
    assert all(torch.allclose(answer(first[part]), answer(second[part]), atol=1e-5) for part in first)
    third = models()
    narrow = {"denoiser": third["denoiser"]}
    started = init_from(tmp_path / "lora.safetensors", "sdxl", new("sdxl", narrow, Adapter(rank=4, targets="attention")))
    assert any(name.startswith("lora_te2_text_model_encoder_layers_0") for name in started.unmatched)
    assert "belong to no layer" in " ".join(started.sentences())


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_lycoris_goes_on_in_its_own_kind_only(tmp_path: Path, kind: Any) -> None:
    settings = Adapter(kind=kind, rank=4, alpha=2.0, targets="attention")
    model = unet_sd15()
    write(tmp_path / "lora.safetensors", "sd15", trained("sd15", {"denoiser": model}, settings), settings)
    fresh = unet_sd15()
    init_from(tmp_path / "lora.safetensors", "sd15", new("sd15", {"denoiser": fresh}, settings))
    assert torch.allclose(answer(fresh), answer(model), atol=1e-5)
    plain = new("sd15", {"denoiser": unet_sd15()}, Adapter(rank=4, targets="attention"))
    with pytest.raises(UsageError, match="another kind or shape"):
        init_from(tmp_path / "lora.safetensors", "sd15", plain)


def test_a_file_of_nothing_known_is_refused_with_a_name_of_it(tmp_path: Path, old: tuple[Path, torch.Tensor]) -> None:
    adapter = new("sd15", {"denoiser": unet_sd15()}, OLD)
    save_file({"something.else": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"something\.else"):
        init_from(tmp_path / "other.safetensors", "sd15", adapter)
    with pytest.raises(UsageError, match="belongs to a layer"):
        init_from(old[0], "flux", new("flux", {"denoiser": flux()}, Adapter(rank=2)))


# ---- damaged files, and kinds that are not known here


FIRST = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k"


def changed(path: Path, **tensors: torch.Tensor) -> Path:
    """The file with tensors of one layer replaced or added; `__` stands for a dot."""
    target = path.with_name("changed.safetensors")
    save_file({**load_file(path), **{f"{FIRST}.{n.replace('__', '.')}": t for n, t in tensors.items()}}, target)
    return target


@pytest.mark.parametrize(
    "tensors",
    [
        {"alpha": torch.zeros(0)},
        {"lora_up__weight": torch.ones(8, 3)},
        {"lora_down__weight": torch.ones(0, 8), "lora_up__weight": torch.ones(8, 0)},
        {"lora_down__weight": torch.tensor(1.0), "lora_up__weight": torch.tensor(1.0)},
        {"lora_down__weight": torch.ones(4, 99)},
        {"dora_scale": torch.ones(8, 1)},
        {"lora_mid__weight": torch.ones(4, 4, 3, 3)},
    ],
    ids=["empty alpha", "ranks differ", "no rank", "no dimensions", "other width", "LyCORIS DoRA", "Tucker"],
)
def test_a_layer_that_cannot_be_read_begins_anew_and_is_named(
    old: tuple[Path, torch.Tensor], tensors: dict[str, torch.Tensor]
) -> None:
    adapter = new("sd15", {"denoiser": unet_sd15()}, OLD)
    started = init_from(changed(old[0], **tensors), "sd15", adapter)
    assert started.unfit == ("denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k",)
    assert started.taken == len(adapter.layers) - 1
    assert (started.untouched, started.unmatched) == ((), ())
    assert "another kind or shape" in " ".join(started.sentences())


@pytest.mark.parametrize("what", ["lora_down__weight", "alpha"])
def test_values_that_are_not_finite_are_refused_before_a_step_is_made(old: tuple[Path, torch.Tensor], what: str) -> None:
    value = load_file(old[0])[f"{FIRST}.{what.replace('__', '.')}"]
    adapter = new("sd15", {"denoiser": unet_sd15()}, OLD)
    before = adapter.state()
    with pytest.raises(UsageError, match=r"attn1\.to_k are not finite"):
        init_from(changed(old[0], **{what: value * float("nan")}), "sd15", adapter)
    assert all(torch.equal(value, before[name]) for name, value in adapter.state().items())


def test_a_whole_dora_of_lycoris_is_not_taken_for_a_lora(old: tuple[Path, torch.Tensor]) -> None:
    tensors = load_file(old[0])
    ends = ".lora_up.weight"
    scales = {
        n.removesuffix(ends) + ".dora_scale": torch.ones(t.shape[0], *(1,) * (t.dim() - 1))
        for n, t in tensors.items()
        if n.endswith(ends)
    }
    save_file({**tensors, **scales}, old[0].with_name("dora.safetensors"))
    with pytest.raises(UsageError, match="another kind or shape"):
        init_from(old[0].with_name("dora.safetensors"), "sd15", new("sd15", {"denoiser": unet_sd15()}, OLD))


def test_of_two_names_for_one_tensor_the_second_is_told(old: tuple[Path, torch.Tensor]) -> None:
    path = old[0].with_name("twice.safetensors")
    twin = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight"
    save_file({**load_file(old[0]), twin: torch.ones(4, 8)}, path)
    started = init_from(path, "sd15", new("sd15", {"denoiser": unet_sd15()}, OLD))
    assert len(started.unmatched) == 1


@pytest.mark.parametrize(
    "up", [torch.tensor(0.0), torch.ones(96, 5), torch.ones(97, 12)], ids=["no dimensions", "ranks", "rows"]
)
def test_a_damaged_fused_layer_is_named_by_its_members(tmp_path: Path, up: torch.Tensor) -> None:
    settings = Adapter(rank=4, targets="attention")
    write(tmp_path / "lora.safetensors", "flux", trained("flux", {"denoiser": flux()}, settings), settings, layout="kohya")
    tensors = load_file(tmp_path / "lora.safetensors")
    save_file({**tensors, "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": up}, tmp_path / "bad.safetensors")
    started = init_from(tmp_path / "bad.safetensors", "flux", new("flux", {"denoiser": flux()}, settings))
    assert started.unfit == tuple(f"denoiser.transformer_blocks.0.attn.to_{n}" for n in "qkv")


def test_the_last_norm_of_flux_with_an_odd_or_missing_axis_begins_anew(tmp_path: Path) -> None:
    settings = Adapter(rank=4, targets="all")
    write(tmp_path / "lora.safetensors", "flux", trained("flux", {"denoiser": flux()}, settings), settings, layout="kohya")
    tensors = load_file(tmp_path / "lora.safetensors")
    for up in (torch.ones(63, 4), torch.tensor(1.0)):
        save_file({**tensors, "lora_unet_final_layer_adaLN_modulation_1.lora_up.weight": up}, tmp_path / "bad.safetensors")
        started = init_from(tmp_path / "bad.safetensors", "flux", new("flux", {"denoiser": flux()}, settings))
        assert started.unfit == ("denoiser.norm_out.linear",)
