"""The weights that leave a run, and the only way they become a LoRA file.

They are the run's moving average where it keeps one, else the average of a schedule-free optimizer, else the trained weights.
`EMA.shipped` has them during the run; a checkpoint keeps them beside the trained weights where they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loratui.engine.families.lora import LoraLayout
from loratui.engine.formats.layers import Part, part_of
from loratui.engine.formats.metadata import LoraFacts
from loratui.engine.planning.targets import rank_and_alpha
from loratui.engine.runs.checkpoint_files import BadCheckpointError
from loratui.engine.runs.lineage import lineage_of
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.flat_parameters import taken_apart
from loratui.engine.training.lora_file.layouts import Changes
from loratui.engine.training.lora_file.write import Written, write_lora_file
from loratui.engine.training.setup import Job
from loratui.engine.untrusted import parse_json
from loratui.presets.schema import Settings


@dataclass(frozen=True)
class Shipped:
    """The LoRA of one step as it is used outside the training."""

    changes: Changes
    step: int
    epoch: int
    prediction: str
    """What the base predicts; empty where it was not recorded."""
    precision: str
    """Number format of the base while it was trained on."""
    optimizer: str
    memory_plan: str = ""
    """As in `LoraFacts`."""
    base_format: str = ""


def shipped_of(weights: Mapping[str, Tensor], at: TrainProgress, identity: Mapping[str, Any], settings: Settings) -> Shipped:
    """The LoRA of these `weights` of a run with this `identity` (see `training.identity`). Raises `ValueError` for unknown names."""
    grouped: dict[tuple[Part, str], dict[str, Tensor]] = {}
    for name, value in weights.items():
        part = part_of(name)
        path, _, tensor = name.removeprefix(f"{part}.").rpartition(".")
        grouped.setdefault((part, path), {})[tensor] = value
    changes = {}
    for (part, path), tensors in grouped.items():
        rank, alpha = rank_and_alpha(settings.adapter, path)
        changes[part, path] = WeightDelta(tensors, alpha / rank)
    return Shipped(
        changes,
        at.step,
        at.last_epoch,
        prediction=str(identity.get("prediction", "")),
        precision=str(identity.get("made_with", {}).get("number format", "")),
        optimizer=str(identity.get("optimizer_used", settings.optimizer.name)),
        memory_plan=str(identity.get("memory_plan", "")),
        base_format=str(identity.get("made_with", {}).get("base format", "")),
    )


def shipped_in(checkpoint: Checkpoint, settings: Settings) -> Shipped:
    """The LoRA that a checkpoint holds. Raises `BadCheckpointError` where an older loratui left out what is needed."""
    step = f"step-{checkpoint.position.step:06d}"
    try:
        weights = checkpoint.shipped or _schedule_free_average(checkpoint) or checkpoint.adapter
    except ValueError:
        raise BadCheckpointError(
            f"{step} was made by an older loratui, which kept only the trained weights of a schedule-free optimizer, not its average"
        ) from None
    try:
        return shipped_of(weights, checkpoint.position, checkpoint.identity, settings)
    except ValueError as error:
        raise BadCheckpointError(f"{step} was made by an older loratui") from error


def write_shipped(path: Path, shipped: Shipped, job: Job, *, title: str, layout: LoraLayout, dtype: str) -> Written:
    """Writes the LoRA file, reads it back, and returns its size and strength. Raises as `write_lora_file`."""
    began = lineage_of(job.run)
    facts = LoraFacts(
        settings=job.settings,
        title=title,
        layout=layout,
        prediction=shipped.prediction,
        step=shipped.step,
        epoch=shipped.epoch,
        epochs=job.settings.schedule.epochs,
        images=job.trained_images,
        optimizer=shipped.optimizer,
        precision=shipped.precision,
        memory_plan=shipped.memory_plan,
        base_format=shipped.base_format,
        starts_from=began.told_in_files if began else "",
    )
    return write_lora_file(path, shipped.changes, facts, dtype)


def _schedule_free_average(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """x = y + (1 − 1/β₁)(z − y), from the trained y and the optimizer's z, as `ScheduleFreeAdamW.eval` has it (Defazio et al.,
    "The Road Less Scheduled", 2024); empty for other optimizers. Raises `ValueError` where z cannot be found."""
    groups = parse_json(checkpoint.optimizer_plain, not_finite=True)["groups"]
    found = {key.removesuffix("|z"): value for key, value in checkpoint.optimizer.items() if key.endswith("|z")}
    if not found or "train_mode" not in groups[0]:
        return {}
    if found.keys() != checkpoint.adapter.keys():  # one long tensor for each part
        whole, found = found, {}
        for part, flat in whole.items():
            own = {name: value for name, value in checkpoint.adapter.items() if name.startswith(f"{part}.")}
            found |= taken_apart(flat, own)
    beta1 = float(groups[0]["betas"][0])
    return {name: torch.lerp(y, found[name], 1.0 - 1.0 / beta1) for name, y in checkpoint.adapter.items()}
