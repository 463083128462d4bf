"""Florence-2: one of its three caption tasks, by the wished length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.loading import Written
from loratui.engine.captioning.protocol import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

TASKS: Mapping[str, str] = {
    "short": "What does the image describe?",
    "usual": "Describe in detail what is shown in the image.",
    "long": "Describe with a paragraph what is shown in the image.",
}
"""What the tasks <CAPTION>, <DETAILED_CAPTION> and <MORE_DETAILED_CAPTION> say to the model, by `wish.Length`."""
BEAMS = 3
"""As in the model's own examples."""


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Florence:
    """See `protocol.Load`."""
    return Florence(captioner, folder, options)


class Florence(Written):
    """Its instruction is a length."""

    kind, model_type, images = "Florence2ForConditionalGeneration", "florence2", "CLIPImageProcessorPil"
    tokens = 512

    def answers(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """See `Batches`."""
        import torch

        length = instruction if instruction in TASKS else "usual"
        pixels, config = self._pixels(images), self._model.config
        tokens = (pixels.shape[-1] // math.prod(config.vision_config.patch_stride)) ** 2 + 1  # each place, and their mean
        task = self._tokenizer(TASKS[length], add_special_tokens=False).input_ids
        row = [config.image_token_id] * tokens + [self._tokenizer.bos_token_id, *task, self._tokenizer.eos_token_id]
        ids = torch.tensor([row] * len(images), device=self._device)
        inputs = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return self._said(inputs, num_beams=BEAMS, max_new_tokens=self._most_tokens)
