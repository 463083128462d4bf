"""Models of whole images: CLIP compares them with words, DINOv2 with each other. On the CPU; their weights come by the hub, after a yes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from loratui.engine.families.common.clip import CLIP_TOKENIZER
from loratui.engine.proof import embedding_weights
from loratui.engine.proof.protocol import EmbeddingError
from loratui.engine.untrusted import read_whole

T = TypeVar("T")

CLIP_CONFIG: dict[str, Any] = {
    "projection_dim": 512,
    "text_config": {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "hidden_act": "gelu"},
    "vision_config": {"hidden_size": 768, "intermediate_size": 3072, "patch_size": 32, "hidden_act": "gelu"},
}
"""Of ViT-B/32 by LAION, where it differs from what transformers takes: OpenAI's has another activation."""
DINO_CONFIG: dict[str, Any] = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}
"""Of DINOv2 small."""
_WINDOW = 77
_CLIP_COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_DINO_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and spread of red, green and blue, as each was trained with."""
_SIDE, _DINO_SHORTEST = 224, 256
_NOT_IN_MODEL = "position_ids"
"""A table that older files have, and the model makes itself."""


def find(home: Path) -> tuple[ImageText | None, Things | None]:
    """The models whose weights are here. Nothing is downloaded or loaded."""
    texts, things = embedding_weights.IMAGE_TEXT.find(home), embedding_weights.THINGS.find(home)
    return ImageText(texts) if texts else None, Things(things) if things else None


class ImageText:
    """CLIP, loaded at the first image."""

    id = "clip-vit-b-32-laion2b/1"

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, image: Image.Image) -> tuple[float, ...]:
        """What an image says, of the middle square."""
        pixels = square(image, _SIDE, _CLIP_COLOURS)
        return _asked(lambda: _unit(self._model.visual_projection(self._model.vision_model(pixels).pooler_output)))

    def text(self, words: str) -> tuple[float, ...]:
        """What the first 75 tokens of a text say."""

        def ask() -> tuple[float, ...]:
            ids = self._tokenizer(words, truncation=True, max_length=_WINDOW, return_tensors="pt").input_ids
            return _unit(self._model.text_projection(self._model.text_model(input_ids=ids).pooler_output))

        return _asked(ask)

    @cached_property
    def _model(self) -> Any:
        from transformers import CLIPConfig, CLIPModel

        return _filled(CLIPModel, CLIPConfig(**CLIP_CONFIG), self._path, embedding_weights.IMAGE_TEXT.bytes)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(CLIP_TOKENIZER.bundled)


class Things:
    """DINOv2, loaded at the first image."""

    id = "dinov2-small/1"

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, image: Image.Image) -> tuple[float, ...]:
        """What an image shows, of the middle square: the state of the token that stands for all."""
        pixels = square(image, _DINO_SHORTEST, _DINO_COLOURS)
        return _asked(lambda: _unit(self._model(pixels).last_hidden_state[:, 0]))

    @cached_property
    def _model(self) -> Any:
        from transformers import Dinov2Config, Dinov2Model

        return _filled(Dinov2Model, Dinov2Config(**DINO_CONFIG), self._path, embedding_weights.THINGS.bytes)


def square(image: Image.Image, shortest: int, colours: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """(1, 3, 224, 224) of an RGB image: its shortest side made `shortest`, the middle cut out, and colours as the model wants them."""
    scale = shortest / min(image.size)
    wide, high = (max(_SIDE, int(side * scale)) for side in image.size)
    left, top = (wide - _SIDE) // 2, (high - _SIDE) // 2
    small = image.resize((wide, high), resample=Image.Resampling.BICUBIC).crop((left, top, left + _SIDE, top + _SIDE))
    mean, spread = (np.array(values, dtype=np.float32) for values in colours)
    pixels = (np.asarray(small, dtype=np.float32) / 255 - mean) / spread
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())


def _filled(kind: Any, config: Any, path: Path, most_bytes: int) -> Any:
    """A model with the weights of a file, which must have each of its tensors. Transformers knows the names of its earlier releases."""
    tensors = {name: tensor for name, tensor in load(read_whole(path, most_bytes)).items() if not name.endswith(_NOT_IN_MODEL)}
    model, told = kind.from_pretrained(None, config=config, state_dict=tensors, output_loading_info=True)
    if wrong := sorted({*told["missing_keys"], *told["unexpected_keys"]}):
        raise ValueError(f"the weights do not fit at {wrong[0]}")
    return model.float().eval()


def _asked(ask: Callable[[], T]) -> T:
    try:
        with torch.inference_mode():
            return ask()
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise EmbeddingError(f"the model failed: {error}") from error


def _unit(rows: Tensor) -> tuple[float, ...]:
    row = rows[0].float()
    length = float(row.norm())
    if not 0 < length < float("inf"):
        raise EmbeddingError("the model says nothing")
    return tuple((row / length).tolist())
