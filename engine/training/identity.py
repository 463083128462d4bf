"""What a checkpoint and a run must have in common for a resume, and what may differ at a price."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from loratui.engine.errors import UsageError
from loratui.engine.planning.lora_size import size_of
from loratui.engine.planning.optimizer_choice import chosen_optimizer
from loratui.engine.planning.precision import TORCH_NAMES
from loratui.engine.runs.identity import OTHERS, SECTIONS, differing_settings, in_words, then_and_now
from loratui.engine.training.setup import Job
from loratui.presets.schema import to_table


def identity_of(job: Job, used: str = "") -> dict[str, Any]:
    """The identity of a run as it is trained here, for `state.json` of a checkpoint. `used` is the optimizer that it began with."""
    table = to_table(job.settings)
    return {
        **{section: table[section] for section in SECTIONS},
        OTHERS: {section: values for section, values in table.items() if section not in SECTIONS},
        "images": job.ledger.identity,
        "optimizer_used": chosen_optimizer(
            job.settings.optimizer.name, size_of(job.settings).parameters, on_gpu=job.device.type != "cpu", used=used
        ),
        "memory_plan": job.memory_plan.name,
        "made_with": {
            "device": job.device.type if job.device.type == "cpu" else torch.cuda.get_device_name(job.device),
            "processes": job.world.size,
            "number format": TORCH_NAMES[job.memory_plan.precision],
            "base format": job.memory_plan.base,
            "compile": job.memory_plan.compile,
            "LoRA's products": "within the base's" if job.memory_plan.appends else "of their own",
            "torch": torch.__version__,
            "loratui": version("loratui"),
        },
    }


def check_identity(stored: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raises `UsageError` that names every setting in which a checkpoint differs from the run, with both values."""
    told = then_and_now(stored, own, differing_settings(stored, own))
    if own["images"] != stored.get("images", stored.get("pictures")):
        told.append("the images (dataset.json)")
    if told:
        raise UsageError(
            f"The checkpoint was made with other settings: {', '.join(told)}.", "Restore them, or start a new run."
        )
    if own["optimizer_used"] != stored.get("optimizer_used"):
        raise UsageError(
            f"The checkpoint was made by {stored.get('optimizer_used')}, which optimizer.name auto meant there, "
            f"and here it means {own['optimizer_used']}.",
            "Resume on a machine of the same kind, or start a new run.",
        )


def surroundings_differ(stored: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """The differences in machine and programs that will change the numbers, in words; empty without any."""
    then, now = stored.get("made_with", {}), own["made_with"]
    return ", ".join(in_words(name, then[name], now[name]) for name in now if then.get(name, now[name]) != now[name])
