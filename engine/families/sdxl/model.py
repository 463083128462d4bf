"""Stable Diffusion XL and its relatives (Pony): two CLIP text encoders, pooled text, and a UNet that reads an image's sizes and crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from loratui.engine.families import clip, loading
from loratui.engine.families.model import ModelLoader, PromptEmbeds, SamplePlan, SizeConditioning
from loratui.engine.families.parts import finite, on_device
from loratui.engine.families.sdxl.spec import SDXL
from loratui.engine.families.unet import UNetModel

SIZES = 6
"""Numbers of `time_ids`."""


class Sdxl(UNetModel):
    """An SDXL base, or one of its shape."""

    spec = SDXL

    def _read_configs(self) -> None:
        super()._read_configs()
        self._zeros_for_none = bool(loading.pipeline_config(self._files).get("force_zeros_for_empty_prompt", True))

    def encode_prompts(
        self,
        captions: Sequence[str],
        known: Sequence[PromptEmbeds] | None = None,  # noqa: ARG002 - a LoRA may change all of it
    ) -> list[PromptEmbeds]:
        """For each caption (77·n, 2048) `states`, those of both encoders side by side, and (1280,) `pooled` of the second.

        States come from the last layer but one without the final norm. The pooled text is that of the first window: the last
        layer after the norm, at the first end, projected. Raises `UsageError` for too large a clip skip.
        """
        first, second, settings = self._parts["text_encoder"], self._parts["text_encoder_2"], self._settings
        tokenizer = self._tokenizers["tokenizer"]  # for both: their vocabularies are the same
        end = tokenizer.eos_token_id
        made = []
        for windows, cut in clip.tokenize(tokenizer, captions, settings.dataset.caption_tokens):
            ids = windows.to(self.device)
            narrow, _ = clip.states_sdxl(first, ids, settings.base.clip_skip)
            wide, last = clip.states_sdxl(second, clip.padded_with_zeros(ids, end), settings.base.clip_skip)
            pooled = second.text_projection(last[0, clip.first_end(ids, end)[0]]).float()
            states = finite(torch.cat([narrow, wide], -1), "text").flatten(0, 1)
            made.append(PromptEmbeds({"states": states, "pooled": finite(pooled, "text")}, cut))
        return made

    def conditioning(self, prompt_embeds: Sequence[PromptEmbeds], sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        """`states` (B, tokens, 2048), `text_embeds` (B, 1280) and `time_ids` (B, 6)."""
        pooled = torch.stack([one.tensors["pooled"] for one in prompt_embeds])
        added = {"text_embeds": pooled, "time_ids": time_ids(sizes)}
        moved = {name: on_device(value, self.device) for name, value in added.items()}
        return super().conditioning(prompt_embeds, sizes) | moved

    def empty_texts(self) -> PromptEmbeds:
        config: Any = self.denoiser.config
        pooled = config.projection_class_embeddings_input_dim - SIZES * config.addition_time_embed_dim
        return PromptEmbeds({**super().empty_texts().tensors, "pooled": torch.zeros(pooled)}, 0)

    def _negative(self, plan: SamplePlan) -> PromptEmbeds:
        if plan.negative_given or not self._zeros_for_none:
            return plan.negative_prompt_embeds
        zeros = {name: torch.zeros_like(value) for name, value in plan.prompt_embeds.tensors.items()}
        return replace(plan.negative_prompt_embeds, tensors=zeros)


def time_ids(sizes: Sequence[SizeConditioning]) -> Tensor:
    """(B, 6): height and width of the original, top and left of the crop, height and width of the image."""
    rows = [(*reversed(one.original), *reversed(one.crop), *reversed(one.target)) for one in sizes]
    return torch.tensor(rows, dtype=torch.float32)  # bf16 cannot hold every whole number above 256


load: ModelLoader = Sdxl
