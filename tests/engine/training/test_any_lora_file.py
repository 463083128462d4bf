"""A LoRA file of any program is put on a base exactly as it is; one that does not fit is refused in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from adapted_models import settings_of, trained, write
from narrow_models import answer, clip, flux, unet_sd15, unet_sdxl
from safetensors.torch import load_file, save_file

from loratui.engine.durable import write_file
from loratui.engine.errors import UsageError
from loratui.engine.planning.lora_match import match
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.runs.directory import list_runs
from loratui.engine.runs.importing import import_file
from loratui.engine.training.lora_file.as_it_is import add_from_file
from loratui.presets.schema import Adapter, Base, Family, replace

DENOISERS: dict[Family, Any] = {"sd15": unet_sd15, "sdxl": unet_sdxl, "flux": flux}
LONG = pytest.mark.long
PLAIN = Adapter(rank=4, alpha=2.0, targets="attention")


def base_of(folder: Path, family: Family, model: Any = None) -> Base:
    """A folder of which only the denoiser's configuration is read."""
    model = model or DENOISERS[family]()
    model.save_config(folder / ("transformer" if family == "flux" else "unet"))
    write_file(folder / "model_index.json", b"{}")
    return Base(family=family, model=str(folder))


def put_on(path: Path, base: Base, text: Any = None) -> tuple[torch.Tensor, bool]:
    """What a fresh base answers with a file on it, and whether the file changes anything."""
    fresh = DENOISERS[base.family]()
    found = match(path, base)
    settings = replace(settings_of(base.family, Adapter()), found.settings)
    model: Any = SimpleNamespace(denoiser=fresh, text_encoders={"text_encoder": text} if text else {})
    _, has_effect = add_from_file(path, model, settings)
    return answer(fresh), has_effect


