"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, epsilon prediction on a DDPM schedule."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import NotFiniteError, UsageError
from loratui.engine.formats.kohya import KohyaNames, unet_names
from loratui.engine.training.families.base import Family, FileFacts, Latents, Noised, SamplePlan, TextStates
from loratui.engine.training.losses import Prediction
from loratui.engine.training.noise import generator
from loratui.presets.schema import Base

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
TEXT_DIMENSION = 768
CLIP_WINDOW = 77
"""Tokens that CLIP takes: begin, 75 of content, end."""

ATTENTION = r"attn[12]\.to_(q|k|v|out\.0)"
FEED_FORWARD = r"ff\.net\.(0\.proj|2)"
TRANSFORMER_ENDS = r"proj_(in|out)"
"""The 1×1 convolutions around a transformer block."""
OTHER_LINEARS = r"time_emb_proj|time_embedding\.linear_[12]"
CONVOLUTIONS = r"resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|(down|up)samplers\.0\.conv"

TARGETS = {
    "attention": (ATTENTION,),
    "attention+ff": (ATTENTION, FEED_FORWARD),
    "sd-scripts": (ATTENTION, FEED_FORWARD, TRANSFORMER_ENDS),
    "all": (ATTENTION, FEED_FORWARD, OTHER_LINEARS),
}
"""Target set -> patterns. On SD1.5 itself they match 128, 160, 192 and 184 modules; `+conv` on `sd-scripts` makes 278."""


