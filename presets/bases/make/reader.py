"""Reads a portrait's features back from its pixels: the fixed measure of likeness and of obedience to a prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from loratui.presets.bases.make.people import FEATURES

WEIGHTS = Path(__file__).parent / "reader.safetensors"

_CHANNELS = (24, 48, 64, 96, 128)
_WIDTH = 96


class Reader(nn.Module):
    """A small convolutional network with one classifier for each feature in `FEATURES`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in _CHANNELS:
            layers += [nn.Conv2d(before, channels, 3, 2, 1), nn.GroupNorm(8, channels), nn.SiLU()]
            layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.GroupNorm(8, channels), nn.SiLU()]
            before = channels
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 4 * 4, _WIDTH), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(_WIDTH, len(values)) for name, values in FEATURES.items()})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Scores of each feature's values, shape (n, values), for pixels of shape (n, 3, 128, 128) in -1 to 1."""
        inner = self.body(pixels)
        return {name: head(inner) for name, head in self.heads.items()}


def load_reader(weights: Path = WEIGHTS) -> Reader:
    """The reader with its trained weights, for reading only."""
    reader = Reader()
    reader.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return reader.eval().requires_grad_(False)


def to_pixels(images: Tensor) -> Tensor:
    """8-bit images of shape (n, height, width, 3) as pixels of shape (n, 3, height, width) in -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def read(reader: Reader, images: NDArray[np.uint8]) -> list[dict[str, str]]:
    """The value of each feature that the reader sees in 8-bit images of shape (n, 128, 128, 3)."""
    device = next(reader.parameters()).device
    found: list[dict[str, str]] = []
    with torch.inference_mode():
        for start in range(0, len(images), 128):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + 128]))
            scores = reader(to_pixels(part.to(device)))
            best = {name: score.argmax(1).tolist() for name, score in scores.items()}
            found += [{name: FEATURES[name][best[name][k]] for name in FEATURES} for k in range(len(part))]
    return found