@pytest.mark.parametrize(
    ("family", "adapter", "layout"),
    [
        ("sd15", PLAIN, "kohya"),
        ("sd15", PLAIN, "peft"),
        pytest.param("sd15", Adapter(kind="locon", rank=4, conv_rank=2, targets="sd-scripts+conv"), "kohya", marks=LONG),
        pytest.param("sd15", Adapter(kind="loha", rank=3, targets="attention+ff"), "kohya", marks=LONG),
        ("sd15", Adapter(kind="lokr", rank=2, factor=4, targets="attention"), "kohya"),
        ("sd15", Adapter(rank=4, alpha=2.0, dora=True, targets="attention"), "peft"),
        pytest.param("sdxl", PLAIN, "kohya", marks=LONG),
        ("flux", PLAIN, "kohya"),
        ("flux", PLAIN, "peft"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one.kind}{'-dora' * one.dora}",
)
def test_the_base_answers_as_with_the_adapter_that_was_trained(
    tmp_path: Path, family: Family, adapter: Adapter, layout: Any
) -> None:
    model = DENOISERS[family]()
    plain = answer(model)
    write(tmp_path / "any.safetensors", family, trained(family, {"denoiser": model}, adapter), adapter, layout=layout)
    wanted = answer(model)
    given, has_effect = put_on(tmp_path / "any.safetensors", base_of(tmp_path / "base", family))
    assert has_effect
    assert not torch.allclose(plain, wanted, atol=1e-3)
    assert torch.allclose(given, wanted, atol=1e-5)


def test_ranks_that_differ_from_layer_to_layer_and_missing_layers_stay_what_they_are(tmp_path: Path) -> None:
    path, small = tmp_path / "mixed.safetensors", tmp_path / "small.safetensors"
    model, other = unet_sd15(), unet_sd15()
    write(path, "sd15", trained("sd15", {"denoiser": model}, PLAIN), PLAIN)
    write(small, "sd15", trained("sd15", {"denoiser": other}, Adapter(rank=2, targets="attention")), Adapter(rank=2))
    tensors, low = load_file(path), load_file(small)
    low_here = {name for name in low if "attn2" in name}
    kept = {name: value for name, value in tensors.items() if "attn1" in name and "mid_block" not in name}
    save_file({**kept, **{name: low[name] for name in low_here}}, path)
    base = base_of(tmp_path / "base", "sd15")
    assert match(path, base).settings["adapter.rank"] == 4
    mixed, _ = put_on(path, base)
    of_low, _ = put_on(save(tmp_path / "low.safetensors", {name: low[name] for name in low_here}), base)
    assert not torch.allclose(mixed, of_low, atol=1e-4)
    doubled = {name: value * 2 if name.endswith("lora_up.weight") else value for name, value in kept.items()}
    halves = {name: value / 2 if name.endswith(".alpha") else value for name, value in doubled.items()}
    again, _ = put_on(save(path, {**halves, **{name: low[name] for name in low_here}}), base)
    assert torch.allclose(again, mixed, atol=1e-5), "twice the values at half the alpha"


def save(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path)
    return path


def test_a_text_encoder_in_the_file_is_read_too(tmp_path: Path) -> None:
    adapter = Adapter(rank=4, alpha=4.0, targets="attention")
    model, text = unet_sd15(), clip()
    write(tmp_path / "te.safetensors", "sd15", trained("sd15", {"denoiser": model, "text_encoder": text}, adapter), adapter)
    wanted, fresh = answer(text), clip()
    assert not torch.allclose(answer(fresh), wanted, atol=1e-3)
    put_on(tmp_path / "te.safetensors", base_of(tmp_path / "base", "sd15"), fresh)
    assert torch.allclose(answer(fresh), wanted, atol=1e-5)


def test_a_lora_of_zeros_changes_nothing_and_is_known_for_it(tmp_path: Path) -> None:
    model = unet_sd15()
    write(tmp_path / "any.safetensors", "sd15", trained("sd15", {"denoiser": model}, PLAIN), PLAIN)
    silent = {n: v * 0 if n.endswith("lora_up.weight") else v for n, v in load_file(tmp_path / "any.safetensors").items()}
    given, has_effect = put_on(save(tmp_path / "zero.safetensors", silent), base_of(tmp_path / "base", "sd15"))
    assert not has_effect
    assert torch.equal(given, answer(unet_sd15()))


def test_tensors_of_no_layer_are_named_and_the_trigger_and_step_are_taken_from_the_metadata(tmp_path: Path) -> None:
    model = unet_sd15()
    write(tmp_path / "any.safetensors", "sd15", trained("sd15", {"denoiser": model}, PLAIN), PLAIN)
    tensors = {**load_file(tmp_path / "any.safetensors"), "something.else": torch.zeros(1)}
    save_file(tensors, tmp_path / "told.safetensors", {"modelspec.trigger_phrase": "qxz", "ss_steps": "450"})
    found = match(tmp_path / "told.safetensors", base_of(tmp_path / "base", "sd15"))
    assert (found.others, found.trigger, found.step) == (("something.else",), "qxz", 450)
    assert found.settings["adapter.targets"] == "diffusers", "which are the same layers of this UNet"


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    paths = {}
    for family, model in DENOISERS.items():
        paths[family] = tmp_path / f"{family}.safetensors"
        write(paths[family], family, trained(family, {"denoiser": model()}, PLAIN), PLAIN)
    base = base_of(tmp_path / "base", "sd15")
    with pytest.raises(UsageError, match=r"none of its tensors belongs to a layer of SD1\.5"):
        match(paths["flux"], base)
    with pytest.raises(UsageError, match=r"its layers have other sizes than those of"):
        match(paths["sd15"], base_of(tmp_path / "wide", "sd15", unet_sd15(block_out_channels=(16, 16, 24, 24))))
    # Its layers have the names of SD1.5's too, and the widths of SDXL's text.
    wide = {
        f"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.{end}": value
        for end, value in (
            ("lora_down.weight", torch.zeros(4, 2048)),
            ("lora_up.weight", torch.zeros(640, 4)),
            ("alpha", torch.tensor(4.0)),
        )
    }
    with pytest.raises(UsageError, match=r"this is a LoRA for SDXL, and .* is SD1\.5"):
        match(save(tmp_path / "xl.safetensors", wide), base)
    with pytest.raises(UsageError, match="not a LoRA of a kind"):
        match(save(tmp_path / "none.safetensors", {"weight": torch.zeros(2)}), base)
    tucker = {f"{name.partition('.')[0]}.lora_mid.weight": torch.zeros(4, 4, 1, 1) for name in load_file(paths["sd15"])}
    with pytest.raises(UsageError, match="cannot compute with: lora_mid"):
        match(save(tmp_path / "mid.safetensors", {**load_file(paths["sd15"]), **tucker}), base)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "any.safetensors", "sd15", trained("sd15", {"denoiser": unet_sd15()}, PLAIN), PLAIN)
    tensors = load_file(tmp_path / "any.safetensors")
    name = next(name for name in tensors if name.endswith("lora_up.weight"))
    tensors[name][0, 0] = float("nan")
    with pytest.raises(UsageError, match="not finite"):
        put_on(save(tmp_path / "nan.safetensors", tensors), base_of(tmp_path / "base", "sd15"))


def test_the_alpha_that_peft_keeps_beside_its_file_comes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    model = unet_sd15()
    write(path, "sd15", trained("sd15", {"denoiser": model}, PLAIN), PLAIN, layout="peft")
    save_file(load_file(path), path)  # without loratui's metadata
    base = base_of(tmp_path / "base", "sd15")
    write_file(tmp_path / "adapter_config.json", b'{"r": 4, "lora_alpha": 12}')
    tripled, _ = put_on(path, base)
    recipe = build_recipe("demo", base=base.model)
    for _ in range(2):
        run, said = import_file(path, recipe, tmp_path / "home")
        assert "a lora of rank 4 on 80 layers of" in said[0]
    assert [one.name for one in list_runs(tmp_path / "home")] == [run.name]
    assert torch.equal(put_on(run.output / path.name, base)[0], tripled)
    (run.output / "adapter_config.json").unlink()
    assert not torch.allclose(put_on(run.output / path.name, base)[0], tripled, atol=1e-4)
