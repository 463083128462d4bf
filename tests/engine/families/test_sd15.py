"""SD1.5 as it was made: text states, latents, targets, sampling."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from loratui.engine.errors import NotFiniteError, UsageError
from loratui.engine.families.model import LoadOptions, SamplePlan
from loratui.engine.families.sd15.model import Sd15, load
from loratui.engine.formats import kohya
from loratui.engine.formats.base_files import identify
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.adapters.build import matching_modules
from loratui.engine.training.losses import min_snr_weight
from loratui.presets.schema import Base, Settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def full_size_unet() -> torch.nn.Module:
    """SD1.5's own UNet without its weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280))


@pytest.mark.parametrize(
    ("targets", "count"),
    [("attention", 128), ("attention+ff", 160), ("sd-scripts", 192), ("all", 184), ("sd-scripts+conv", 278)],
)
def test_target_sets_have_the_counts_of_other_trainers(
    family: Sd15, full_size_unet: torch.nn.Module, targets: str, count: int
) -> None:
    assert len(matching_modules(full_size_unet, denoiser_patterns("sd15", targets))) == count


def test_the_default_targets_have_sd_scripts_number_of_parameters(family: Sd15, full_size_unet: torch.nn.Module) -> None:
    total = 0
    for module in matching_modules(full_size_unet, denoiser_patterns("sd15", "sd-scripts")).values():
        out, inside = module.weight.shape[:2]  # type: ignore[union-attr,index,misc]
        total += 16 * (out + inside)
    assert total == 6_782_976


def test_every_target_set_of_the_schema_works(family: Sd15) -> None:
    from loratui.presets.schema import KEYS

    for targets in KEYS["adapter.targets"].choices:
        assert matching_modules(family.denoiser, denoiser_patterns("sd15", targets))


