"""A family is added by its spec alone: recognition, parts, LoRA names, metadata and sizes follow without another line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fourth_family
import made_models as made
import pytest
from fourth_family import NAME, fourth, qwen, transformer

from loratui.engine import families
from loratui.engine.dataset.tokens import window
from loratui.engine.formats import kohya, peft_names
from loratui.engine.formats.base_files import identify, part_file
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused
from loratui.engine.formats.lora_keys import sort_keys
from loratui.engine.formats.metadata import LoraFacts, build_metadata, default_layout, network_module
from loratui.engine.formats.programs import opened_by
from loratui.engine.planning.base_search import judged_by
from loratui.engine.planning.bases import discover, find_base
from loratui.engine.planning.estimate import estimate
from loratui.engine.planning.family_rules import misfits
from loratui.engine.planning.judgement import judge
from loratui.engine.planning.lora_size import denoiser_layers, lora_size, text_encoders_of
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets.schema import Adapter, Base, Settings

WITHOUT = ("vae", "text_encoder", "tokenizer")


@pytest.fixture(autouse=True)
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, fourth(tmp_path / "bundled")))


def missing(base: BaseFiles) -> tuple[str, ...]:
    return tuple(part.part for part in base.missing)


def test_its_denoiser_alone_is_told_by_keys_with_what_it_lacks(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "m" / "x.safetensors", transformer(), "BF16"))
    assert (base.family, base.layout, base.prediction, missing(base)) == (NAME, "parts", None, WITHOUT)
    assert base.title == "Quartz transformer, bf16"
    with pytest.raises(
        BaseRefused, match=r"Qwen3 text encoder is missing: .*model.safetensors of quartz/image, 8.0 GB, Apache-2.0"
    ):
        base.require_complete()


def test_a_checkpoint_of_other_depth_brings_its_parts_along(tmp_path: Path) -> None:
    whole = {**made.prefixed("model.diffusion_model.", transformer(2)), **made.prefixed("vae.", made.ldm_vae(16))}
    whole |= made.prefixed("text_encoders.qwen.", qwen())
    base = identify(made.write(tmp_path / "m" / "x.safetensors", whole))
    assert (base.family, missing(base)) == (NAME, ("tokenizer",))
    assert dict(base.denoiser.config_changes) == {"n_layers": 2}
    assert base.title == "Quartz checkpoint, fp16, 2 layers (Quartz has 3)"


def test_a_diffusers_folder_whose_text_encoder_was_exchanged(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    spec = families.family(NAME)
    for part, shapes in {"transformer": transformer(), "text_encoder": qwen(), "vae": made.ldm_vae(16)}.items():
        made.write(folder / part / "diffusion_pytorch_model.safetensors", shapes)
        (folder / part / "config.json").write_text(json.dumps(spec.config(part)))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "QuartzPipeline"}))
    assert (identify(folder).family, missing(identify(folder))) == (NAME, ("tokenizer",))
    made.write(folder / "text_encoder" / "diffusion_pytorch_model.safetensors", qwen(36))
    with pytest.raises(BaseRefused, match=r"a Qwen3 text encoder of 2 layers that its config\.json does not fit: 36 wide"):
        identify(folder)


def test_what_is_none_is_refused_by_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(BaseRefused, match="this is a control model") as control:
        identify(made.write(tmp_path / "a.safetensors", {**transformer(), "control_layers.0.weight": (1,)}))
    assert control.value.remedy == "Choose a checkpoint of SD1.5, SDXL (Pony too), FLUX.1-dev or Quartz."
    with pytest.raises(BaseRefused, match="this is a Quartz transformer of sizes that no family has"):
        identify(made.write(tmp_path / "d.safetensors", {**transformer(), "cap_embedder.weight": (8, 8)}))
    with pytest.raises(BaseRefused, match="this is only a Qwen3 text encoder of 2 layers"):
        identify(made.write(tmp_path / "b.safetensors", qwen()))
    encoder = made.write(tmp_path / "c.safetensors", qwen(36))
    with pytest.raises(BaseRefused, match=r"not the Qwen3 text encoder that Quartz needs: .* \(36 wide, and 40 is needed\)"):
        part_file(encoder, NAME, "text_encoder", families.family(NAME).bundled)


def test_its_parts_are_found_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "models"
    model = made.write(place / "unet" / "x.safetensors", transformer())
    made.write(place / "clip" / "qwen.safetensors", qwen())
    made.write(place / "vae" / "ae.safetensors", made.ldm_vae(16))
    tokenizer = place / "qwen-tokenizer" / "tokenizer.json"
    tokenizer.parent.mkdir()
    tokenizer.write_text(json.dumps({"model": {"type": "BPE", "vocab": {"<|im_start|>": 1}}}))
    assert find_base(Base(family=NAME, model=str(model)), roots=[]).complete
    (found,) = discover([place], memory_file=tmp_path / "bases.json")[0]
    assert (found.family, found.usable) == (NAME, True)
    tokenizer.unlink()
    assert discover([place], memory_file=tmp_path / "bases.json")[0][0].missing == ("tokenizer",)


def test_its_lora_names_are_written_and_read() -> None:
    layers = [("denoiser", layer.name) for layer in denoiser_layers(NAME)]
    stem = peft_names.stem(NAME, "denoiser", "layers.0.attention.to_out.0")
    assert stem == "diffusion_model.layers.0.attention.to_out.0"
    assert kohya.stem(NAME, "denoiser", "layers.0.attention.to_q") == "lora_unet_layers_0_attention_to_q"
    names = [
        f"{stem}.lora_A.weight",
        "lora_unet_layers_1_attention_out.lora_down.weight",
        "layers.2.attention.qkv.lora_A.weight",
    ]
    found = sort_keys(names, NAME, layers)
    assert not found.others
    assert {place.path: bool(place.fused) for place in found.layers} == {
        "layers.0.attention.to_out.0": False,
        "layers.1.attention.to_out.0": False,
        "layers.2.attention.to_q": True,
    }


def test_its_files_say_what_they_are_for() -> None:
    settings = Settings(base=replace(Settings().base, family=NAME))
    facts = LoraFacts(settings=settings, title="x", layout="peft", prediction="", step=1, epoch=1, epochs=1, images=1, optimizer="adamw",
                      precision="bf16")  # fmt: skip
    table = build_metadata(facts)
    assert (table["modelspec.architecture"], table["ss_base_model_version"]) == ("quartz/lora", "quartz")
    assert (default_layout(settings), network_module(Adapter(), NAME)) == ("peft", "networks.lora")
    assert opened_by(NAME, Adapter(), "peft", trains_text=False) == ("comfyui", "forge", "invokeai", "diffusers")


def test_its_size_and_sources_are_known() -> None:
    assert lora_size(NAME, Adapter(rank=4, targets="attention")).modules == 4 * fourth_family.LAYERS
    assert text_encoders_of(NAME, None) == {}
    known = families.known_base("quartz/image")
    assert known is not None
    assert known.licence == "Apache-2.0"
    assert families.family(NAME).side_px == 16
    assert len(judged_by()) == 64


def test_its_run_is_planned_and_priced() -> None:
    recipe = build_recipe("flux-identity-18img", sets=("rank=4",))
    settings = replace(recipe.settings, base=replace(recipe.settings.base, family=NAME, model="quartz/image"))
    recipe = replace(recipe, settings=settings)
    assert (list(misfits(settings)), window(settings)) == ([], 512)
    plan = plan_for_counts(recipe, 18)
    list(judge(recipe, plan))
    costs = estimate(recipe, plan)
    assert costs.lora.modules == 4 * fourth_family.LAYERS
    assert next(row for row in costs.elsewhere if row.machine == "H200").vram_gib[0] > 12.0
