"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, epsilon or v prediction on a DDPM schedule."""

from __future__ import annotations

from collections.abc import Sequence

from loratui.engine.families import clip
from loratui.engine.families.model import ModelLoader, PromptEmbeds
from loratui.engine.families.parts import finite
from loratui.engine.families.sd15.spec import SD15
from loratui.engine.families.unet import UNetModel


class Sd15(UNetModel):
    """An SD1.5 base, or one of its shape."""

    spec = SD15

    def encode_prompts(
        self,
        captions: Sequence[str],
        known: Sequence[PromptEmbeds] | None = None,  # noqa: ARG002 - a LoRA may change all of it
    ) -> list[PromptEmbeds]:
        """(77·n, 768) `states` per caption, of the layer that clip skip selects, after the norm. Raises as `clip.states_sd15`."""
        encoder, settings = self._parts["text_encoder"], self._settings
        made = []
        for ids, cut in clip.tokenize(self._tokenizers["tokenizer"], captions, settings.dataset.caption_tokens):
            states = clip.states_sd15(encoder, ids.to(self.device), settings.base.clip_skip)
            made.append(PromptEmbeds({"states": finite(states, "text").flatten(0, 1)}, cut))
        return made


load: ModelLoader = Sd15
