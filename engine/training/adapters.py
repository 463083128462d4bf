"""The LoRA itself: put onto a frozen model by PEFT, kept in fp32, read and written by module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.training.noise import derived_seed
from loratui.presets.schema import Adapter

NAME = "default"


@dataclass(frozen=True)
class LoraModule:
    """One adapted module. y = W·x + scale · B(A(x))."""

    path: str
    down: nn.Parameter
    """A: (rank, in) or (rank, in, k, k), fp32."""
    up: nn.Parameter
    """B: (out, rank) or (out, rank, 1, 1), fp32."""
    scale: float
    """alpha / rank, or alpha / √rank if stabilised."""

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def file_alpha(self) -> float:
        """The alpha that makes a reader's alpha / rank equal to `scale`."""
        return self.scale * self.rank


class LoraAdapter:
    """All adapted modules of one model."""

    def __init__(self, model: nn.Module, layers: Mapping[str, Any]) -> None:
        self._model = model
        self._layers = dict(layers)
        self.modules = [
            LoraModule(path, layer.lora_A[NAME].weight, layer.lora_B[NAME].weight, float(layer.scaling[NAME]))
            for path, layer in layers.items()
        ]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable tensors by name, `<module path>.lora_A` and `.lora_B`, in a fixed order."""
        return {name: value for m in self.modules for name, value in ((f"{m.path}.lora_A", m.down), (f"{m.path}.lora_B", m.up))}

    def state(self) -> dict[str, Tensor]:
        """A copy of the trainable tensors on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.parameters.items()}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes in what `state` gave. Raises `UsageError` if names or shapes differ."""
        own = self.parameters
        shapes = {name: tuple(value.shape) for name, value in own.items()}
        given = {name: tuple(value.shape) for name, value in tensors.items()}
        if shapes != given:
            differing = sorted(shapes.items() ^ given.items())[0][0]
            raise UsageError(f"The checkpoint's LoRA has other layers or another rank: {differing}.", "Start a new run.")
        for name, value in own.items():
            value.copy_(tensors[name])

    def train(self, training: bool = True) -> None:
        """Switches LoRA dropout on or off; new PEFT layers are in training mode even on a model that is not."""
        for layer in self._layers.values():
            layer.train(training)

    @contextmanager
    def strength(self, value: float) -> Iterator[None]:
        """Within the block the LoRA works `value` times as strongly, without dropout; at 0 it is switched off altogether."""
        was_training = {layer: layer.training for layer in self._layers.values()}
        before = {layer: layer.scaling[NAME] for layer in was_training}
        try:
            for layer, scale in before.items():
                layer.eval()
                layer.scaling[NAME] = scale * value
                layer.enable_adapters(value != 0)
            yield
        finally:
            for layer, scale in before.items():
                layer.enable_adapters(True)
                layer.scaling[NAME] = scale
                layer.train(was_training[layer])
            # enable_adapters(False) had switched their gradients off.
            for module in self.modules:
                module.down.requires_grad_(True)
                module.up.requires_grad_(True)


def matching_modules(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    """Linear and convolution modules whose full path matches `pattern`."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and re.fullmatch(pattern, path)
    }


def add_lora(model: nn.Module, pattern: str, settings: Adapter, *, seed: int) -> LoraAdapter:
    """Puts a LoRA onto every module of `model` that matches `pattern`.

    A is drawn from U(−1/√fan_in, 1/√fan_in), B is 0, so that the model is unchanged at first (Hu et al., "LoRA", 2021).
    3×3 convolutions get `conv_rank` and `conv_alpha` where these are set, as LoCon has them. Everything else is frozen.

    Raises `UsageError` for an adapter kind that cannot be trained and where nothing matches.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if settings.kind not in ("lora", "locon"):
        raise UsageError(f"adapter.kind {settings.kind}: this version trains lora and locon.")
    modules = matching_modules(model, pattern)
    if not modules:
        raise UsageError(f"adapter.targets {settings.targets}: no layer of this base matches.")
    alpha = settings.effective_alpha
    conv_rank = settings.conv_rank or settings.rank
    conv_alpha = settings.conv_alpha or (alpha if not settings.conv_rank else float(conv_rank))
    wide = [path for path, module in modules.items() if isinstance(module, nn.Conv2d) and tuple(module.kernel_size) != (1, 1)]
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "adapter"))
        inject_adapter_in_model(
            LoraConfig(
                r=settings.rank,
                lora_alpha=alpha,
                target_modules=list(modules),
                rank_pattern={re.escape(path): conv_rank for path in wide},
                alpha_pattern={re.escape(path): conv_alpha for path in wide},
                lora_dropout=settings.dropout,
                use_rslora=settings.rank_stabilised,
            ),
            model,
            adapter_name=NAME,
        )
    layers = {path: module for path, module in model.named_modules() if path in modules}
    for layer in layers.values():
        for part in (layer.lora_A, layer.lora_B):  # PEFT makes them in the base's format, in which small updates vanish
            part[NAME].float().requires_grad_(True)
    adapter = LoraAdapter(model, layers)
    assert len(adapter.modules) == len(modules)
    assert all(value.dtype == torch.float32 for value in adapter.parameters.values())
    return adapter
