"""All trained layers, of one model or several, as the trainer, the checkpoints and the files see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import Part
from loratui.engine.training.adapters.weight_delta import TENSORS, WeightDelta

NAME = "default"
"""PEFT's name of the one adapter that a layer has."""


@dataclass(frozen=True, eq=False)
class AdaptedLayer:
    """One layer with an adapter on it."""

    part: Part
    path: str
    """Of the module within its part."""
    layer: Any
    """PEFT's layer, in place of the module."""

    @property
    def name(self) -> str:
        """`<part>.<path>`, with which the names of its tensors begin."""
        return f"{self.part}.{self.path}"

    @property
    def scale(self) -> float:
        """Factor on the change: alpha / rank."""
        return float(self.layer.scaling[NAME])

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by their short names, fp32."""
        found: dict[str, nn.Parameter] = {}
        for name in (name for names in TENSORS.values() for name in names):
            held = getattr(self.layer, name, {})
            if NAME in held:
                found[name] = held[NAME].weight if isinstance(held[NAME], nn.Module) else held[NAME]
        return found


class LoraAdapter:
    """What is trained. Tensors are named `<part>.<module path>.<tensor>`, part after part."""

    def __init__(self, layers: Sequence[AdaptedLayer]) -> None:
        self.layers = tuple(layers)
        self._parameters = {f"{one.name}.{name}": value for one in self.layers for name, value in one.parameters.items()}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable tensors by name, in a fixed order; `formats.layers.part_of` tells the part of a name."""
        return dict(self._parameters)

    def state(self) -> dict[str, Tensor]:
        """A copy of the trainable tensors on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._parameters.items()}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned. Raises `UsageError` if names or shapes differ."""
        shapes = {name: tuple(value.shape) for name, value in self._parameters.items()}
        given = {name: tuple(value.shape) for name, value in tensors.items()}
        if shapes != given:
            differing = sorted(shapes.items() ^ given.items())[0][0]
            raise UsageError(f"The checkpoint's LoRA has other layers or another rank: {differing}.", "Start a new run.")
        for name, value in self._parameters.items():
            value.copy_(tensors[name])

    def changes(self, state: Mapping[str, Tensor]) -> dict[tuple[Part, str], WeightDelta]:
        """By part and module path, the change of each layer with the values of a `state`."""
        return {
            (one.part, one.path): WeightDelta({name: state[f"{one.name}.{name}"] for name in one.parameters}, one.scale)
            for one in self.layers
        }

    def train(self, training: bool = True) -> None:
        """Switches dropout on or off; new PEFT layers start in training mode whatever the model's mode."""
        for one in self.layers:
            one.layer.train(training)

    @contextmanager
    def strength(self, value: float) -> Iterator[None]:
        """Within the block the LoRA has `value` times its strength, without dropout; at 0 it is off."""
        before = [(one.layer, one.scale, one.layer.training) for one in self.layers]
        try:
            for layer, scale, _ in before:
                layer.eval()
                layer.scaling[NAME] = scale * value
                layer.enable_adapters(value != 0)
            yield
        finally:
            for layer, scale, was_training in before:
                layer.enable_adapters(True)
                layer.scaling[NAME] = scale
                layer.train(was_training)
            for parameter in self._parameters.values():  # enable_adapters(False) switches their gradients off
                parameter.requires_grad_(True)
