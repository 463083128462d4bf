"""FLUX.1-dev as it was made. Tests are named after the mistakes that they catch."""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from loratui.engine.errors import NotFiniteError
from loratui.engine.families import flow
from loratui.engine.families.flux.model import Flux, image_ids, let_first_blocks_look_like_others, load, pack, unpack
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.model import LoadOptions, SamplePlan, SizeConditioning
from loratui.engine.formats.base_files import identify
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.frozen.blocks import Blocks
from loratui.presets.schema import Base, Settings, Targets, Training

CPU = torch.device("cpu")
BASE = Base(family="flux")
SIZES = SizeConditioning.whole(64, 64)


def loaded(folder: Path, settings: Settings | None = None, dtype: torch.dtype = torch.float32) -> Flux:
    family = load(identify(folder), settings or Settings(base=BASE), LoadOptions(CPU, dtype))
    assert isinstance(family, Flux)
    return family


@pytest.fixture
def family(flux_folder: Path) -> Flux:
    return loaded(flux_folder)


def heard(family: Flux) -> dict[str, Any]:
    """A dictionary that holds what the transformer was last called with."""
    seen: dict[str, Any] = {}
    family.denoiser.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    return seen


def predicted(family: Flux, sigmas: Tensor, height: int = 8, width: int = 8) -> Tensor:
    text = family.encode_prompts(["a fox"]) * len(sigmas)
    with torch.no_grad():
        return family.predict(
            torch.randn(len(sigmas), 16, height, width), sigmas, family.conditioning(text, [SIZES] * len(sigmas))
        )


# ---- text


def test_row_12_t5_stands_still_although_it_has_dropout(family: Flux) -> None:
    assert family._parts["text_encoder_2"].config.dropout_rate == 0.1
    first, second = (family.encode_prompts(["a fox"])[0].tensors for _ in range(2))
    assert torch.equal(first["states"], second["states"])
    family._parts["text_encoder_2"].train()
    with pytest.raises(AssertionError):
        family.encode_prompts(["a fox"])


def test_text_is_what_the_librarys_pipeline_reads(flux_folder: Path, family: Flux) -> None:
    """Padding is read like any token, and there is no mask."""
    caption = "wow! a red fox"
    states, pooled, _ = pipeline_of(family).encode_prompt(caption, None, max_sequence_length=24, device=CPU)
    own = family.encode_prompts([caption])[0].tensors
    assert own["states"].shape == (24, 32)
    assert torch.allclose(own["states"], states[0], atol=1e-6)
    assert torch.allclose(own["pooled"], pooled[0], atol=1e-6)


def test_row_14_a_long_caption_is_cut_and_counted(family: Flux) -> None:
    long = "a fox in the snow, looking at the moon above the wood"
    (cut,) = family.encode_prompts([long])
    assert cut.tokens_cut == len(family._tokenizers["tokenizer_2"](long).input_ids) - 24 > 0
    assert cut.tensors["states"].shape == (24, 32)


def test_text_states_do_not_depend_on_the_other_captions(family: Flux) -> None:
    alone, among = family.encode_prompts(["red fox"])[0], family.encode_prompts(["blue", "red fox"])[1]
    assert torch.equal(alone.tensors["states"], among.tensors["states"])
    assert torch.equal(alone.tensors["pooled"], among.tensors["pooled"])


def test_t5_is_in_the_format_of_the_transformer_and_the_vae_in_fp32(flux_folder: Path) -> None:
    family = loaded(flux_folder, dtype=torch.bfloat16)
    formats = {part: next(family._parts[part].parameters()).dtype for part in ("text_encoder", "text_encoder_2", "vae")}
    assert formats == {"text_encoder": torch.float32, "text_encoder_2": torch.bfloat16, "vae": torch.float32}
    assert family.encode_prompts(["a fox"])[0].tensors["states"].dtype == torch.bfloat16
    assert family.fingerprints()[1] != loaded(flux_folder).fingerprints()[1]
    assert predicted(family, torch.tensor([0.5])).dtype == torch.bfloat16


def test_only_clip_can_be_trained_too(family: Flux) -> None:
    assert list(family.text_encoders) == ["text_encoder"]


# ---- what the transformer is told


def test_packing_is_the_librarys(family: Flux) -> None:
    from diffusers import FluxPipeline

    latents = torch.randn(2, 16, 6, 10)
    packed = pack(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 16, 6, 10))
    assert torch.equal(unpack(packed, 6, 10), latents)
    assert packed[0, 1, 4 * 3 + 2 * 1 + 0] == latents[0, 3, 1, 2]