def load(model: Path, base: Base, *, device: torch.device, dtype: torch.dtype) -> Family:
    """The base in a diffusers folder; nothing is fetched. The UNet gets `dtype`, the encoders stay fp32.

    Raises `UsageError` if a part is missing or the folder holds another family.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    missing = [part for part in PARTS if not (model / part).is_dir()]
    if missing:
        raise UsageError(
            f"{model}: no diffusers folder of SD1.5: {', '.join(missing)} missing.",
            "It needs the folders unet, vae, text_encoder, tokenizer and scheduler.",
        )
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    try:
        unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=dtype, **options)
        vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32, **options)
        encoder = CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=torch.float32, **options)
        tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(model, subfolder="scheduler", local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{model}: the base model cannot be loaded: {str(error).splitlines()[0]}") from error
    if unet.config.in_channels != vae.config.latent_channels:
        raise UsageError(
            f"{model}: this is an inpainting model.", "Choose the ordinary text-to-image version of the same base."
        )
    return Sd15(unet, vae, encoder, tokenizer, scheduler, base=base, device=device)


class Sd15:
    """A loaded SD1.5 base, or one of its shape."""

    file_facts = FileFacts(
        architecture="stable-diffusion-v1/lora",
        base_version="sd_v1",
        implementation="diffusers",
    )

    def __init__(
        self, unet: Any, vae: Any, encoder: Any, tokenizer: Any, scheduler: Any, *, base: Base, device: torch.device
    ) -> None:
        self.device = device
        self.denoiser: nn.Module = unet.to(device).eval().requires_grad_(False)
        self._vae = vae.to(device).eval().requires_grad_(False)
        self._encoder: Any = encoder.to(device).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._scheduler_config = dict(scheduler.config)
        self._scaling = float(vae.config.scaling_factor)
        self._factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self._clip_skip = base.clip_skip
        stored: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}
        prediction = stored.get(scheduler.config.prediction_type) if base.prediction == "auto" else base.prediction
        if prediction is None:
            raise UsageError(f"The base predicts {scheduler.config.prediction_type!r}, which cannot be trained.")
        self.prediction: Prediction = prediction
        # The recipe may overrule what the base says of itself; samples must be made as it was trained.
        self._scheduler_config["prediction_type"] = {"epsilon": "epsilon", "v": "v_prediction"}[prediction]
        if self._clip_skip > encoder.config.num_hidden_layers:
            raise UsageError(
                f"base.clip_skip {self._clip_skip}: the text encoder has only {encoder.config.num_hidden_layers} layers."
            )
        self._alphas_cumprod = scheduler.alphas_cumprod.double()
        if prediction == "epsilon" and float(self._alphas_cumprod[-1]) == 0.0:
            raise UsageError(
                "The base's schedule ends in pure noise (zero terminal SNR), from which noise cannot be predicted.",
                "Set base.prediction to v, if it is a v-prediction model.",
            )

    @functools.cache  # noqa: B019 - one family lives as long as its process; hashing a gigabyte twice takes seconds
    def fingerprints(self) -> tuple[str, str]:
        words = json.dumps(self._tokenizer.get_vocab(), sort_keys=True)
        return _fingerprint(self._vae, str(self._scaling)), _fingerprint(self._encoder, words)

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> list[TextStates]:
        """(77, 768) `states` for each caption: the layer that clip skip names, behind the final layer norm."""
        assert self._encoder is not None, "the encoders were freed"
        assert not self._encoder.training
        return [self._encode_caption(caption) for caption in captions]

    def _encode_caption(self, caption: str) -> TextStates:
        full = len(self._tokenizer(caption).input_ids)
        ids = self._tokenizer(
            caption, padding="max_length", max_length=CLIP_WINDOW, truncation=True, return_tensors="pt"
        ).input_ids
        hidden = self._encoder(ids.to(self.device), output_hidden_states=True).hidden_states
        inner = getattr(self._encoder, "text_model", self._encoder)  # transformers before 5.6 has one more level
        # hidden_states[-1] is the last layer before the norm; A1111 counts it as clip skip 1 (training.md §1.8).
        states = inner.final_layer_norm(hidden[-self._clip_skip])[0]
        return TextStates({"states": _finite(states.float().cpu(), "text")}, max(0, full - CLIP_WINDOW))

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Latents:
        distribution = self._vae.encode(pixels[None].to(self.device, torch.float32)).latent_dist
        mean, std = (distribution.mean[0] * self._scaling, distribution.std[0] * self._scaling)
        return Latents(_finite(mean.cpu(), "latents"), _finite(std.cpu(), "latents"))

    def free_encoders(self) -> None:
        self._encoder = None
        self._vae.encoder = None
        self._vae.quant_conv = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def keep_fewer_activations(self) -> None:
        self.denoiser.enable_gradient_checkpointing()  # type: ignore[operator]  # diffusers' own method

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> Noised:
        """x_t = √ᾱ·x₀ + √(1−ᾱ)·ε with t = ⌊1000·u⌋; the target is ε, or v = √ᾱ·ε − √(1−ᾱ)·x₀.

        Sources: Ho et al., "Denoising Diffusion Probabilistic Models", 2020; Salimans and Ho, "Progressive Distillation", 2022.
        """
        steps = len(self._alphas_cumprod)
        timesteps = (uniform.double().cpu() * steps).long().clamp(max=steps - 1)
        kept = self._alphas_cumprod[timesteps]
        shape = (-1, *(1 for _ in latents.shape[1:]))
        signal = kept.sqrt().float().view(shape).to(latents.device)
        spread = (1 - kept).sqrt().float().view(shape).to(latents.device)
        target = noise if self.prediction == "epsilon" else signal * noise - spread * latents
        snr = (kept / (1 - kept)).float().to(latents.device)
        return Noised(signal * latents + spread * noise, timesteps.to(latents.device), target, snr)

    def predict(self, model_input: Tensor, timesteps: Tensor, text: Sequence[TextStates]) -> Tensor:
        states = torch.stack([one.tensors["states"] for one in text]).to(self.device, non_blocking=True)
        dtype = next(self.denoiser.parameters()).dtype
        output: Tensor = self.denoiser(model_input.to(dtype), timesteps, states.to(dtype), return_dict=False)[0]
        return output

    @torch.no_grad()
    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        """DPM-Solver++ 2M with classifier-free guidance, from noise drawn on the CPU, so that a seed means the same everywhere."""
        from diffusers import DPMSolverMultistepScheduler

        # A scheduler of its own: set_timesteps would shrink the table that training draws from.
        scheduler = DPMSolverMultistepScheduler.from_config(self._scheduler_config)
        scheduler.set_timesteps(plan.steps)
        shape = (1, self._vae.config.latent_channels, plan.height // self._factor, plan.width // self._factor)
        latents = torch.randn(shape, generator=generator(plan.seed, "sample")) * scheduler.init_noise_sigma
        latents = latents.to(self.device)
        guided = plan.guidance != 1.0
        text = [plan.negative, plan.text] if guided else [plan.text]
        for done, timestep in enumerate(scheduler.timesteps, 1):
            model_input = scheduler.scale_model_input(latents.expand(len(text), -1, -1, -1), timestep)
            prediction = self.predict(model_input, timestep.expand(len(text)).to(self.device), text).float()
            if guided:
                negative, positive = prediction.chunk(2)
                prediction = negative + plan.guidance * (positive - negative)
            latents = scheduler.step(prediction, timestep, latents).prev_sample
            on_step(done, plan.steps)
        pixels = self._vae.decode(latents.float() / self._scaling).sample[0]
        picture: Tensor = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
        return picture

    def target_pattern(self, targets: str) -> str:
        patterns = TARGETS[targets.removesuffix("+conv")]
        if targets.endswith("+conv"):
            patterns = (*patterns, CONVOLUTIONS)
        return rf"(?:.*\.)?(?:{'|'.join(patterns)})"

    def lora_names(self, module: str) -> KohyaNames:
        return unet_names(module)


def _fingerprint(module: nn.Module, settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _finite(tensor: Tensor, what: str) -> Tensor:
    if not bool(torch.isfinite(tensor).all()):
        raise NotFiniteError(f"The base model made {what} that are not finite.", "Its file may be damaged; load it anew.")
    return tensor
