"""The trained tensors of each part side by side in one tensor, so a step over all of them takes one or two launches, not a thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from loratui.engine.formats.layers import part_of
from loratui.engine.training.adapters.weight_delta import TENSORS
from loratui.engine.training.team import left_alone

ALIGNMENT = 256
"""Each tensor begins at a multiple of it: 8-bit optimizers scale blocks of this many values, which two tensors must not share."""

BY_TENSOR = ("adafactor",)
"""Optimizers that work on rows and columns, and so need each tensor in its own shape."""

FEWEST_IN_8_BITS = 4096
"""bitsandbytes keeps the state of a tensor with fewer values in fp32 (`min_8bit_size`). With everything in 8 bits, as one long
tensor would be, 216 steps of the demo at rank 8, whose tensors are all smaller, ended with a LoRA 2.9 % from that of AdamW in fp32;
with the library's rule it is 0.00008 % away."""

SMALL = ".small"
"""Ends the name of a flat tensor made of small ones, whose state stays in fp32."""


class FlatParameters:
    """Trained tensors, moved into one tensor for each part; the tensors themselves become views of it.

    A LoRA has a thousand small tensors. Work on single values, such as AdamW's step, the gradients' norm or setting them
    to 0, gives the same over one long tensor.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, small_apart: bool = False) -> None:
        """Names are `<part>.<module path>.<tensor>`. Gradients exist from now on, and are 0.

        `small_apart`: tensors of fewer than `FEWEST_IN_8_BITS` values get a separate flat tensor.
        """
        self.tensors = dict(parameters)
        """By name, in the shapes that the layers use; each has a view as its gradient."""
        self.parts: dict[str, nn.Parameter] = {}
        """(n,) of each trained part, padding included, with its gradient; with `SMALL` after its name, of its small tensors."""
        for part in dict.fromkeys(map(part_of, self.tensors)):
            own = [value for name, value in self.tensors.items() if part_of(name) == part]
            large = [value for value in own if not small_apart or value.numel() >= FEWEST_IN_8_BITS]
            small = [value for value in own if small_apart and value.numel() < FEWEST_IN_8_BITS]
            self.parts |= {part: _side_by_side(large)} if large else {}
            self.parts |= {f"{part}{SMALL}": _side_by_side(small)} if small else {}
        self._gradients = [value.grad for value in self.tensors.values() if value.grad is not None]

    def for_optimizer(self, name: str) -> dict[str, nn.Parameter]:
        """What the optimizer of this name steps over, by the names under which its state is kept."""
        return dict(self.tensors) if name in BY_TENSOR else dict(self.parts)

    def zero_gradients(self) -> None:
        for value in self.parts.values():
            if value.grad is not None:
                value.grad.zero_()

    @torch.no_grad()
    def add_gradients(self, found: Sequence[Tensor | None]) -> None:
        """Adds one gradient for each tensor, in the order of `tensors`; None is 0."""
        there = [(own, new) for own, new in zip(self._gradients, found, strict=True) if new is not None]
        torch._foreach_add_([own for own, _ in there], [new for _, new in there])

    @torch.no_grad()
    def add_over(self, group: ProcessGroup | None, *others: Tensor) -> None:
        """Replaces the gradients and `others` by their sums over all processes of `group`: the only exchange of a step.

        Each process has added the gradients of its share, divided by the images of the whole window (`planning.world`).
        """
        if group is not None:
            gradients = [part.grad for part in self.parts.values() if part.grad is not None]
            with left_alone():
                for value in (*gradients, *others):
                    group.allreduce([value]).wait()

    def clip_gradients(self, limit: float) -> Tensor:
        """Scales the gradients so that their norm is at most `limit`; returns the norm before, () on the device."""
        return torch.nn.utils.clip_grad_norm_(self.parts.values(), limit)


def state_side_by_side(stored: Mapping[str, Tensor], flat: FlatParameters) -> dict[str, Tensor]:
    """An optimizer's state by `<parameter>|<key>` with that of single tensors, as the first versions kept it, put side by side.

    Only AdamW's figures can be: one for each value, or one for all tensors alike, such as the count of steps. Others stay as they are.
    """
    found = dict(stored)
    for part in flat.parts:
        names = [name for name in flat.tensors if part_of(name) == part]
        keys = {key.partition("|")[2] for key in stored if key.partition("|")[0] in names}
        for key in sorted(keys):
            own = [stored.get(f"{name}|{key}") for name in names]
            values = [value for value in own if value is not None]
            if len(values) < len(own):
                continue
            if all(value.shape == flat.tensors[name].shape for name, value in zip(names, values, strict=True)):
                joined = torch.cat([_padded(value) for value in values])
            elif all(value.numel() == 1 and value == values[0] for value in values):
                joined = values[0].clone()
            else:
                continue
            for name in names:
                del found[f"{name}|{key}"]
            found[f"{part}|{key}"] = joined
    return found


def keeps_small_apart(optimizer: str, stored: Mapping[str, Tensor]) -> bool:
    """Whether an optimizer needs small tensors apart. A run whose `stored` optimizer state has them among the others keeps them there."""
    return optimizer == "adamw8bit" and (not stored or any(f"{SMALL}|" in key for key in stored))


def _side_by_side(tensors: Sequence[nn.Parameter]) -> nn.Parameter:
    starts, length = [], 0
    for value in tensors:
        starts.append(length)
        length += -(-value.numel() // ALIGNMENT) * ALIGNMENT
    packed = nn.Parameter(torch.zeros(length, dtype=tensors[0].dtype, device=tensors[0].device))
    packed.grad = torch.zeros_like(packed)
    for value, start in zip(tensors, starts, strict=True):
        place = slice(start, start + value.numel())
        packed.data[place].copy_(value.detach().flatten())
        value.data = packed.data[place].view(value.shape)
        value.grad = packed.grad[place].view(value.shape)
    return packed


def taken_apart(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with the names and shapes of `like` from a flat tensor of one part, such as an optimizer's state.

    The order of the layers is not stored, so each is found by its values, which are close to those of `like`.
    Raises `ValueError` where they are not close enough.
    """
    layers: dict[str, list[str]] = {}
    for name in sorted(like, key=lambda name: _ORDER.index(name.rpartition(".")[2])):
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    expected = {path: torch.cat([_padded(like[name]) for name in names]) for path, names in layers.items()}
    found: dict[str, Tensor] = {}
    at = 0
    while expected:
        fitting = {path: values for path, values in expected.items() if at + len(values) <= len(flat)}
        apart = sorted((float((flat[at : at + len(v)] - v).norm() / v.norm()), path) for path, v in fitting.items())
        if not apart or not apart[0][0] < 0.5 * min([1.0, *(distance for distance, _ in apart[1:2])]):
            raise ValueError("the order of the layers cannot be determined")
        path = apart[0][1]
        for name in layers[path]:
            found[name] = flat[at : at + like[name].numel()].view(like[name].shape)
            at += len(_padded(like[name]))
        del expected[path]
    if at != len(flat):
        raise ValueError("it holds other layers")
    return found


_ORDER = [name for names in TENSORS.values() for name in names]
"""A layer's tensors in their order."""


def _padded(value: Tensor) -> Tensor:
    """Its values in a row, with zeros up to the next multiple of `ALIGNMENT`."""
    return torch.nn.functional.pad(value.flatten(), (0, -value.numel() % ALIGNMENT))
