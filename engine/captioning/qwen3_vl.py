"""Qwen3-VL, which reads an instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.loading import Chat

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

LEAST_PIXELS, MOST_PIXELS = 256 * 256, 1024 * 1024
"""Of an image as the model sees it: 64 to 1024 tokens. Its own limit of 16 million would take hours and all memory."""
_ASKED = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Qwen3VL:
    """See `protocol.Load`."""
    return Qwen3VL(captioner, folder, options)


class Qwen3VL(Chat):
    """Images keep their shape: a token for each 32×32 px."""

    kind, model_type, images = "Qwen3VLForConditionalGeneration", "qwen3_vl", "Qwen2VLImageProcessorPil"
    tokens = 512

    def _prompt(self, instruction: str) -> list[int]:
        ids: list[int] = self._tokenizer(_ASKED.format(instruction), add_special_tokens=False).input_ids
        return ids

    def _seen(self, images: Sequence[Image]) -> dict[str, Any]:
        limits = {"shortest_edge": LEAST_PIXELS, "longest_edge": MOST_PIXELS}  # so named, but they are numbers of pixels
        seen = self._images(images=list(images), size=limits, return_tensors="pt")
        grid = seen["image_grid_thw"]
        return {
            "pixel_values": seen["pixel_values"].to(self._device, self._dtype),
            "image_grid_thw": grid.to(self._device),
            "lengths": (grid.prod(dim=1) // self._images.merge_size**2).tolist(),
        }

    def _more(self, of_image: Tensor) -> dict[str, Any]:
        return {"mm_token_type_ids": of_image.int()}
