"""A T5 encoder too large for the card: it lies in host memory, and its blocks come to the card one after another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.families.stored import weight_on

AT_ONCE = 16
"""Captions for each pass over the weights; their states take 6 MB each while the pass lasts."""


def stream(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Has an encoder on the CPU compute on `device` in `dtype`: the same numbers as if all of it lay there.

    Weights that are stored in another format are cast on the device. Of a batch each caption passes a block alone, so its states do not
    depend on the others.
    """
    from diffusers.hooks import apply_group_offloading

    stack: Any = encoder.encoder
    for block in (*stack.block, stack.final_layer_norm):
        block.forward = _OneByOne(block, device, dtype)
    # Pinned as they are needed: pinning all would copy 9.5 GB out of the file for a pass or two.
    apply_group_offloading(
        stack,
        device,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
        low_cpu_mem_usage=True,
    )


class _OneByOne:
    """In place of a block's `forward`."""

    def __init__(self, block: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self._forward, self._parameters = block.forward, tuple(block.parameters())
        self._device, self._dtype = device, dtype

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        stored = [(one, one.data) for one in self._parameters if one.dtype != self._dtype]
        for one, _ in stored:
            one.data = weight_on(one, self._device, self._dtype)
        try:
            made = [self._forward(row, *args, **kwargs) for row in torch.split(hidden_states, 1)]
        finally:
            for one, data in stored:
                one.data = data
        if isinstance(made[0], Tensor):
            return torch.cat(made)
        # The position biases, which are the same for all captions, follow the states.
        return torch.cat([row[0] for row in made]), *made[0][1:]
