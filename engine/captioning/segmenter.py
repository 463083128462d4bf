"""CLIPSeg, which marks in an image what a text names. Its weights come by the hub, after a yes (`dataset/mask_making.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from loratui.engine.dataset.mask_making import SEGMENTER, scaled
from loratui.engine.errors import UsageError
from loratui.engine.families.common.clip import CLIP_TOKENIZER
from loratui.engine.untrusted import read_whole

if TYPE_CHECKING:
    from PIL.Image import Image

CONFIG: dict[str, Any] = {
    "vision_config": {"patch_size": 16},
    "reduce_dim": 64,
    "use_complex_transposed_convolution": True,
}
"""Of rd64-refined, where it differs from what transformers takes. Source: transformers, `convert_clipseg_original_pytorch_to_hf.py`."""

_SIDE = 352
_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Side of the square that it looks at, and mean and spread of red, green and blue, as its processor has them."""
_SURE = 0.3
"""Probability from which a pixel is marked, OneTrainer's own."""
_MARGIN = 0.02
"""Share of the longest side by which the marked area is widened, so that no edge is lost; OneTrainer takes 10 px."""
_TABLE = "position_ids"
"""A table that older files have, and the model makes itself."""


class Segmenter:
    """The model, on the GPU where there is one."""

    def __init__(self, weights: Path, text: str = "a person") -> None:
        """Raises `UsageError` for weights that are not CLIPSeg's."""
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            tensors = {
                name: value for name, value in load(read_whole(weights, SEGMENTER.bytes)).items() if not name.endswith(_TABLE)
            }
            model, told = CLIPSegForImageSegmentation.from_pretrained(
                None, config=CLIPSegConfig(**CONFIG), state_dict=tensors, output_loading_info=True
            )
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"{weights}: the segmenter cannot be loaded: {error}.", "Remove the file, and download it again."
            ) from error
        if wrong := sorted({*told["missing_keys"], *told["unexpected_keys"]}):
            raise UsageError(f"{weights}: the weights do not fit at {wrong[0]}.", "Remove the file, and download it again.")
        self._model: Any = model.float().eval().to(self._device)
        tokens = CLIPTokenizer.from_pretrained(CLIP_TOKENIZER.bundled)(text, return_tensors="pt").input_ids.to(self._device)
        with torch.inference_mode():
            self._meant = self._model.get_conditional_embeddings(batch_size=1, input_ids=tokens)

    def marked(self, image: Image) -> Image | None:
        """White where an RGB image shows it; None where it does not."""
        from PIL import Image as pillow
        from PIL import ImageFilter

        mean, spread = (np.array(values, dtype=np.float32) for values in _COLOURS)
        small = image.resize((_SIDE, _SIDE), pillow.Resampling.BILINEAR)
        pixels = torch.from_numpy(((np.asarray(small, dtype=np.float32) / 255 - mean) / spread).transpose(2, 0, 1)[None].copy())
        with torch.inference_mode():
            logits = self._model(pixel_values=pixels.to(self._device), conditional_embeddings=self._meant).logits
        shares = (torch.sigmoid(logits.float()).view(_SIDE, _SIDE) * 255).round().to(torch.uint8).cpu().numpy()
        size = scaled(image.size)
        found = pillow.fromarray(shares).resize(size, pillow.Resampling.BILINEAR)
        sure = found.point([255 * (level >= _SURE * 255) for level in range(256)])
        if sure.getbbox() is None:
            return None
        return sure.filter(ImageFilter.MaxFilter(2 * max(1, round(_MARGIN * max(size))) + 1))
