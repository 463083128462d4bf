"""SDXL as it was made. Tests are named after the mistakes that they catch; a base that makes one looks only slightly wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.errors import NotFiniteError, UsageError
from loratui.engine.families.model import LoadOptions, PromptEmbeds, SamplePlan, SizeConditioning
from loratui.engine.families.sdxl.model import Sdxl, load, time_ids
from loratui.engine.formats.base_files import identify
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.images import size_conditioning_of
from loratui.presets.schema import Base, Dataset, Settings, Targets

CPU = torch.device("cpu")


def loaded(folder: Path, settings: Settings | None = None, dtype: torch.dtype = torch.float32) -> Sdxl:
    family = load(identify(folder), settings or Settings(base=Base(family="sdxl")), LoadOptions(CPU, dtype))
    assert isinstance(family, Sdxl)
    return family


@pytest.fixture
def family(sdxl_folder: Path) -> Sdxl:
    return loaded(sdxl_folder)


@pytest.fixture
def spied(family: Sdxl) -> tuple[Sdxl, dict[str, Any]]:
    """The family, and what its UNet was last called with."""
    seen: dict[str, Any] = {}
    family.denoiser.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs, args=args), with_kwargs=True)
    return family, seen


def ids_of(family: Sdxl, caption: str, part: str) -> Tensor:
    """What one of the encoders is asked, window by window."""
    asked: list[Tensor] = []
    encoder = family._parts[part]
    hook = encoder.register_forward_pre_hook(lambda _, args: asked.append(args[0]))
    family.encode_prompts([caption])
    hook.remove()
    return asked[0]


def states(family: Sdxl, caption: str) -> dict[str, Tensor]:
    return dict(family.encode_prompts([caption])[0].tensors)


# ---- text


def test_row_12_every_encoder_stands_still(family: Sdxl) -> None:
    for part in ("text_encoder", "text_encoder_2", "vae"):
        assert not family._parts[part].training
        assert not any(p.requires_grad for p in family._parts[part].parameters())


def test_row_14_a_long_caption_is_cut_and_counted(family: Sdxl) -> None:
    (cut,) = family.encode_prompts(["f" * 100])
    assert cut.tokens_cut == 25
    assert ids_of(family, "f" * 100, "text_encoder")[0, -1] == family._tokenizers["tokenizer"].eos_token_id


def test_row_25_an_exclamation_mark_stays_one(family: Sdxl) -> None:
    """Asked itself, the second tokenizer would read `!` as padding, because its padding is `!`."""
    mark = family._tokenizers["tokenizer"]("wow!", add_special_tokens=False).input_ids[-1]
    end = family._tokenizers["tokenizer"].eos_token_id
    (row,) = ids_of(family, "wow! cat", "text_encoder_2").tolist()
    assert mark != 0
    assert mark in row[: row.index(end)]
    assert 0 not in row[: row.index(end)]


def test_row_26_the_second_encoder_is_padded_with_0_and_the_first_with_the_end(family: Sdxl) -> None:
    end = family._tokenizers["tokenizer"].eos_token_id
    first, second = (ids_of(family, "cat", part)[0].tolist() for part in ("text_encoder", "text_encoder_2"))
    behind = second.index(end) + 1
    assert set(second[behind:]) == {0}
    assert set(first[behind:]) == {end}
    assert first[:behind] == second[:behind]


@pytest.mark.parametrize(("skip", "layer"), [(1, -2), (2, -2), (3, -3)])
def test_rows_27_and_28_states_are_the_last_layer_but_one_without_the_norm(sdxl_folder: Path, skip: int, layer: int) -> None:
    family = loaded(sdxl_folder, Settings(base=Base(family="sdxl", clip_skip=skip)))
    parts = [
        family._parts[part](ids_of(family, "a fox", part), output_hidden_states=True).hidden_states[layer][0]
        for part in ("text_encoder", "text_encoder_2")
    ]
    assert torch.equal(states(family, "a fox")["states"], torch.cat(parts, -1))


def test_clip_skip_beyond_the_encoders_is_refused(sdxl_folder: Path) -> None:
    family = loaded(sdxl_folder, Settings(base=Base(family="sdxl", clip_skip=4)))
    with pytest.raises(UsageError, match="only 3 layers"):
        family.encode_prompts(["a fox"])


def test_the_pooled_text_is_the_librarys_own(family: Sdxl) -> None:
    second = family._parts["text_encoder_2"]
    reference = second(ids_of(family, "a red fox", "text_encoder_2")).text_embeds[0]
    assert torch.allclose(states(family, "a red fox")["pooled"], reference, atol=1e-6)


def test_windows_of_long_captions_are_each_read_as_a_whole_and_the_first_is_pooled(sdxl_folder: Path) -> None:
    family = loaded(sdxl_folder, Settings(base=Base(family="sdxl"), dataset=Dataset(caption_tokens=225)))
    long = states(family, "f" * 75 + "g" * 75 + "h" * 20)
    assert long["states"].shape == (3 * 77, 40)
    # A letter at the end of a word has a token of its own; the 76th goes into the second window.
    assert torch.allclose(long["states"][:77], states(family, "f" * 76)["states"][:77], atol=1e-6)
    assert torch.allclose(long["pooled"], states(family, "f" * 76)["pooled"], atol=1e-6)
    assert family.encode_prompts(["f" * 300])[0].tokens_cut == 75


def test_a_short_caption_means_the_same_beside_a_long_one(sdxl_folder: Path) -> None:
    family = loaded(sdxl_folder, Settings(base=Base(family="sdxl"), dataset=Dataset(caption_tokens=225)))
    text = family.encode_prompts(["a fox", "f" * 100, "g" * 160])
    assert [len(one.tensors["states"]) // 77 for one in text] == [1, 2, 3]
    noisy, steps = torch.randn(3, 4, 8, 8), torch.tensor([10, 500, 900])
    sizes = [SizeConditioning.whole(64, 64)] * 3
    with torch.no_grad():
        together = family.predict(noisy, steps, family.conditioning(text, sizes))
        alone = [
            family.predict(noisy[i : i + 1], steps[i : i + 1], family.conditioning(text[i : i + 1], sizes[:1]))
            for i in range(3)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_text_states_keep_their_gradients(family: Sdxl) -> None:
    family._parts["text_encoder"].requires_grad_(True)
    family._parts["text_encoder_2"].requires_grad_(True)
    (text,) = family.encode_prompts(["a fox"])
    (text.tensors["states"].square().sum() + text.tensors["pooled"].square().sum()).backward()
    assert family._parts["text_encoder_2"].text_projection.weight.grad is not None
    assert family._parts["text_encoder"].encoder.layers[0].mlp.fc1.weight.grad is not None


# ---- sizes


def test_row_23_time_ids_are_height_before_width() -> None:
    sizes = SizeConditioning(original=(1200, 900), crop=(7, 31), target=(1024, 768))
    assert time_ids([sizes]).tolist() == [[900, 1200, 31, 7, 768, 1024]]


def test_row_8_the_crop_of_a_mirrored_image_lies_where_it_lies_in_the_mirrored_photo() -> None:
    entry: Any = SimpleNamespace(width=900, height=600, fit=Fit(768, 512, left=40, top=0), bucket=Bucket(512, 512))
    assert size_conditioning_of(entry, False) == SizeConditioning((900, 600), (40, 0), (512, 512))
    assert size_conditioning_of(entry, True) == SizeConditioning((900, 600), (768 - 512 - 40, 0), (512, 512))
    assert time_ids([size_conditioning_of(entry, True)]).tolist() == [[600, 900, 0, 216, 512, 512]]


def test_row_24_time_ids_reach_the_unet_in_fp32(sdxl_folder: Path) -> None:
    family = loaded(sdxl_folder, dtype=torch.bfloat16)
    seen: dict[str, Any] = {}
    family.denoiser.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    text = family.encode_prompts(["a fox"])
    with torch.no_grad():
        family.predict(
            torch.randn(1, 4, 8, 8),
            torch.tensor([3]),
            family.conditioning(text, [SizeConditioning((1001, 257), (0, 0), (1000, 259))]),
        )
    sent = seen["added_cond_kwargs"]["time_ids"]
    assert sent.dtype == torch.float32
    assert sent.tolist() == [[257, 1001, 0, 0, 259, 1000]]


# ---- images


def test_row_29_latents_are_scaled_once_and_without_a_shift(family: Sdxl) -> None:
    pixels = torch.rand(3, 64, 64) * 2 - 1
    latents = family.encode_image(pixels)
    reference = family._parts["vae"].encode(pixels[None]).latent_dist
    assert torch.allclose(latents.mean, reference.mean[0] * 0.13025)
    assert torch.allclose(latents.std, reference.std[0] * 0.13025)


def test_row_30_images_are_encoded_in_fp32_and_nan_is_an_error(sdxl_folder: Path) -> None:
    family = loaded(sdxl_folder, dtype=torch.bfloat16)
    assert next(family._parts["vae"].parameters()).dtype == torch.float32
    assert next(family._parts["text_encoder_2"].parameters()).dtype == torch.float32
    assert next(family.denoiser.parameters()).dtype == torch.bfloat16
    family._parts["vae"].quant_conv.weight.data[0] = float("nan")
    with pytest.raises(NotFiniteError):
        family.encode_image(torch.zeros(3, 64, 64))


# ---- prediction


def with_schedule(folder: Path, at: Path, **changes: object) -> Path:
    shutil.copytree(folder, at)
    file = at / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return at


def test_row_16_noise_is_not_predicted_from_pure_noise(sdxl_folder: Path, tmp_path: Path) -> None:
    folder = with_schedule(sdxl_folder, tmp_path / "base", rescale_betas_zero_snr=True)
    with pytest.raises(UsageError, match="zero terminal SNR"):
        loaded(folder)
    with pytest.raises(UsageError, match="zero terminal SNR"):
        loaded(sdxl_folder, Settings(base=Base(family="sdxl", zero_terminal_snr="on")))
    assert loaded(folder, Settings(base=Base(family="sdxl", zero_terminal_snr="off"))).prediction == "epsilon"


def test_row_42_a_v_prediction_base_is_trained_as_one(sdxl_folder: Path, tmp_path: Path) -> None:
    folder = with_schedule(sdxl_folder, tmp_path / "base", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    family = loaded(folder)
    assert family.prediction == "v"
    latents, noise = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    last = family.add_noise(latents, noise, torch.tensor([0.9999]))
    assert torch.allclose(last.noisy_model_input, noise)
    assert torch.allclose(last.target, -latents)
    assert last.snr is not None
    assert last.snr.item() == 0.0


# ---- sampling


def pipeline_of(family: Sdxl, folder: Path, **index: object) -> Any:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline

    scheduler = DPMSolverMultistepScheduler.from_pretrained(folder, subfolder="scheduler")
    return StableDiffusionXLPipeline(
        vae=family._parts["vae"],
        text_encoder=family._parts["text_encoder"],
        text_encoder_2=family._parts["text_encoder_2"],
        tokenizer=family._tokenizers["tokenizer"],
        tokenizer_2=family._tokenizers["tokenizer"],
        unet=family.denoiser,
        scheduler=scheduler,
        add_watermarker=False,
        **index,
    )


def plan(family: Sdxl, guidance: float, **options: Any) -> SamplePlan:
    text, negative = family.encode_prompts(["a fox", ""])
    return SamplePlan(text, negative, 3, 96, 64, 4, guidance, **options)


def stacked(text: PromptEmbeds, name: str) -> Tensor:
    return text.tensors[name][None]


@pytest.mark.parametrize(("guidance", "given"), [(1.0, False), (5.0, False), (5.0, True)])
def test_sampling_equals_the_librarys_pipeline(sdxl_folder: Path, family: Sdxl, guidance: float, given: bool) -> None:
    """Without a negative prompt the pipeline takes zeros, because this base's index says so."""
    made = family.sample(plan(family, guidance, negative_given=given), lambda *_: None)
    pipeline = pipeline_of(family, sdxl_folder, force_zeros_for_empty_prompt=True)
    text, negative = family.encode_prompts(["a fox", ""])
    negatives = {
        "negative_prompt_embeds": stacked(negative, "states"),
        "negative_pooled_prompt_embeds": stacked(negative, "pooled"),
    }
    image = pipeline(
        prompt_embeds=stacked(text, "states"),
        pooled_prompt_embeds=stacked(text, "pooled"),
        latents=torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(3)),
        guidance_scale=guidance,
        num_inference_steps=4,
        width=96,
        height=64,
        output_type="pt",
        **(negatives if given else {}),
    ).images[0]
    assert (image * 255 - made.float()).abs().max() <= 1.0


