"""Loads a LoRA file into an adapter: this run's own file exactly, any other as far as it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.layouts import is_finite
from loratui.engine.training.lora_file.read import FoundLora, read_lora
from loratui.engine.words import count
from loratui.presets.schema import Family

SAME = 1e-6
"""Relative difference of two scales that rounding explains: alphas have 32 bits."""


def read_lora_file(path: Path, family: Family, adapter: LoraAdapter) -> None:
    """Loads a LoRA file into an adapter of the same layers, kinds, ranks and alphas. Raises `UsageError` for any other file."""
    found = read_lora(path, family, [(one.part, one.path) for one in adapter.layers])
    if found.others:
        raise UsageError(f"{path}: it has layers that this run did not train, such as {found.others[0]}.")
    state = adapter.state()
    for (part, layer), own in adapter.changes(state).items():
        given = found.changes.get((part, layer))
        if given is None:
            raise UsageError(f"{path}: it has no LoRA for {layer}.")
        for name, value in _rescaled(given, own).tensors.items():
            state[f"{part}.{layer}.{name}"] = value
    adapter.load_state(state)


def _rescaled(given: WeightDelta, own: WeightDelta) -> WeightDelta:
    """The same change with the scale of `own`: PEFT's layout keeps the scale in B, kohya's beside it."""
    if abs(given.scale - own.scale) <= SAME * abs(own.scale):
        return given
    first = next(name for name in ("lora_B", "hada_w1_a", "lokr_w1", "lokr_w1_a") if name in given.tensors)
    factor = given.scale / own.scale
    return replace(given, tensors={**given.tensors, first: given.tensors[first] * factor}, scale=own.scale)


@dataclass(frozen=True)
class Started:
    """What was taken from a LoRA that training starts from."""

    taken: int
    """Layers that got its values."""
    untouched: tuple[str, ...]
    """Layers of the adapter that it lacks; they start new."""
    unmatched: tuple[str, ...]
    """Tensors of it that belong to no layer of the adapter."""
    unfit: tuple[str, ...]
    """Layers of another kind or shape in it, or damaged; they start new."""
    reduced: int
    """Layers that had a higher rank."""
    lost: float
    """Share of the norm lost with their rank, 0 to 1, over all layers taken."""

    def sentences(self) -> list[str]:
        """What a person should know about it, with a few of the names."""
        told = [f"{count(self.taken, 'layer')} taken over from it."]
        if self.reduced:
            told.append(
                f"{self.reduced} of them had a higher rank; reduced, they lost {100 * self.lost:.2g} % of its strength."
            )
        for names, what in (
            (self.untouched, "layers are not in it and start new"),
            (self.unfit, "layers are of another kind or shape in it and start new"),
            (self.unmatched, "of its tensors belong to no layer that is trained here"),
        ):
            if names:
                told.append(f"{len(names)} {what}: {_some(names)}.")
        return told

    def listed(self) -> list[str]:
        """Every name that was not used, for the log."""
        unused = {
            "starts new": self.untouched,
            "of another kind or shape": self.unfit,
            "belongs to no trained layer": self.unmatched,
        }
        return [f"{what}: {name}" for what, names in unused.items() for name in names]


_NAMED = 3


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def init_from(path: Path, family: Family, adapter: LoraAdapter) -> Started:
    """Starts an adapter with the values of a LoRA file, as far as layers, kinds and shapes agree.

    A lower rank is embedded: the change is the same to the bit of its products, and the added ranks start as in a new LoRA.
    A higher rank is reduced by singular values. Alphas are respected. Raises `UsageError` if nothing of the file fits, and
    for values that are not finite, which would prevent every step.
    """
    found = read_lora(path, family, [(one.part, one.path) for one in adapter.layers])
    for (_, layer), change in found.changes.items():
        if not (math.isfinite(change.scale) and all(is_finite(value) for value in change.tensors.values())):
            raise UsageError(
                f"{path}: some of its values for {layer} are not finite; the file is unusable.", "Name another file."
            )
    state = adapter.state()
    taken: list[tuple[float, float]] = []
    untouched: list[str] = []
    unfit: list[str] = []
    reduced = 0
    for (part, layer), own in adapter.changes(state).items():
        given = found.changes.get((part, layer))
        name = f"{part}.{layer}"
        if given is None:
            (unfit if (part, layer) in found.unread else untouched).append(name)
            continue
        fitted = fit(given, own)
        if fitted is None:
            unfit.append(name)
            continue
        change, lost = fitted
        reduced += given.form == "lora" and given.rank > own.rank
        taken.append((given.norm(), lost))
        state |= {f"{name}.{key}": value for key, value in change.tensors.items()}
    if not taken:
        raise UsageError(f"{path}: {_why_nothing(found, unfit)}", "Name another file, or leave adapter.start_from empty.")
    adapter.load_state(state)
    whole = math.sqrt(sum(norm**2 for norm, _ in taken))
    lost_share = math.sqrt(sum(lost**2 for _, lost in taken)) / whole if whole else 0.0
    told = {name for names in found.unread.values() for name in names}
    unmatched = tuple(name for name in found.others if name not in told)
    return Started(len(taken), tuple(untouched), unmatched, tuple(unfit), reduced, lost_share)


def fit(given: WeightDelta, own: WeightDelta) -> tuple[WeightDelta, float] | None:
    """`given` in the shapes and with the scale of `own`, and the norm lost by that; None if it cannot fit."""
    if given.form != own.form or given.dora != own.dora:
        return None
    if given.form != "lora":
        same = {n: t.shape for n, t in given.tensors.items()} == {n: t.shape for n, t in own.tensors.items()}
        return (_rescaled(given, own), 0.0) if same else None
    given = _with_kernel_of(given, own)
    if any(given.tensors[n].shape[axis:] != own.tensors[n].shape[axis:] for n, axis in (("lora_A", 1), ("lora_B", 2))):
        return None
    if given.tensors["lora_B"].shape[0] != own.tensors["lora_B"].shape[0]:
        return None
    given, lost = reduce_rank(given, own.rank) if given.rank > own.rank else (given, 0.0)
    factor = given.scale / own.scale
    down, up = own.tensors["lora_A"].clone(), torch.zeros_like(own.tensors["lora_B"])
    down[: given.rank] = given.tensors["lora_A"]
    # The new ranks keep their random A: with zeros on both sides they would never get a gradient.
    up[:, : given.rank] = given.tensors["lora_B"] * factor
    return WeightDelta({**given.tensors, "lora_A": down, "lora_B": up}, own.scale), lost


def _with_kernel_of(given: WeightDelta, own: WeightDelta) -> WeightDelta:
    """A LoRA of a Linear for a convolution of 1 × 1 pixels, or the reverse: they compute the same."""
    tensors = dict(given.tensors)
    for name in ("lora_A", "lora_B"):
        value, wanted = tensors[name], own.tensors[name].dim()
        if value.dim() == 4 and wanted == 2 and value.shape[2:] == (1, 1):
            tensors[name] = value[:, :, 0, 0]
        elif value.dim() == 2 and wanted == 4 and own.tensors[name].shape[2:] == (1, 1):
            tensors[name] = value[:, :, None, None]
    return replace(given, tensors=tensors)


def reduce_rank(given: WeightDelta, rank: int) -> tuple[WeightDelta, float]:
    """The nearest LoRA of a lower rank (Eckart and Young, 1936), and the norm of what is lost.

    ΔW itself is never made: with B = Q₁R₁ and Aᵀ = Q₂R₂ the singular values are those of the small R₁R₂ᵀ.
    """
    down, up = given.tensors["lora_A"], given.tensors["lora_B"]
    q1, r1 = torch.linalg.qr(up.flatten(1).double())
    q2, r2 = torch.linalg.qr(down.flatten(1).double().T)
    u, values, vt = torch.linalg.svd(given.scale * r1 @ r2.T)
    root = values[:rank].sqrt()
    new_up: Tensor = (q1 @ u[:, :rank]) * root
    new_down: Tensor = root[:, None] * (vt[:rank] @ q2.T)
    tensors = {
        **given.tensors,
        "lora_A": new_down.float().reshape(rank, *down.shape[1:]),
        "lora_B": new_up.float().reshape(up.shape[0], rank, *up.shape[2:]),
    }
    return WeightDelta(tensors, 1.0), float(values[rank:].norm())


def _why_nothing(found: FoundLora, unfit: list[str]) -> str:
    if unfit:
        return f"its layers are of another kind or shape than those trained here, such as {unfit[0]}."
    first = f", such as {found.others[0]}" if found.others else ""
    return f"none of its {count(len(found.others), 'tensor')} belongs to a layer that is trained here{first}."
