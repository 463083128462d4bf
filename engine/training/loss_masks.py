"""Masks as weights of the loss: each image's, at the size of its latents, with a mean of 1."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from loratui.engine.dataset import masks
from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.errors import DatasetError
from loratui.engine.untrusted import open_regular
from loratui.presets.schema import Dataset


def outside_of(dataset: Dataset) -> float | None:
    """The weight of what masks leave out; None where a recipe uses no masks."""
    return None if dataset.masks == "off" else dataset.mask_outside


def marked(entry: LedgerEntry, size: torch.Size) -> Tensor:
    """(h, w) fp32, 0 to 1: how much of each cell of the latents the mask of an image marks.

    Raises `DatasetError` for a mask that is missing, changed or damaged.
    """
    path = entry.mask
    assert path is not None, "asked for images with a mask only"
    try:
        with open_regular(path) as file:
            changed = hashlib.file_digest(file, "sha256").hexdigest() != entry.mask_sha256
        if not changed:
            height, width = size
            shares = masks.in_cells(masks.read(path, alpha=path == entry.path), entry.fit, entry.bucket, width, height)
            return torch.from_numpy(shares).float().contiguous()
    except (OSError, ImageError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path}: {reason}.", "Restore the mask, or start a new run without it.") from error
    raise DatasetError(f"{path}: changed since the run was planned.", "Restore the old mask, or start a new run.")


def weights(marked: Tensor, outside: float) -> Tensor:
    """(h, w) fp32 weights of the loss: 1 for what is marked and `outside` for the rest, divided by their mean.

    A mask that marks nothing weights nothing. Without the division, as in sd-scripts, a small mask would make the loss, and so
    the effective learning rate, small; OneTrainer (`normalize_masked_area_loss`) and ai-toolkit divide as well.
    """
    if not marked.any():
        return torch.ones_like(marked)
    found = outside + (1 - outside) * marked.double()
    return (found / found.mean()).float()
