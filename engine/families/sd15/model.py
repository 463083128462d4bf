"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, epsilon or v prediction on a DDPM schedule."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loratui.engine.families import clip
from loratui.engine.families.fingerprints import Digests
from loratui.engine.families.model import Family, PromptEmbeds
from loratui.engine.families.parts import finite
from loratui.engine.families.unet import UNetModel
from loratui.engine.formats.base_parts import BaseFiles, PartName
from loratui.presets.schema import Family as FamilyName
from loratui.presets.schema import Settings


def load(
    files: BaseFiles, settings: Settings, *, device: torch.device, dtype: torch.dtype, digests: Digests | None = None
) -> Family:
    """An SD1.5 base; nothing is fetched, and no weights are loaded yet."""
    return Sd15(files, settings, device=device, dtype=dtype, digests=digests)


class Sd15(UNetModel):
    """An SD1.5 base, or one of its shape."""

    name: FamilyName = "sd15"
    trainable_encoders: tuple[PartName, ...] = ("text_encoder",)

    def encode_text(
        self,
        captions: Sequence[str],
        known: Sequence[PromptEmbeds] | None = None,  # noqa: ARG002 - a LoRA may change all of it
    ) -> list[PromptEmbeds]:
        """(77·n, 768) `states` for each caption: the layer that clip skip names, behind the final layer norm.

        Raises `UsageError` if the encoder has fewer layers than clip skip says.
        """
        encoder, settings = self._parts["text_encoder"], self._settings
        made = []
        for tokens in clip.tokenize(self._tokenizers["tokenizer"], captions, settings.dataset.caption_tokens):
            states = clip.states_sd15(encoder, tokens.ids.to(self.device), settings.base.clip_skip)
            made.append(PromptEmbeds({"states": finite(states, "text").flatten(0, 1)}, tokens.cut))
        return made