def test_row_24_ids_are_fp32_and_have_no_batch(flux_folder: Path) -> None:
    from diffusers import FluxPipeline

    reference = FluxPipeline._prepare_latent_image_ids(1, 3, 5, CPU, torch.float32)
    assert torch.equal(image_ids(3, 5), reference)
    assert image_ids(1, 300)[257, 2] == 257
    family = loaded(flux_folder, dtype=torch.bfloat16)
    seen = heard(family)
    predicted(family, torch.tensor([0.5, 0.25]))
    assert seen["img_ids"].dtype == seen["txt_ids"].dtype == torch.float32
    assert seen["img_ids"].shape == (16, 3)
    assert seen["txt_ids"].shape == (24, 3)
    assert not seen["txt_ids"].any()


def test_row_31_timesteps_lie_between_0_and_1(family: Flux) -> None:
    seen = heard(family)
    noisy = family.add_noise(torch.randn(3, 16, 8, 8), torch.randn(3, 16, 8, 8), torch.tensor([0.0, 0.5, 0.999]))
    predicted(family, noisy.timesteps)
    assert seen["timestep"].min() >= 0.0
    assert seen["timestep"].max() <= 1.0
    assert torch.equal(seen["timestep"], noisy.noise_level)


def test_row_32_guidance_is_1_in_training_and_the_samples_own_in_sampling(flux_folder: Path, family: Flux) -> None:
    seen = heard(family)
    predicted(family, torch.tensor([0.5, 0.7]))
    assert seen["guidance"].tolist() == [1.0, 1.0]
    family.sample(plan(family), lambda *_: None)
    assert seen["guidance"].tolist() == [3.5]
    other = loaded(flux_folder, Settings(base=BASE, training=Training(guidance=2.5)))
    seen = heard(other)
    predicted(other, torch.tensor([0.5]))
    assert seen["guidance"].tolist() == [2.5]


# ---- images


def test_row_29_latents_are_shifted_and_scaled_once(family: Flux) -> None:
    pixels = torch.rand(3, 64, 64) * 2 - 1
    latents = family.encode_image(pixels)
    reference = family._parts["vae"].encode(pixels[None]).latent_dist
    assert latents.mean.shape == (16, 8, 8)
    assert torch.allclose(latents.mean, (reference.mean[0] - 0.1159) * 0.3611, atol=1e-6)
    assert torch.allclose(latents.std, reference.std[0] * 0.3611, atol=1e-6)


def test_latents_that_are_not_finite_are_an_error(family: Flux) -> None:
    family._parts["vae"].encoder.conv_out.weight.data[0] = float("nan")
    with pytest.raises(NotFiniteError):
        family.encode_image(torch.zeros(3, 64, 64))


# ---- flow


def test_the_input_lies_between_image_and_noise_by_the_unrounded_sigma(flux_folder: Path) -> None:
    family = loaded(flux_folder, dtype=torch.bfloat16)
    latents, noise = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)
    noisy = family.add_noise(latents, noise, torch.tensor([0.3337, 0.8891]))
    assert noisy.noise_level.dtype == torch.float32
    sigma = noisy.noise_level.view(-1, 1, 1, 1)
    assert torch.allclose(noisy.noisy_model_input, (1 - sigma) * latents + sigma * noise)
    assert torch.equal(noisy.target, noise - latents)
    assert noisy.snr is None


def test_row_33_euler_steps_along_the_target_lead_back_to_the_image() -> None:
    """A denoiser that answers with the training target of one image must sample that image; its negative must not."""
    image = torch.randn(1, 16, 4, 4)
    plan = SamplePlan(None, None, 5, 32, 32, 8, 3.5)  # type: ignore[arg-type]
    config = {"use_dynamic_shifting": True, "shift": 3.0}
    start = torch.randn((1, 16, 4, 4), generator=torch.Generator().manual_seed(5))
    target = flow.add_noise(image, start, torch.tensor([0.5])).target

    def sampled(sign: float) -> Tensor:
        return flow.sample([plan], (1, 16, 4, 4), config, 4, CPU, lambda *_: sign * target, lambda *_: None)

    assert torch.allclose(sampled(1.0), image, atol=1e-5)
    assert (sampled(-1.0) - image).abs().max() > 1.0


