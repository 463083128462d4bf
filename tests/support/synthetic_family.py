"""A fourth family, as somebody would add it: one text encoder whose states are as long as the caption, a VAE with an axis of frames
and a mean and deviation for each channel, and a transformer that is told nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from random_bases import save_t5
from torch import Tensor, nn

from loratui.engine.families import flow
from loratui.engine.families.diffusers_model import DiffusersModel
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.lora import LoraSpec, Original
from loratui.engine.families.model import ModelLoader, NoisyInput, Prediction, PromptEmbeds, PromptTokens, SamplePlan
from loratui.engine.families.spec import FamilySpec, Layer, PartSpec, TextSpec, VaeSpec
from loratui.engine.formats.base_parts import BaseFiles, PartFile

CHANNELS, WIDTH, TEXT_WIDTH = 4, 16, 32
LAYERS = ("q", "k", "v", "out")
"""Of each of two blocks."""


def _original(module: str) -> Original:
    return Original(module, (module,))


SPEC: FamilySpec = replace(
    FLUX,
    name="synthetic",  # type: ignore[arg-type]  # no preset knows of it
    title="Synthetic",
    model="synthetic_family",
    parts=(
        PartSpec("transformer", "denoiser", "synthetic_family.Denoiser"),
        PartSpec("vae", "vae", "diffusers.AutoencoderKLQwenImage"),
        PartSpec("text_encoder", "text_encoder", "transformers.T5EncoderModel", tokenizer="tokenizer"),
        PartSpec("tokenizer", "tokenizer", "transformers.T5TokenizerFast"),
    ),
    vae=VaeSpec(channels=CHANNELS, normalisation="per_channel", frames=True),
    text=TextSpec(reader="text_encoder"),
    embedded_guidance=False,
    fp16=True,
    targets={"attention": (r"blocks\.\d+\.(q|k|v|out)",)},
    layers=lambda _: (Layer(f"blocks.{block}.{name}", WIDTH, WIDTH) for block in range(2) for name in LAYERS),
    lora=LoraSpec(
        original=_original,
        readable=lambda module: (_original(module),),
        peft_prefix="transformer",
        layout="peft",
        unread_by=lambda *_: (),
        architecture="synthetic/lora",
        base_version="synthetic",
        implementation="tests",
    ),
)


class Block(nn.Module):
    """Attention of latents to themselves and to the text."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, hidden: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """(B, N, WIDTH) hidden and (B, L, WIDTH) text, of which `mask` (B, L) says what is there."""
        seen = torch.cat([hidden, text], 1)
        there = torch.cat([mask.new_ones(hidden.shape[:2]), mask], 1)[:, None]
        attended = nn.functional.scaled_dot_product_attention(self.q(hidden), self.k(seen), self.v(seen), attn_mask=there)
        return hidden + self.out(attended)


class Denoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """Each latent is a token; the noise level is added to all."""

    _supports_gradient_checkpointing = True
    _repeated_blocks = ("Block",)

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.first, self.text, self.time = nn.Linear(channels, WIDTH), nn.Linear(TEXT_WIDTH, WIDTH), nn.Linear(1, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.last = nn.Linear(WIDTH, channels)

    def forward(self, latents: Tensor, sigmas: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """(B, C, 1, h, w) velocity of (B, C, 1, h, w) latents."""
        hidden = self.first(latents.flatten(2).transpose(1, 2)) + self.time(sigmas[:, None, None])
        for block in self.blocks:
            hidden = block(hidden, self.text(text), mask)
        return self.last(hidden).transpose(1, 2).reshape(latents.shape)  # type: ignore[no-any-return]


class Synthetic(DiffusersModel):
    """All that the program is told of the family's computations."""

    spec = SPEC
    prediction: Prediction = "flow"

    def tokenize(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptTokens]:
        return [PromptTokens(one.tensors, 0) for one in known or map(self._encoded, captions)]

    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(tokens)

    def _encoded(self, caption: str) -> PromptEmbeds:
        ids = self._tokenizers["tokenizer"](caption, return_tensors="pt").input_ids
        return PromptEmbeds({"states": self._parts["text_encoder"](ids.to(self.device)).last_hidden_state[0]}, 0)

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        assert latents.dim() == 5
        return flow.add_noise(latents, noise, flow.trained_sigmas(uniform, self._settings.training, shift=3.0))

    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        states = [one["states"] for one in embeds]
        there = [torch.ones(len(one), dtype=torch.bool) for one in states]
        pad = nn.utils.rnn.pad_sequence
        return {"states": pad(states, batch_first=True).to(self.device), "mask": pad(there, batch_first=True).to(self.device)}

    def predict(self, noisy_model_input: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        velocity: Tensor = self.denoiser(noisy_model_input, timesteps, conditioning["states"], conditioning["mask"])
        return velocity

    @torch.no_grad()
    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        shape = self._latent_shape(plans[0].width, plans[0].height)
        conditioning = self.conditioning([plan.prompt_embeds for plan in plans], [])

        def denoise(latents: Tensor, sigmas: Tensor) -> Tensor:
            with self._sampling():
                return self.predict(latents, sigmas, conditioning)

        config = {"use_dynamic_shifting": True}
        latents = flow.sample(plans, shape, config, shape[-2] * shape[-1], self.device, denoise, on_step)
        return [self.decode_image(each) for each in latents]


load: ModelLoader = Synthetic


def save_synthetic(folder: Path) -> BaseFiles:
    """Writes a base of the family with random weights, and says where its parts lie."""
    torch.manual_seed(3)
    Denoiser().save_pretrained(folder / "transformer")
    narrow_frames_vae().save_pretrained(folder / "vae")
    save_t5(folder, "tokenizer", "text_encoder")
    parts = {
        part.name: PartFile(folder / part.name, files=tuple((folder / part.name).glob("*.safetensors"))) for part in SPEC.parts
    }
    return BaseFiles(folder, SPEC.name, "diffusers", parts, folder, None, False, "Synthetic folder")


def narrow_frames_vae() -> Any:
    """A random VAE of Qwen-Image's kind."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.0, 2.0, 0.5, 1.5],
    )
