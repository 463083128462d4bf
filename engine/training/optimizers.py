"""Optimizers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.planning.family_rules import ONE_RATE
from loratui.engine.training.flat_parameters import SMALL
from loratui.engine.untrusted import parse_json
from loratui.presets.schema import OptimizerSection, Scheduler

TEXT_PART = "text_encoder"
"""How the names of the text encoders' parameters begin."""

GROUP = "group"
"""In place of a parameter's name, for tensors that an optimizer keeps for a whole group."""

USUAL_BETA2, LION_BETA2 = 0.999, 0.99
"""Lion's second beta is of its momentum, not of a variance: with Adam's it hardly moves from its first gradients
(Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023)."""

Groups = list[dict[str, Any]]

_OF_THE_DEVICE = ("params", "fused", "foreach", "capturable")
"""What of a group belongs to the device that trains, so a checkpoint made on another does not decide it."""


def learning_rate_factor(step: int, total: int, *, scheduler: Scheduler, warmup_steps: int, cycles: int = 1) -> float:
    """Factor on the learning rate for optimizer step `step` (from 0) of `total`.

    It rises linearly over `warmup_steps`, then follows the schedule. The first and the last step have a rate above 0,
    since a step with rate 0 would do nothing.
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


def build_optimizer(
    settings: OptimizerSection, parameters: Mapping[str, nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over `parameters`, whose order must be the same at each start, the text encoders' last.

    The text encoders' parameters, whose names begin with `text_encoder`, get their own learning rate.
    `auto` must be resolved (`planning.optimizer_choice`) where it may mean another than AdamW. Raises `UsageError` for an optimizer
    that cannot work here.
    """
    name = settings.name
    text_rate = settings.text_encoder_learning_rate or settings.learning_rate
    denoiser = [value for path, value in parameters.items() if not path.startswith(TEXT_PART)]
    text = [value for path, value in parameters.items() if path.startswith(TEXT_PART)]
    # States are kept by name, and torch numbers the parameters group by group.
    assert all(a is b for a, b in zip([*denoiser, *text], parameters.values(), strict=True))
    rates = [(denoiser, settings.learning_rate), (text, text_rate)]
    groups = [{"params": values, "lr": rate, "base_lr": rate} for values, rate in rates if values]
    if name in ONE_RATE and len({group["base_lr"] for group in groups}) > 1:
        raise UsageError(
            f"optimizer.name {name}: it finds one rate for all parts, but the text encoder has another.",
            "Set optimizer.text_encoder_learning_rate to the value of optimizer.learning_rate.",
        )
    optimizer: torch.optim.Optimizer = _made(name, groups, settings, device)
    if name == "adamw8bit":
        from bitsandbytes.optim import GlobalOptimManager

        small = [value for path, value in parameters.items() if path.endswith(SMALL)]
        GlobalOptimManager.get_instance().override_config(small, "optim_bits", 32)  # however many values they have
    if "train_mode" in optimizer.param_groups[0]:
        optimizer.train()  # type: ignore[attr-defined]  # schedule-free optimizers have it
    return optimizer


def _made(name: str, groups: Groups, settings: OptimizerSection, device: torch.device) -> Any:
    beta2 = settings.beta2 or (LION_BETA2 if settings.name == "lion" else USUAL_BETA2)
    betas, weight_decay = (settings.beta1, beta2), settings.weight_decay
    if name == "adamw8bit":
        return _adamw8bit(device)(groups, betas=betas, weight_decay=weight_decay)
    if name == "adafactor":
        # Torch's own makes every step relative to the tensor's size, and a LoRA's second factor starts at 0: it would never move.
        from transformers.optimization import Adafactor

        return Adafactor(groups, scale_parameter=False, relative_step=False, warmup_init=False, weight_decay=weight_decay)
    if name == "prodigy":
        from pytorch_optimizer import Prodigy

        # The safeguard keeps the rate of a warm-up from being mistaken for the distance travelled.
        safeguard = settings.warmup > 0
        return Prodigy(
            groups,
            betas=betas,
            weight_decay=weight_decay,
            d_coef=settings.d_coef,
            bias_correction=True,
            safeguard_warmup=safeguard,
        )
    if name == "dadapt_adam":
        from pytorch_optimizer import DAdaptAdam

        return DAdaptAdam(groups, betas=betas, weight_decay=weight_decay, weight_decouple=True)
    if name == "lion":
        from pytorch_optimizer import Lion

        return Lion(groups, betas=betas, weight_decay=weight_decay)
    if name == "adamw_schedule_free":
        from pytorch_optimizer import ScheduleFreeAdamW

        return ScheduleFreeAdamW(groups, betas=betas, weight_decay=weight_decay)
    return torch.optim.AdamW(groups, betas=betas, weight_decay=weight_decay, fused=True if device.type == "cuda" else None)


def _adamw8bit(device: torch.device) -> Any:
    if device.type != "cuda":
        raise UsageError("optimizer.name adamw8bit: needs an NVIDIA GPU.", "Choose adamw or auto.")
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UsageError("optimizer.name adamw8bit: bitsandbytes is not installed.", "Install it, or choose adamw.") from error
    return AdamW8bit


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group to `factor` times its own rate; returns the denoiser's, times an adaptive optimizer's distance d."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    first = optimizer.param_groups[0]
    return float(first["lr"] * first.get("d", 1.0))


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> tuple[dict[str, Tensor], str]:
    """The optimizer's state as (tensors by `<parameter>|<key>`, JSON of all else), free of pickle. The tensors are those in use.

    States are kept by parameter name, not by position, so none can reach another tensor.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    packed = optimizer.state_dict()
    for index, entries in packed["state"].items():
        for key, value in _flat(entries):
            if isinstance(value, Tensor):
                tensors[f"{names[int(index)]}|{key}"] = value.detach()
            else:
                plain[f"{names[int(index)]}|{key}"] = value
    groups: list[dict[str, Any]] = []
    for number, group in enumerate(packed["param_groups"]):
        groups.append({})
        for key, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"{GROUP}|{number}|{key}"] = value.detach()
            elif key != "params":
                groups[-1][key] = value
    return tensors, json.dumps({"state": plain, "groups": groups})


def load_optimizer_state(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor], plain: str) -> None:
    """Restores what `optimizer_state` returned. Raises `UsageError` if it belongs to other parameters."""
    stored = parse_json(plain, not_finite=True)
    groups = stored["groups"]
    if len(groups) != len(optimizer.param_groups):
        raise UsageError("The checkpoint's optimizer belongs to other parts.", "Start a new run.")
    index = {name: i for i, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for full, value in [*tensors.items(), *stored["state"].items()]:
        name, *path = full.split("|")
        if name == GROUP:
            groups[int(path[0])][path[1]] = value
            continue
        if name not in index:
            raise UsageError(f"The checkpoint's optimizer belongs to other layers: {name}.", "Start a new run.")
        place = state.setdefault(index[name], {})
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    packed = optimizer.state_dict()
    merged = [
        {**group, **saved, **{name: group[name] for name in _OF_THE_DEVICE if name in group}}
        for group, saved in zip(packed["param_groups"], groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": merged})


def _flat(entries: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested entries, each with its path; bitsandbytes keeps its 8-bit state one level deeper."""
    for key, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}|")
        else:
            yield f"{above}{key}", value
