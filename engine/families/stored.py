"""Weights that stay in host memory in the format of their file, until they are moved to the card layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def weight_on(weight: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A weight that was loaded as it is stored, as numbers of `dtype` on the device."""
    moved = weight.detach().to(device)
    scale = getattr(weight, "fp8_scale", None)
    # The product is rounded once, to the format of the training.
    return moved.to(dtype) if scale is None else (moved.float() * scale.to(device)).to(dtype)


def note_scale(weight: Any, scale: Tensor) -> None:
    """Notes the (rows, 1) scale of a weight in fp8; most biases and norms have 1."""
    if not bool((scale == 1).all()):
        weight.fp8_scale = scale.reshape(-1, *[1] * (weight.dim() - 1))


def block_weights(model: nn.Module) -> Iterator[str]:
    """Names of the Linear weights of a denoiser's repeated blocks, which are most of its weights."""
    kinds = getattr(model, "_repeated_blocks", None) or ()
    for path, block in model.named_modules():
        if type(block).__name__ in kinds:
            for name, layer in block.named_modules():
                if isinstance(layer, nn.Linear):
                    yield f"{path}.{name}.weight"


@contextmanager
def seen_as(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within the block, weights that are kept in another format look like weights of `dtype`, which take no memory.

    PEFT makes new weights in the format of the layer that they belong to.
    """
    kept = {one: one.data for one in model.parameters() if one.dtype != dtype}
    for one in kept:
        one.data = torch.zeros((), dtype=dtype, device=one.device).expand(one.shape)
    try:
        yield
    finally:
        for one, data in kept.items():
            one.data = data


class WithoutCopies(TorchFunctionMode):
    """Lets diffusers' converters take tensors apart without copying them: they call `torch.cat` on each part alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.cat and len(args[0]) == 1:
            return args[0][0]
        return func(*args, **(kwargs or {}))
