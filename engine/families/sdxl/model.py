"""Stable Diffusion XL and its relatives (Pony): two CLIP text encoders, pooled text, and a UNet that reads an image's sizes and crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from loratui.engine.families import clip, loading
from loratui.engine.families.model import ModelLoader, PromptEmbeds, PromptTokens, SamplePlan, SizeConditioning
from loratui.engine.families.parts import on_device
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

    def tokenize(
        self,
        captions: Sequence[str],
        known: Sequence[PromptEmbeds] | None = None,  # noqa: ARG002 - a LoRA may change all of it
    ) -> list[PromptTokens]:
        """(n, 77) `ids` per caption, for both encoders: their vocabularies are the same."""
        read = clip.tokenize(self._tokenizers["tokenizer"], captions, self._settings.dataset.caption_tokens)
        return [PromptTokens({"ids": ids}, cut) for ids, cut in read]

    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(77·n, 2048) `states`, those of both encoders side by side, and (1280,) `pooled` of the second.

        States come from the last layer but one without the final norm. The pooled text is that of the first window: the last
        layer after the norm, at the first end, projected. Raises `UsageError` for too large a clip skip.
        """
        first, second, settings = self._parts["text_encoder"], self._parts["text_encoder_2"], self._settings
        ids, end = tokens["ids"].to(self.device), self._tokenizers["tokenizer"].eos_token_id
        narrow, _ = clip.states_sdxl(first, ids, settings.base.clip_skip)
        wide, last = clip.states_sdxl(second, clip.padded_with_zeros(ids, end), settings.base.clip_skip)
        pooled = second.text_projection(clip.at_first_end(last, ids, end)).float()
        return {"states": torch.cat([narrow, wide], -1).flatten(0, 1), "pooled": pooled}

    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """`states` (B, tokens, 2048) and `text_embeds` (B, 1280)."""
        pooled = torch.stack([one["pooled"] for one in embeds])
        return super().text_conditioning(embeds) | {"text_embeds": on_device(pooled, self.device)}

    def size_conditioning(self, sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        """`time_ids` (B, 6)."""
        return {"time_ids": on_device(time_ids(sizes), self.device)}

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