def hidden_states(family: Sd15, caption: str) -> tuple[Tensor, ...]:
    ids = family._tokenizers["tokenizer"](
        caption, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    return family._parts["text_encoder"](ids, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("skip", [1, 2])
def test_clip_skip_counts_as_automatic1111_and_keeps_the_final_norm(base_folder: Path, skip: int) -> None:
    family = load(identify(base_folder), Settings(base=Base(clip_skip=skip)), LoadOptions(CPU, torch.float32))
    assert isinstance(family, Sd15)
    (states,) = family.encode_prompts(["a fox"])
    norm = getattr(family._parts["text_encoder"], "text_model", family._parts["text_encoder"]).final_layer_norm
    assert torch.equal(states.tensors["states"], norm(hidden_states(family, "a fox")[-skip])[0])
    if skip == 1:
        ids = family._tokenizers["tokenizer"]("a fox", padding="max_length", max_length=77, return_tensors="pt").input_ids
        assert torch.equal(states.tensors["states"], family._parts["text_encoder"](ids).last_hidden_state[0])


def test_clip_skip_beyond_the_encoder_is_refused(base_folder: Path) -> None:
    with pytest.raises(UsageError, match="only 3 layers"):
        load(identify(base_folder), Settings(base=Base(clip_skip=4)), LoadOptions(CPU, torch.float32)).encode_prompts(["a fox"])


def test_long_captions_are_cut_and_the_cut_is_counted(family: Sd15) -> None:
    short, long = family.encode_prompts(["fox", "f" * 100])
    assert short.tokens_cut == 0
    assert long.tokens_cut == 100 - 75
    assert long.tensors["states"].shape == (77, 16)


def test_text_states_do_not_depend_on_the_other_captions(family: Sd15) -> None:
    alone = family.encode_prompts(["red fox"])[0]
    among = family.encode_prompts(["blue", "red fox", "f" * 90])[1]
    assert torch.allclose(alone.tensors["states"], among.tensors["states"], atol=1e-6)


def test_latents_are_scaled_once_and_decode_back(family: Sd15) -> None:
    pixels = torch.rand(3, 64, 64) * 2 - 1
    latents = family.encode_image(pixels)
    reference = family._parts["vae"].encode(pixels[None]).latent_dist
    assert latents.mean.shape == (4, 8, 8)
    assert torch.allclose(latents.mean, reference.mean[0] * 0.18215)
    assert torch.allclose(latents.std, reference.std[0] * 0.18215)


def test_latents_that_are_not_finite_are_an_error(family: Sd15) -> None:
    family._parts["vae"].quant_conv.weight.data[0] = float("nan")
    with pytest.raises(NotFiniteError):
        family.encode_image(torch.zeros(3, 64, 64))


def test_encoders_stand_still_and_frozen(family: Sd15) -> None:
    assert not family._parts["text_encoder"].training
    assert not family._parts["vae"].training
    assert not any(
        p.requires_grad for m in (family._parts["text_encoder"], family._parts["vae"], family.denoiser) for p in m.parameters()
    )


def plan(family: Sd15, guidance: float, seed: int = 3) -> SamplePlan:
    text, negative = family.encode_prompts(["a fox", ""])
    return SamplePlan(text, negative, seed, 64, 64, 4, guidance)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_sampling_equals_the_librarys_pipeline(base_folder: Path, family: Sd15, guidance: float) -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    made = family.sample(plan(family, guidance), lambda *_: None)
    pipeline = StableDiffusionPipeline(
        vae=family._parts["vae"],
        text_encoder=family._parts["text_encoder"],
        tokenizer=family._tokenizers["tokenizer"],
        unet=family.denoiser,
        scheduler=DPMSolverMultistepScheduler.from_pretrained(base_folder, subfolder="scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    states, negative = (one.tensors["states"][None] for one in family.encode_prompts(["a fox", ""]))
    image = pipeline(
        prompt_embeds=states,
        negative_prompt_embeds=negative,
        latents=latents,
        guidance_scale=guidance,
        num_inference_steps=4,
        output_type="pt",
    ).images[0]
    assert (image * 255 - made.float()).abs().max() <= 1.0


def test_a_prediction_that_the_recipe_overrules_is_sampled_as_it_was_trained(base_folder: Path, tmp_path: Path) -> None:
    """The base says epsilon; as v it must sample like the same base that says v."""
    said = tmp_path / "v"
    shutil.copytree(base_folder, said)
    config = json.loads((said / "scheduler" / "scheduler_config.json").read_text())
    (said / "scheduler" / "scheduler_config.json").write_text(json.dumps({**config, "prediction_type": "v_prediction"}))
    made = []
    for folder, base in ((base_folder, Base(prediction="v")), (said, Base()), (base_folder, Base())):
        family = load(identify(folder), Settings(base=base), LoadOptions(CPU, torch.float32))
        assert isinstance(family, Sd15)
        made.append(family.sample(plan(family, 5.0), lambda *_: None))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_noise_cannot_be_predicted_from_pure_noise(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_folder, folder)
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rescale_betas_zero_snr": True}))
    with pytest.raises(UsageError, match="zero terminal SNR"):
        load(identify(folder), Settings(), LoadOptions(CPU, torch.float32))
    family = load(identify(folder), Settings(base=Base(prediction="v")), LoadOptions(CPU, torch.float32))
    one = torch.ones(1, 4, 2, 2)
    snr = family.add_noise(one, one, torch.tensor([0.9999])).snr
    assert snr is not None
    assert snr.item() == 0.0
    assert min_snr_weight(snr, 5.0, "v").item() == 0.0


def test_sampling_repeats_and_differs_by_seed_and_leaves_the_random_state_alone(family: Sd15) -> None:
    state = torch.get_rng_state()
    first = family.sample(plan(family, 5.0), lambda *_: None)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, family.sample(plan(family, 5.0), lambda *_: None))
    assert not torch.equal(first, family.sample(plan(family, 5.0, seed=4), lambda *_: None))


def test_sampling_does_not_touch_the_training_schedule(family: Sd15) -> None:
    before = family._diffusion._alphas_cumprod.clone()
    family.sample(plan(family, 5.0), lambda *_: None)
    assert torch.equal(before, family._diffusion._alphas_cumprod)
    assert len(family._diffusion._alphas_cumprod) == 1000


def test_sampling_still_works_when_the_encoders_are_gone(family: Sd15) -> None:
    wanted = plan(family, 5.0)
    family.free_text_encoders()
    family.free_vae()
    assert family.sample(wanted, lambda *_: None).shape == (3, 64, 64)


def test_an_incomplete_base_names_what_is_missing(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_folder, folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(UsageError, match="VAE"):
        load(identify(folder), Settings(), LoadOptions(CPU, torch.float32))


def test_a_base_of_another_family_is_refused(sdxl_folder: Path) -> None:
    with pytest.raises(UsageError, match="SDXL"):
        load(identify(sdxl_folder), Settings(), LoadOptions(CPU, torch.float32))


def test_lora_names_are_what_other_programs_accept(family: Sd15, full_size_unet: torch.nn.Module) -> None:
    grammar = re.compile(
        r"lora_unet_(down_blocks_\d|mid_block|up_blocks_\d)_(attentions|resnets|downsamplers|upsamplers)_\d_\w+"
    )
    names = [
        kohya.stem("sd15", "denoiser", path)
        for path in matching_modules(full_size_unet, denoiser_patterns("sd15", "sd-scripts+conv"))
    ]
    assert len(set(names)) == 278
    assert all(grammar.fullmatch(name) for name in names)


def test_images_made_together_are_those_made_alone(family: Sd15) -> None:
    plans = [plan(family, 5.0), plan(family, 5.0, seed=4)]
    alone = [family.sample(one, lambda *_: None) for one in plans]
    together = family.sample_together(plans, lambda *_: None)
    assert not torch.equal(*alone)
    for one, other in zip(alone, together, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1, "but for rounding"
