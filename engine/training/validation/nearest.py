"""The training image most similar to a sample, so that a person can see what was memorised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.model import Model
from loratui.engine.proof.protocol import Near
from loratui.engine.training.cache import LatentCache

_NEIGHBOURS = 20
"""So many are told of each training image: near-duplicates are passed over later."""
SIDE = 8
"""Images are compared by the layout of their colours and shapes on a grid of this many fields a side."""


class Gallery:
    """The training images as their latents' coarse layout."""

    def __init__(self, model: Model, latents: LatentCache, entries: Sequence[LedgerEntry]) -> None:
        """`latents` must hold every entry that is trained on."""
        self._model = model
        self._entries = [entry for entry in entries if entry.repeats and not entry.regularisation]
        # On the denoiser's own scale, where the VAE has already removed noise and fine grain.
        self._layouts = torch.stack([layout(latents.get(entry).mean) for entry in self._entries]) if self._entries else None

    def nearest(self, pixels: Tensor) -> tuple[str, float] | None:
        """The training image nearest to (3, H, W) fp32 pixels in [−1, 1]: its path in the dataset, and the cosine of the two
        layouts, −1 to 1, where 1 is the same image at this coarseness. None without training images."""
        if self._layouts is None:
            return None
        made = layout(self._model.encode_image(pixels).mean)
        similarity, index = (self._layouts @ made).max(dim=0)
        return self._entries[int(index)].relative, float(similarity)

    def among(self) -> Mapping[str, Sequence[Near]]:
        """For each training image, the others with the nearest layouts, nearest first."""
        if self._layouts is None or len(self._entries) < 2:
            return {}
        similar = (self._layouts @ self._layouts.T).fill_diagonal_(-2.0)
        values, places = similar.topk(min(_NEIGHBOURS, len(self._entries) - 1), dim=1)
        return {
            entry.relative: [Near(self._entries[at].relative, value) for at, value in zip(row, found, strict=True)]
            for entry, row, found in zip(self._entries, places.tolist(), values.tolist(), strict=True)
        }


def layout(latents: Tensor) -> Tensor:
    """(C·SIDE·SIDE,) the coarse layout of (C, …, h, w) latents: averaged over fields, each channel about its mean, of length 1."""
    fields = F.adaptive_avg_pool2d(latents.flatten(0, -3)[None].float(), SIDE)[0]
    return F.normalize((fields - fields.mean(dim=(1, 2), keepdim=True)).flatten(), dim=0)