@pytest.mark.parametrize(("side", "mu"), [(512, 0.63), (768, 0.8467), (1024, 1.15), (1536, 2.0167)])
def test_the_shift_follows_the_size_of_the_image(side: int, mu: float) -> None:
    assert math.log(flow.shift_of((side // 16) ** 2, {})) == pytest.approx(mu, abs=1e-4)


@pytest.mark.parametrize(
    ("training", "side", "mean"),
    [
        (Training(timestep_sampling="uniform"), 1024, 0.5),
        (Training(timestep_sampling="sigmoid"), 1024, 0.5),
        (Training(timestep_sampling="shift"), 1024, 0.713),
        (Training(timestep_sampling="shift", timestep_shift=1.0), 1024, 0.5),
        (Training(timestep_sampling="flux_shift"), 1024, 0.722),
        (Training(), 512, 0.627),
    ],
)
def test_noise_levels_have_the_mean_that_is_known_of_them(training: Training, side: int, mean: float) -> None:
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    sigmas = flow.trained_sigmas(uniform, training, flow.shift_of((side // 16) ** 2, {}))
    assert sigmas.mean().item() == pytest.approx(mean, abs=2e-3)
    assert torch.all(sigmas.diff() > 0)


def test_the_two_ways_to_write_the_shift_are_one() -> None:
    uniform, k = torch.linspace(0.01, 0.99, 50), flow.shift_of(4096, {})
    drawn = torch.sigmoid(torch.special.ndtri(uniform.double()))
    assert torch.allclose(flow.trained_sigmas(uniform, Training(), k), k / (k + 1 / drawn - 1))


def test_every_bucket_is_shifted_by_its_own_size(family: Flux) -> None:
    uniform = torch.tensor([0.5])
    small, large = (
        family.add_noise(torch.zeros(1, 16, n, n), torch.zeros(1, 16, n, n), uniform).noise_level for n in (64, 128)
    )
    assert small is not None
    assert large is not None
    assert small.item() == pytest.approx(1.8776 / 2.8776, abs=1e-4)
    assert large.item() == pytest.approx(3.1582 / 4.1582, abs=1e-4)


@pytest.mark.parametrize("training", [Training(), Training(timestep_sampling="uniform"), Training(timestep_scale=10.0)])
def test_the_ends_of_the_draw_give_usable_noise_levels(training: Training) -> None:
    sigmas = flow.trained_sigmas(torch.tensor([0.0, 1 - 2**-24]), training, 3.0)
    assert torch.isfinite(sigmas).all()
    assert sigmas[0] > 0
    assert sigmas[1] <= 1


# ---- sampling


def pipeline_of(family: Flux) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(family._schedule),
        vae=family._parts["vae"],
        text_encoder=family._parts["text_encoder"],
        tokenizer=family._tokenizers["tokenizer"],
        text_encoder_2=family._parts["text_encoder_2"],
        tokenizer_2=family._tokenizers["tokenizer_2"],
        transformer=family.denoiser,
    )


def plan(family: Flux, seed: int = 3) -> SamplePlan:
    (text,) = family.encode_prompts(["a fox"])
    return SamplePlan(text, text, seed, 96, 64, 4, 3.5)


def test_sampling_equals_the_librarys_pipeline(family: Flux) -> None:
    made = family.sample(plan(family), lambda *_: None)
    text = family.encode_prompts(["a fox"])[0].tensors
    image = pipeline_of(family)(
        prompt_embeds=text["states"][None],
        pooled_prompt_embeds=text["pooled"][None],
        latents=pack(torch.randn((1, 16, 8, 12), generator=torch.Generator().manual_seed(3))),
        guidance_scale=3.5,
        num_inference_steps=4,
        width=96,
        height=64,
        output_type="pt",
    ).images[0]
    assert (image * 255 - made.float()).abs().max() <= 1.0


def test_sampling_makes_one_pass_a_step_and_tells_of_each(family: Flux) -> None:
    passes: list[int] = []
    family.denoiser.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(len(kwargs["hidden_states"])), with_kwargs=True
    )
    told: list[tuple[int, int]] = []
    family.sample(plan(family), lambda done, total: told.append((done, total)))
    assert passes == [1, 1, 1, 1]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_row_49_seeds_repeat_and_differ(family: Flux) -> None:
    state = torch.get_rng_state()
    first = family.sample(plan(family), lambda *_: None)
    assert torch.equal(first, family.sample(plan(family), lambda *_: None))
    assert not torch.equal(first, family.sample(plan(family, seed=4), lambda *_: None))
    assert torch.equal(state, torch.get_rng_state())


def test_row_34_sampling_leaves_the_trained_noise_levels_alone(family: Flux) -> None:
    args = torch.ones(1, 16, 8, 8), torch.zeros(1, 16, 8, 8), torch.tensor([0.3])
    before = family.add_noise(*args).noise_level
    family.sample(plan(family), lambda *_: None)
    after = family.add_noise(*args).noise_level
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


# ---- gradients and targets


def test_the_attention_of_single_blocks_gets_its_gradient_densely(family: Flux) -> None:
    """Its own gradient is a slice of a wider one; see `_DenseGradient`."""
    got: list[Tensor] = []
    attention = family.denoiser.single_transformer_blocks[0].attn  # type: ignore[index,union-attr]
    scaled = torch.nn.functional.scaled_dot_product_attention

    def spying(*args: Any, **kwargs: Any) -> Tensor:
        output = scaled(*args, **kwargs)
        if output.requires_grad:
            output.register_hook(got.append)
        return output

    attention.to_q.weight.requires_grad_(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", spying)
        output = family.predict(
            torch.randn(1, 16, 8, 8), torch.tensor([0.4]), family.conditioning(family.encode_prompts(["a fox"]), [SIZES])
        )
    output.square().sum().backward()
    dense = [gradient.transpose(1, 2).is_contiguous() or gradient.is_contiguous() for gradient in got]
    assert len(got) == 3  # the double block, and both single ones
    assert all(dense)


@pytest.mark.long
def test_compiled_blocks_have_the_same_gradients(flux_folder: Path) -> None:
    """The hook on the attention is compiled with them; `aot_eager` needs no compiler of C++."""
    made = []
    for compiled in (False, True):
        family = loaded(flux_folder)
        weight = family.denoiser.single_transformer_blocks[0].attn.to_k.weight  # type: ignore[index,union-attr]
        weight.requires_grad_(True)
        if compiled:
            family.denoiser.compile_repeated_blocks(backend="aot_eager")  # type: ignore[operator]
        torch.manual_seed(1)
        text = family.encode_prompts(["a fox"])
        family.predict(
            torch.randn(1, 16, 8, 8), torch.tensor([0.4]), family.conditioning(text, [SIZES])
        ).square().sum().backward()
        made.append(weight.grad)
    assert torch.allclose(made[0], made[1], rtol=1e-4, atol=1e-6)


def test_each_kind_of_block_is_compiled_once(flux_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a kind gets inputs like those of the others: they need gradients, and single blocks get slices of one tensor."""
    config = {**json.loads((flux_folder / "transformer" / "config.json").read_text()), "num_layers": 2, "num_single_layers": 3}
    transformer = FluxTransformer2DModel.from_config(config).requires_grad_(False)  # type: ignore[attr-defined]  # diffusers gives it no types
    let_first_blocks_look_like_others(transformer)
    for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
        block.attn.to_k.weight.requires_grad_(True)
    compiled: list[str] = []

    def noted(graph: Any, _: object) -> Any:
        compiled.append(str(graph))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=noted))
    Blocks(transformer, FLUX.blocks, on_card=False, draws=False).compile(one_shape=True)
    output = transformer(
        hidden_states=torch.randn(1, 16, config["in_channels"]),
        timestep=torch.tensor([0.4]),
        guidance=torch.ones(1),
        pooled_projections=torch.randn(1, config["pooled_projection_dim"]),
        encoder_hidden_states=torch.randn(1, 8, config["joint_attention_dim"]),
        txt_ids=torch.zeros(8, 3),
        img_ids=image_ids(4, 4),
    ).sample
    output.square().sum().backward()
    assert len(compiled) == 2
    assert all(block.attn.to_k.weight.grad is not None for block in transformer.transformer_blocks)


def test_gradients_with_fewer_activations_are_the_same(flux_folder: Path) -> None:
    made = []
    for fewer in (False, True):
        family = loaded(flux_folder)
        if fewer:
            blocks = Blocks(family.denoiser, FLUX.blocks, on_card=False, draws=False)
            blocks.recompute(len(blocks.blocks))
        weight = family.denoiser.single_transformer_blocks[0].attn.to_k.weight  # type: ignore[index,union-attr]
        weight.requires_grad_(True)
        torch.manual_seed(1)
        text = family.encode_prompts(["a fox"])
        family.predict(
            torch.randn(1, 16, 8, 8), torch.tensor([0.4]), family.conditioning(text, [SIZES])
        ).square().sum().backward()
        made.append(weight.grad)
    assert torch.equal(*made)


@pytest.fixture(scope="module")
def full_size_transformer() -> torch.nn.Module:
    """FLUX.1-dev's own transformer without its weights."""
    from diffusers import FluxTransformer2DModel

    config = json.loads((Path(__file__).parents[3] / "engine/families/flux/bundled/transformer/config.json").read_text())
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(config)
    assert isinstance(model, torch.nn.Module)
    return model


@pytest.mark.parametrize(("targets", "count"), [("attention", 266), ("attention+ff", 418), ("sd-scripts", 494), ("all", 504)])
def test_row_38_target_sets_have_the_counts_of_other_trainers(
    full_size_transformer: torch.nn.Module, targets: Targets, count: int
) -> None:
    pattern = re.compile("|".join(denoiser_patterns("flux", targets)))
    found = [n for n, m in full_size_transformer.named_modules() if isinstance(m, torch.nn.Linear) and pattern.fullmatch(n)]
    assert len(found) == count
    assert ("proj_out" in found) == (targets == "all")


def test_images_made_together_are_those_made_alone(family: Flux) -> None:
    plans = [plan(family), plan(family, seed=4)]
    alone = [family.sample(one, lambda *_: None) for one in plans]
    together = family.sample_together(plans, lambda *_: None)
    assert not torch.equal(*alone)
    for one, other in zip(alone, together, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1, "but for rounding"
