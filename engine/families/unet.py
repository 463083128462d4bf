"""The families whose denoiser is a UNet with DDPM noise: SD1.5 and SDXL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.families import clip, loading, vae
from loratui.engine.families.ddpm import Diffusion
from loratui.engine.families.diffusers_model import BaseModel
from loratui.engine.families.fingerprints import Digests
from loratui.engine.families.model import NoisyInput, PromptEmbeds, SamplePlan, SizeConditioning
from loratui.engine.families.parts import on_device
from loratui.engine.formats.base_parts import FAMILY_PARTS, BaseFiles
from loratui.engine.planning.family_rules import SIDES_PX
from loratui.presets.schema import Settings


class UNetModel(BaseModel):
    """A base with a UNet. Its families differ in what they tell the UNet of a caption and an image."""

    latent_channels = 4
    size_step = SIDES_PX["sd15"]

    def __init__(
        self, files: BaseFiles, settings: Settings, *, device: torch.device, dtype: torch.dtype, digests: Digests | None = None
    ) -> None:
        # Encoders stay fp32: each image and caption is encoded once, and SDXL's VAE overflows in fp16.
        wide = {part: torch.float32 for part in FAMILY_PARTS[self.name] if part == "vae" or part.startswith("text_encoder")}
        super().__init__(files, settings, device=device, dtypes={**wide, "unet": dtype}, digests=digests)
        self._diffusion = Diffusion(
            loading.scheduler_config(files),
            settings.base,
            prediction=files.prediction,
            zero_terminal_snr=files.zero_terminal_snr,
        )
        self.prediction = self._diffusion.prediction

    def _check_denoiser(self, denoiser: Any) -> None:
        if denoiser.config.in_channels != self.latent_channels:
            raise UsageError(
                f"This UNet takes {denoiser.config.in_channels} channels: it is an inpainting model.",
                "Choose the ordinary text-to-image version of the same base.",
            )

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        return self._diffusion.add_noise(latents, noise, uniform)

    def conditions(
        self,
        text: Sequence[PromptEmbeds],
        framing: Sequence[SizeConditioning],  # noqa: ARG002 - SDXL alone is told of it
    ) -> dict[str, Tensor]:
        """`states` (B, tokens, width)."""
        return {"states": on_device(clip.of_equal_length([one.tensors["states"] for one in text]), self.device)}

    def predict(self, model_input: Tensor, timesteps: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        unet = self.denoiser
        dtype = next(unet.parameters()).dtype
        added = {name: value for name, value in conditions.items() if name != "states"}
        output: Tensor = unet(
            model_input.to(dtype),
            timesteps,
            conditions["states"].to(dtype),
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]
        return output

    @torch.no_grad()
    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        text = [self._negative(plan), plan.text] if plan.guidance != 1.0 else [plan.text]
        framing = [SizeConditioning.whole(plan.width, plan.height)] * len(text)
        factor = vae.downscale(self._parts["vae"])
        shape = (1, self.latent_channels, plan.height // factor, plan.width // factor)

        conditions = self.conditions(text, framing)

        def denoise(model_input: Tensor, timesteps: Tensor) -> Tensor:
            with self._sampling():
                return self.predict(model_input, timesteps, conditions)

        return vae.decode(self._parts["vae"], self._diffusion.sample(plan, shape, self.device, denoise, on_step))

    def _negative(self, plan: SamplePlan) -> PromptEmbeds:
        """What guidance leads away from."""
        return plan.negative
