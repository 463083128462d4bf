"""The metadata of a LoRA file: an allow-list, so that no path, caption or name of the machine ever travels with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

ALLOWED = frozenset(
    {
        "format",
        "ss_v2",
        "ss_base_model_version",
        "ss_network_module",
        "ss_network_dim",
        "ss_network_alpha",
        "ss_network_args",
        "ss_resolution",
        "ss_clip_skip",
        "ss_seed",
        "ss_learning_rate",
        "ss_optimizer",
        "ss_lr_scheduler",
        "ss_steps",
        "ss_epoch",
        "ss_num_epochs",
        "ss_num_train_images",
        "ss_batch_size_per_device",
        "ss_gradient_accumulation_steps",
        "ss_mixed_precision",
        "ss_noise_offset",
        "ss_min_snr_gamma",
        "modelspec.sai_model_spec",
        "modelspec.architecture",
        "modelspec.implementation",
        "modelspec.title",
        "modelspec.resolution",
        "modelspec.prediction_type",
        "modelspec.trigger_phrase",
    }
)
"""Every key that a file may carry. `ss_dataset_dirs` and `ss_tag_frequency` are left out on purpose: they hold folder names and captions."""


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """What a LoRA file tells about itself."""

    title: str
    architecture: str
    """modelspec architecture, such as `stable-diffusion-v1/lora`."""
    base_version: str
    """`ss_base_model_version`; tools that sort LoRAs by base model read it."""
    implementation: str
    prediction: str
    network_args: Mapping[str, str]
    rank: int
    alpha: float
    resolution: int
    clip_skip: int
    seed: int
    learning_rate: float
    optimizer: str
    scheduler: str
    step: int
    epoch: int
    epochs: int
    images: int
    batch_size: int
    accumulation: int
    precision: str
    noise_offset: float
    min_snr_gamma: float
    trigger: str
    """Empty: not written."""


def build_metadata(facts: LoraFacts) -> dict[str, str]:
    """Metadata in the `ss_*` names that kohya's tools read and the `modelspec` 1.0.1 names, all values as text."""
    side = f"{facts.resolution}x{facts.resolution}"
    table = {
        "format": "pt",
        "ss_v2": "False",
        "ss_base_model_version": facts.base_version,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(facts.rank),
        "ss_network_alpha": f"{facts.alpha:g}",
        "ss_network_args": json.dumps(dict(facts.network_args)),
        "ss_resolution": f"({facts.resolution}, {facts.resolution})",
        "ss_clip_skip": str(facts.clip_skip),
        "ss_seed": str(facts.seed),
        "ss_learning_rate": f"{facts.learning_rate:g}",
        "ss_optimizer": facts.optimizer,
        "ss_lr_scheduler": facts.scheduler,
        "ss_steps": str(facts.step),
        "ss_epoch": str(facts.epoch),
        "ss_num_epochs": str(facts.epochs),
        "ss_num_train_images": str(facts.images),
        "ss_batch_size_per_device": str(facts.batch_size),
        "ss_gradient_accumulation_steps": str(facts.accumulation),
        "ss_mixed_precision": facts.precision,
        "ss_noise_offset": f"{facts.noise_offset:g}",
        "ss_min_snr_gamma": f"{facts.min_snr_gamma:g}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": facts.architecture,
        "modelspec.implementation": facts.implementation,
        "modelspec.title": facts.title,
        "modelspec.resolution": side,
        "modelspec.prediction_type": facts.prediction,
    }
    if facts.trigger:
        table["modelspec.trigger_phrase"] = facts.trigger
    assert table.keys() <= ALLOWED
    return table
