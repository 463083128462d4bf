"""The families whose denoiser is a UNet with DDPM noise: SD1.5 and SDXL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.formats.base_parts import FAMILY_PARTS, BaseFiles
from loratui.engine.training.families import clip, loading, vae
from loratui.engine.training.families.base import Framing, Noised, SamplePlan, TextStates
from loratui.engine.training.families.diffusion import Diffusion
from loratui.engine.training.families.fingerprints import Digests
from loratui.engine.training.families.model import BaseModel
from loratui.presets.schema import Settings


class UNetModel(BaseModel):
    """A base with a UNet. Its families differ in what they tell the UNet of a caption and a picture."""

    latent_channels = 4
    size_step = 8

    def __init__(
        self, files: BaseFiles, settings: Settings, *, device: torch.device, dtype: torch.dtype, digests: Digests | None = None
    ) -> None:
        # Encoders stay fp32: each picture and caption is encoded once, and SDXL's VAE overflows in fp16.
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

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> Noised:
        return self._diffusion.add_noise(latents, noise, uniform)

    def predict(self, model_input: Tensor, timesteps: Tensor, text: Sequence[TextStates], framing: Sequence[Framing]) -> Tensor:
        unet = self.denoiser
        dtype = next(unet.parameters()).dtype
        states = clip.of_equal_length([self._on_device(one.tensors["states"]) for one in text])
        output: Tensor = unet(
            model_input.to(dtype), timesteps, states.to(dtype), return_dict=False, **self._conditions(text, framing)
        )[0]
        return output

    # SDXL alone has conditions; SD1.5 has none.
    def _conditions(self, text: Sequence[TextStates], framing: Sequence[Framing]) -> dict[str, Any]:  # noqa: ARG002
        """What else the UNet is told; SD1.5's of nothing."""
        return {}

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    @torch.no_grad()
    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        text = [self._negative(plan), plan.text] if plan.guidance != 1.0 else [plan.text]
        framing = [Framing.whole(plan.width, plan.height)] * len(text)
        factor = vae.downscale(self._parts["vae"])
        shape = (1, self.latent_channels, plan.height // factor, plan.width // factor)

        def denoise(model_input: Tensor, timesteps: Tensor) -> Tensor:
            with self._sampling():
                return self.predict(model_input, timesteps, text, framing)

        return vae.decode(self._parts["vae"], self._diffusion.sample(plan, shape, self.device, denoise, on_step))

    def _negative(self, plan: SamplePlan) -> TextStates:
        """What guidance leads away from."""
        return plan.negative
