"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, epsilon or v prediction on a DDPM schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from loratui.engine.families import clip
from loratui.engine.families.model import ModelLoader, PromptEmbeds, PromptTokens
from loratui.engine.families.sd15.spec import SD15
from loratui.engine.families.unet import UNetModel


class Sd15(UNetModel):
    """An SD1.5 base, or one of its shape."""

    spec = SD15

    def tokenize(
        self,
        captions: Sequence[str],
        known: Sequence[PromptEmbeds] | None = None,  # noqa: ARG002 - a LoRA may change all of it
    ) -> list[PromptTokens]:
        """(n, 77) `ids` per caption."""
        read = clip.tokenize(self._tokenizers["tokenizer"], captions, self._settings.dataset.caption_tokens)
        return [PromptTokens({"ids": ids}, cut) for ids, cut in read]

    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(77·n, 768) `states`, of the layer that clip skip selects, after the norm. Raises as `clip.states_sd15`."""
        ids = tokens["ids"].to(self.device)
        return {"states": clip.states_sd15(self._parts["text_encoder"], ids, self._settings.base.clip_skip).flatten(0, 1)}


load: ModelLoader = Sd15
