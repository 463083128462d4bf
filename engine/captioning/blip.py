"""BLIP, with the settings of kohya's GUI that many guides give: beams instead of drawn words, and a least length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.loading import Written
from loratui.engine.captioning.protocol import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = "a picture of "
"""What it was trained to go on from; https://github.com/salesforce/BLIP begins every caption with it, and takes it away again."""
BEAMS, LEAST_TOKENS = 9, 15
"""The length counts the prompt, as in sd-scripts' make_captions.py."""


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Blip:
    """See `protocol.Load`."""
    return Blip(captioner, folder, options)


class Blip(Written):
    """It reads no instruction."""

    kind, model_type, images = "BlipForConditionalGeneration", "blip", "BlipImageProcessorPil"
    tokens = 75

    def answers(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """See `Batches`."""
        del instruction
        prompt = self._tokenizer([PROMPT] * len(images), return_tensors="pt").to(self._device)
        inputs = {"pixel_values": self._pixels(images), "input_ids": prompt.input_ids, "attention_mask": prompt.attention_mask}
        lengths = {"num_beams": BEAMS, "min_length": LEAST_TOKENS, "max_length": self._most_tokens}
        said = self._said(inputs, skip=prompt.input_ids.shape[1] - 1, **lengths)  # the prompt without its last token, [SEP]
        return [Answer(one.text) for one in said]
