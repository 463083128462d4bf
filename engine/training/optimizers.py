"""Optimizers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.presets.schema import OptimizerSection, Scheduler

TRAINABLE = ("auto", "adamw", "adamw8bit")


def learning_rate_factor(step: int, total: int, *, scheduler: Scheduler, warmup_steps: int, cycles: int = 1) -> float:
    """Factor on the learning rate for optimizer step `step` (from 0) of `total`.

    It rises linearly over `warmup_steps`, the first step already having a rate above 0, then follows the schedule, whose
    last step is above 0 too: a step with rate 0 would be paid for and do nothing.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if scheduler == "constant":
        return 1.0
    begun, length = step - warmup_steps, max(1, total - warmup_steps)
    done = begun / length
    if scheduler == "linear":
        return 1.0 - done
    if scheduler == "polynomial":
        return (1.0 - done) ** 2
    if scheduler == "cosine_with_restarts":
        done = (begun * cycles % length) / length  # in whole numbers: a rounding error would end a cycle at rate 0
    return 0.5 * (1.0 + math.cos(math.pi * done))


def warmup_steps(settings: OptimizerSection, total: int) -> int:
    """Optimizer steps of the warm-up, fewer than `total`."""
    return min(round(settings.warmup * total), max(0, total - 1))


def resolve_name(name: str, device: torch.device) -> str:
    """The optimizer that `auto` means here: AdamW8bit on a GPU, AdamW on a CPU, where bitsandbytes has no advantage."""
    if name == "auto":
        return "adamw8bit" if device.type == "cuda" else "adamw"
    return name


def build_optimizer(
    settings: OptimizerSection, parameters: Mapping[str, nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over `parameters`, whose order must be the same at each start. Raises `UsageError` for one that is not built in."""
    name = resolve_name(settings.name, device)
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        "weight_decay": settings.weight_decay,
    }
    if name == "adamw":
        return torch.optim.AdamW(list(parameters.values()), **options)
    if name == "adamw8bit":
        if device.type != "cuda":
            raise UsageError("optimizer.name adamw8bit: needs an NVIDIA GPU.", "Choose adamw or auto.")
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise UsageError(
                "optimizer.name adamw8bit: bitsandbytes is not installed.", "Install it, or choose adamw."
            ) from error
        optimizer: torch.optim.Optimizer = AdamW8bit(list(parameters.values()), **options)
        return optimizer
    raise UsageError(f"optimizer.name {name}: this version trains with {', '.join(TRAINABLE)}.")


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> tuple[dict[str, Tensor], str]:
    """The optimizer's state as (tensors by `<parameter>|<key>`, JSON of all else), free of pickle.

    States are kept by parameter name, not by position, so that they can never be given to another tensor.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    packed = optimizer.state_dict()
    for index, entries in packed["state"].items():
        for key, value in _flat(entries):
            if isinstance(value, Tensor):
                tensors[f"{names[int(index)]}|{key}"] = value.detach().to("cpu", copy=True).contiguous()
            else:
                plain[f"{names[int(index)]}|{key}"] = value
    groups = [{k: v for k, v in group.items() if k != "params"} for group in packed["param_groups"]]
    return tensors, json.dumps({"state": plain, "groups": groups})


def load_optimizer_state(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor], plain: str) -> None:
    """Gives back what `optimizer_state` took. Raises `UsageError` if it belongs to other parameters."""
    stored = json.loads(plain)
    index = {name: i for i, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for full, value in [*tensors.items(), *stored["state"].items()]:
        name, *path = full.split("|")
        if name not in index:
            raise UsageError(f"The checkpoint's optimizer belongs to other layers: {name}.", "Start a new run.")
        place = state.setdefault(index[name], {})
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    packed = optimizer.state_dict()
    groups = [
        {**group, **saved, "params": group["params"]}
        for group, saved in zip(packed["param_groups"], stored["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _flat(entries: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested entries, each with its path; bitsandbytes keeps its 8-bit state one level further down."""
    for key, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}|")
        else:
            yield f"{above}{key}", value
