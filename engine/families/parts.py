"""The parts of a base model, each loaded when it is first needed, frozen, and dropped when its work is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import NotFiniteError


class Parts:
    """Loads parts by name; loaders put them where they belong."""

    def __init__(self, loaders: Mapping[str, Callable[[], nn.Module]], device: torch.device) -> None:
        self._loaders = dict(loaders)
        self._device = device
        self._loaded: dict[str, nn.Module] = {}

    def __getitem__(self, name: str) -> Any:
        """The part, loaded now if needed: in evaluation mode, without gradients. Raises what its loader raises."""
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]().eval().requires_grad_(False)
        return self._loaded[name]

    def load_by(self, name: str, loader: Callable[[], nn.Module]) -> None:
        """Has another loader make this part from now on."""
        self.free(name)
        self._loaders[name] = loader

    def free(self, *names: str) -> None:
        """Drops these parts from memory; the next use loads them again."""
        for name in names:
            self._loaded.pop(name, None)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            if hasattr(torch.accelerator, "empty_host_cache"):  # torch 2.13: host memory that was pinned for copies to the card
                torch.accelerator.empty_host_cache()


def is_mixed(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a denoiser of this format is computed under autocast; on a CPU bf16 is computed as it is."""
    return dtype == torch.float16 or (device.type == "cuda" and dtype != torch.float32)


def finite(tensor: Tensor, what: str) -> Tensor:
    """`tensor` itself. Raises `NotFiniteError` if one of its values is not finite."""
    if not bool(torch.isfinite(tensor).all()):
        raise NotFiniteError(
            f"The base model produced {what} with values that are not finite.", "Its file may be damaged: download it again."
        )
    return tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on the device. A copy to a GPU is only queued, so the program does not wait for the GPU's earlier work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