def test_sampling_from_pure_noise_equals_the_librarys_pipeline(sdxl_folder: Path, tmp_path: Path) -> None:
    changes = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    family = loaded(with_schedule(sdxl_folder, tmp_path / "base", **changes))
    made = family.sample(plan(family, 5.0), lambda *_: None)
    folder = with_schedule(sdxl_folder, tmp_path / "trailing", timestep_spacing="trailing", **changes)
    text = family.encode_prompts(["a fox"])[0]
    image = pipeline_of(family, folder)(
        prompt_embeds=stacked(text, "states"),
        pooled_prompt_embeds=stacked(text, "pooled"),
        latents=torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(3)),
        guidance_scale=5.0,
        guidance_rescale=0.7,
        num_inference_steps=4,
        width=96,
        height=64,
        output_type="pt",
    ).images[0]
    assert (image * 255 - made.float()).abs().max() <= 1.0


def test_an_empty_negative_prompt_is_read_where_the_base_wants_it_so(sdxl_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(sdxl_folder, folder)
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": False}
    (folder / "model_index.json").write_text(json.dumps(index))
    family, other = loaded(folder), loaded(sdxl_folder)
    given = family.sample(plan(family, 5.0, negative_given=True), lambda *_: None)
    assert torch.equal(family.sample(plan(family, 5.0), lambda *_: None), given)
    assert not torch.equal(other.sample(plan(other, 5.0), lambda *_: None), given)


def test_row_34_sampling_leaves_the_training_schedule_alone(family: Sdxl) -> None:
    before = family._diffusion._alphas_cumprod.clone()
    family.sample(plan(family, 5.0), lambda *_: None)
    assert torch.equal(before, family._diffusion._alphas_cumprod)
    assert len(before) == 1000


def test_row_49_seeds_repeat_and_differ(family: Sdxl) -> None:
    first, second = (family.sample(plan(family, 2.0), lambda *_: None) for _ in range(2))
    assert torch.equal(first, second)
    text, negative = family.encode_prompts(["a fox", ""])
    assert not torch.equal(first, family.sample(SamplePlan(text, negative, 4, 96, 64, 4, 2.0), lambda *_: None))


def test_parts_come_back_when_they_are_needed_again(family: Sdxl) -> None:
    wanted = plan(family, 5.0)
    before = family.sample(wanted, lambda *_: None)
    family.free_text_encoders()
    family.free_vae()
    assert "text_encoder_2" not in family._parts._loaded
    assert torch.equal(family.sample(wanted, lambda *_: None), before)


# ---- targets


@pytest.fixture(scope="module")
def full_size_unet() -> torch.nn.Module:
    """SDXL's own UNet without its weights."""
    from diffusers import UNet2DConditionModel

    config = json.loads((Path(__file__).parents[3] / "engine/families/sdxl/bundled/unet/config.json").read_text())
    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(config)
    assert isinstance(model, torch.nn.Module)
    return model


@pytest.mark.parametrize(
    ("targets", "count"),
    [("attention", 560), ("attention+ff", 700), ("sd-scripts", 722), ("all", 743), ("sd-scripts+conv", 788)],
)
def test_row_38_target_sets_have_the_counts_of_other_trainers(
    full_size_unet: torch.nn.Module, targets: Targets, count: int
) -> None:
    import re

    pattern = re.compile("|".join(denoiser_patterns("sdxl", targets)))
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    assert sum(1 for name, m in full_size_unet.named_modules() if isinstance(m, kinds) and pattern.fullmatch(name)) == count


def test_images_made_together_are_those_made_alone(family: Sdxl) -> None:
    plans = [plan(family, 5.0), replace(plan(family, 5.0), seed=4)]
    alone = [family.sample(one, lambda *_: None) for one in plans]
    together = family.sample_together(plans, lambda *_: None)
    assert not torch.equal(*alone)
    for one, other in zip(alone, together, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1, "but for rounding"
