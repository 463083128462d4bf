"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, epsilon or v prediction on a DDPM schedule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.formats.kohya import KohyaNames, unet_names
from loratui.engine.training.families import clip, vae
from loratui.engine.training.families.base import Family, FileFacts, Framing, Latents, Noised, SamplePlan, TextStates
from loratui.engine.training.families.diffusion import Diffusion
from loratui.engine.training.families.parts import Parts, fingerprint, finite, folder_files
from loratui.presets.schema import Base, Settings

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")

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


def load(model: Path, settings: Settings, *, device: torch.device, dtype: torch.dtype) -> Family:
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

    def from_folder(kind: Any, part: str, dtype: torch.dtype | None = None) -> Any:
        options: dict[str, Any] = {} if dtype is None else {"use_safetensors": True, "torch_dtype": dtype}
        try:
            return kind.from_pretrained(model, subfolder=part, local_files_only=True, **options)
        except (OSError, ValueError) as error:
            raise UsageError(f"{model}: the base model cannot be loaded: {str(error).splitlines()[0]}") from error

    return Sd15(
        Parts(
            {
                "unet": lambda: from_folder(UNet2DConditionModel, "unet", dtype),
                "vae": lambda: from_folder(AutoencoderKL, "vae", torch.float32),
                "text_encoder": lambda: from_folder(CLIPTextModel, "text_encoder", torch.float32),
            },
            device,
        ),
        from_folder(CLIPTokenizer, "tokenizer"),
        from_folder(DDPMScheduler, "scheduler"),
        base=settings.base,
        device=device,
        fingerprints=lambda: (
            fingerprint(folder_files(model / "vae")),
            fingerprint([*folder_files(model / "text_encoder"), *folder_files(model / "tokenizer")]),
        ),
    )


class Sd15:
    """An SD1.5 base, or one of its shape."""

    file_facts = FileFacts(
        architecture="stable-diffusion-v1/lora",
        base_version="sd_v1",
        implementation="diffusers",
    )
    latent_channels = 4
    size_step = 8

    def __init__(
        self,
        parts: Parts,
        tokenizer: Any,
        scheduler: Any,
        *,
        base: Base,
        device: torch.device,
        fingerprints: Callable[[], tuple[str, str]],
    ) -> None:
        self.device = device
        self._parts = parts
        self._tokenizer = tokenizer
        self._clip_skip = base.clip_skip
        self._diffusion = Diffusion(scheduler, base)
        self.prediction = self._diffusion.prediction
        self.fingerprints = functools.cache(fingerprints)  # hashing a gigabyte twice takes seconds

    @property
    def denoiser(self) -> nn.Module:
        first = not self._parts.is_loaded("unet")
        unet: Any = self._parts["unet"]
        if first and unet.config.in_channels != self.latent_channels:
            raise UsageError(
                f"This UNet takes {unet.config.in_channels} channels: it is an inpainting model.",
                "Choose the ordinary text-to-image version of the same base.",
            )
        assert isinstance(unet, nn.Module)
        return unet

    @property
    def text_encoders(self) -> Mapping[str, nn.Module]:
        return {"text_encoder": self._parts["text_encoder"]}

    def encode_text(self, captions: Sequence[str]) -> list[TextStates]:
        """(77, 768) `states` for each caption: the layer that clip skip names, behind the final layer norm.

        Raises `UsageError` if the encoder has fewer layers than clip skip says.
        """
        encoder = self._parts["text_encoder"]
        if self._clip_skip > encoder.config.num_hidden_layers:
            raise UsageError(
                f"base.clip_skip {self._clip_skip}: the text encoder has only {encoder.config.num_hidden_layers} layers."
            )
        ids, cut = clip.token_ids(self._tokenizer, captions)
        states = finite(clip.states_sd15(encoder, ids.to(self.device), self._clip_skip), "text")
        return [TextStates({"states": one}, tokens) for one, tokens in zip(states, cut, strict=True)]

    def encode_image(self, pixels: Tensor) -> Latents:
        return vae.encode(self._parts["vae"], pixels)

    def free_text_encoders(self) -> None:
        self._parts.free("text_encoder")

    def free_image_encoder(self) -> None:
        self._parts.free("vae")

    def keep_fewer_activations(self) -> None:
        self._parts["unet"].enable_gradient_checkpointing()

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> Noised:
        return self._diffusion.add_noise(latents, noise, uniform)

    def predict(
        self,
        model_input: Tensor,
        timesteps: Tensor,
        text: Sequence[TextStates],
        framing: Sequence[Framing],  # noqa: ARG002 - SD1.5 is not told where a picture comes from
    ) -> Tensor:
        states = torch.stack([one.tensors["states"] for one in text]).to(self.device, non_blocking=True)
        unet = self.denoiser
        dtype = next(unet.parameters()).dtype
        output: Tensor = unet(model_input.to(dtype), timesteps, states.to(dtype), return_dict=False)[0]
        return output

    @torch.no_grad()
    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        text = [plan.negative, plan.text] if plan.guidance != 1.0 else [plan.text]
        framing = [Framing.whole(plan.width, plan.height)] * len(text)
        factor = vae.downscale(self._parts["vae"])
        latents = self._diffusion.sample(
            plan,
            (1, self.latent_channels, plan.height // factor, plan.width // factor),
            self.device,
            lambda model_input, timesteps: self.predict(model_input, timesteps, text, framing),
            on_step,
        )
        return vae.decode(self._parts["vae"], latents)

    def target_pattern(self, targets: str) -> str:
        patterns = TARGETS[targets.removesuffix("+conv")]
        if targets.endswith("+conv"):
            patterns = (*patterns, CONVOLUTIONS)
        return rf"(?:.*\.)?(?:{'|'.join(patterns)})"

    def lora_names(self, module: str) -> KohyaNames:
        return unet_names(module)
