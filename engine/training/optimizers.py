"""Optimizers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.planning.family_rules import ONE_RATE
from loratui.engine.training.ema import start_schedule_free
from loratui.engine.training.flat_parameters import SMALL
from loratui.engine.untrusted import parse_json
from loratui.presets.schema import OptimizerSection, Scheduler

TEXT_PART = "text_encoder"
"""How the names of the text encoders' parameters begin; the denoiser's begin otherwise."""

GROUP = "group"
"""Where the name of a parameter stands, for tensors that an optimizer keeps for a whole group."""

USUAL_BETA2, LION_BETA2 = 0.999, 0.99
"""Lion's second beta is of its momentum, not of a variance: with Adam's it hardly moves from its first gradients
(Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023)."""

Groups = list[dict[str, Any]]


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
    """The optimizer over `parameters`, whose order must be the same at each start, the text encoders' behind all others.

    The text encoders' parameters, whose names begin with `text_encoder`, get a learning rate of their own.
    Raises `UsageError` for an optimizer that cannot work here.
    """
    name = resolve_name(settings.name, device)
    text_rate = settings.text_encoder_learning_rate or settings.learning_rate
    denoiser = [value for path, value in parameters.items() if not path.startswith(TEXT_PART)]
    text = [value for path, value in parameters.items() if path.startswith(TEXT_PART)]
    # States are kept by name, and torch numbers the parameters group by group.
    assert all(a is b for a, b in zip([*denoiser, *text], parameters.values(), strict=True))
    rates = [(denoiser, settings.learning_rate), (text, text_rate)]
    groups = [{"params": values, "lr": rate, "base_lr": rate} for values, rate in rates if values]
    if name in ONE_RATE and len({group["base_lr"] for group in groups}) > 1:
        raise UsageError(
            f"optimizer.name {name}: it finds one rate for all parts, and the text encoder is given another.",
            "Set optimizer.text_encoder_learning_rate to the same as optimizer.learning_rate.",
        )
    optimizer = _MAKERS[name](groups, settings, device)
    if name == "adamw8bit":
        _keep_in_fp32([value for path, value in parameters.items() if path.endswith(SMALL)])
    start_schedule_free(optimizer)
    return optimizer


def _adamw(groups: Groups, settings: OptimizerSection, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups, betas=_betas(settings), weight_decay=settings.weight_decay, fused=True if device.type == "cuda" else None
    )


def _adamw8bit(groups: Groups, settings: OptimizerSection, device: torch.device) -> torch.optim.Optimizer:
    if device.type != "cuda":
        raise UsageError("optimizer.name adamw8bit: needs an NVIDIA GPU.", "Choose adamw or auto.")
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UsageError("optimizer.name adamw8bit: bitsandbytes is not installed.", "Install it, or choose adamw.") from error
    optimizer: torch.optim.Optimizer = AdamW8bit(groups, betas=_betas(settings), weight_decay=settings.weight_decay)
    return optimizer


def _keep_in_fp32(parameters: list[nn.Parameter]) -> None:
    """Has bitsandbytes keep the state of these in fp32, however many values they have."""
    from bitsandbytes.optim import GlobalOptimManager

    GlobalOptimManager.get_instance().override_config(parameters, "optim_bits", 32)


def _adafactor(groups: Groups, settings: OptimizerSection, _: torch.device) -> torch.optim.Optimizer:
    # Torch's own makes every step relative to the tensor's size, and a LoRA's second factor has none at first: it stands still.
    from transformers.optimization import Adafactor

    optimizer: torch.optim.Optimizer = Adafactor(
        groups, scale_parameter=False, relative_step=False, warmup_init=False, weight_decay=settings.weight_decay
    )
    return optimizer


def _prodigy(groups: Groups, settings: OptimizerSection, _: torch.device) -> torch.optim.Optimizer:
    from pytorch_optimizer import Prodigy

    return Prodigy(
        groups,
        betas=_betas(settings),
        weight_decay=settings.weight_decay,
        d_coef=settings.d_coef,
        bias_correction=True,
        # The rate of a warm-up must not be mistaken for the distance travelled.
        safeguard_warmup=settings.warmup > 0,
    )


def _dadapt_adam(groups: Groups, settings: OptimizerSection, _: torch.device) -> torch.optim.Optimizer:
    from pytorch_optimizer import DAdaptAdam

    return DAdaptAdam(groups, betas=_betas(settings), weight_decay=settings.weight_decay, weight_decouple=True)


def _lion(groups: Groups, settings: OptimizerSection, _: torch.device) -> torch.optim.Optimizer:
    from pytorch_optimizer import Lion

    return Lion(groups, betas=_betas(settings), weight_decay=settings.weight_decay)


def _adamw_schedule_free(groups: Groups, settings: OptimizerSection, _: torch.device) -> torch.optim.Optimizer:
    from pytorch_optimizer import ScheduleFreeAdamW

    return ScheduleFreeAdamW(groups, betas=_betas(settings), weight_decay=settings.weight_decay)


_MAKERS: Mapping[str, Callable[[Groups, OptimizerSection, torch.device], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "adafactor": _adafactor,
    "prodigy": _prodigy,
    "dadapt_adam": _dadapt_adam,
    "lion": _lion,
    "adamw_schedule_free": _adamw_schedule_free,
}


def _betas(settings: OptimizerSection) -> tuple[float, float]:
    return settings.beta1, settings.beta2 or (LION_BETA2 if settings.name == "lion" else USUAL_BETA2)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group to `factor` times its own rate; returns the denoiser's rate as it now works.

    An adaptive optimizer multiplies it with the distance d that it has estimated.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    first = optimizer.param_groups[0]
    return float(first["lr"] * first.get("d", 1.0))


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
    groups: list[dict[str, Any]] = []
    for number, group in enumerate(packed["param_groups"]):
        groups.append({})
        for key, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"{GROUP}|{number}|{key}"] = value.detach().to("cpu", copy=True).contiguous()
            elif key != "params":
                groups[-1][key] = value
    return tensors, json.dumps({"state": plain, "groups": groups})


def load_optimizer_state(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor], plain: str) -> None:
    """Gives back what `optimizer_state` took. Raises `UsageError` if it belongs to other parameters."""
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
        {**group, **saved, "params": group["params"]} for group, saved in zip(packed["param_groups"], groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": merged})


def _flat(entries: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested entries, each with its path; bitsandbytes keeps its 8-bit state one level further down."""
    for key, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}|")
        else:
            yield f"{above}{key}", value
