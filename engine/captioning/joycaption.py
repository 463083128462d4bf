"""JoyCaption: Llama 3.1 that sees by SigLIP 2, of the class LLaVA. It reads an instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.loading import Chat

if TYPE_CHECKING:
    from PIL.Image import Image

SYSTEM = "You are a helpful image captioner."
"""What its author has it told: https://github.com/fpgaminer/joycaption."""
_ASKED = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)
"""Llama 3.1's own form, for files without a template."""


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> JoyCaption:
    """See `protocol.Load`."""
    return JoyCaption(captioner, folder, options)


class JoyCaption(Chat):
    """Each image is squeezed into a square, and has the same number of tokens."""

    kind, model_type, images = "LlavaForConditionalGeneration", "llava", "SiglipImageProcessorPil"
    tokens = 512

    def _prompt(self, instruction: str) -> list[int]:
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": instruction}]
        image = self._tokenizer.convert_ids_to_tokens(int(self._model.config.image_token_id))
        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        else:
            text = _ASKED.format(SYSTEM, instruction)
        if image not in text:  # a template that leaves the image to whoever asks
            text = text.replace(instruction, image + instruction, 1)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _seen(self, images: Sequence[Image]) -> dict[str, Any]:
        config, pixels = self._model.config, self._pixels(images)
        side = pixels.shape[-1] // config.vision_config.patch_size
        cut = 1 if config.vision_feature_select_strategy == "default" else 0  # LLaVA's first token stands for the whole
        return {"pixel_values": pixels, "lengths": [side * side - cut] * len(images)}
