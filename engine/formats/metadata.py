"""The metadata of a LoRA file: an allow-list, so that no path, caption or name of the machine ever travels with it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from loratui.engine import families
from loratui.engine.families.lora import LoraLayout
from loratui.presets.schema import LYCORIS, Adapter, Family, Settings

ALLOWED = frozenset(
    {
        "format", "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha",
        "ss_network_args", "ss_output_name", "ss_resolution", "ss_clip_skip", "ss_seed", "ss_learning_rate", "ss_unet_lr",
        "ss_text_encoder_lr", "ss_optimizer", "ss_lr_scheduler", "ss_steps", "ss_epoch", "ss_num_epochs",
        "ss_num_train_images", "ss_batch_size_per_device", "ss_gradient_accumulation_steps", "ss_mixed_precision",
        "ss_noise_offset", "ss_min_snr_gamma", "sshs_model_hash", "sshs_legacy_hash", "modelspec.sai_model_spec",
        "modelspec.architecture", "modelspec.implementation", "modelspec.title", "modelspec.resolution",
        "modelspec.prediction_type", "modelspec.trigger_phrase", "modelspec.usage_hint", "modelspec.hash_sha256",
        "loratui_memory_plan", "loratui_base_format", "loratui_starts_from",
    }
)  # fmt: skip
"""Every key that a file may carry. `ss_dataset_dirs` and `ss_tag_frequency` are left out on purpose: they hold folder names and captions."""

DORA_HINT = "DoRA: for diffusers only; other programs read the magnitudes in another way or not at all"


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """What a LoRA file tells about itself."""

    settings: Settings
    title: str
    layout: LoraLayout
    prediction: str
    """epsilon or v; anything else is not written."""
    step: int
    epoch: int
    epochs: int
    images: int
    optimizer: str
    precision: str
    """Number format of the base while it was trained on."""
    memory_plan: str = ""
    """`MemoryPlan.name` of the last steps; empty where it was not recorded."""
    base_format: str = ""
    """What the base's large layers were kept in: full, fp8, int8 or nf4."""
    starts_from: str = ""
    """What the training began from, by its hash; empty for a new LoRA."""


MIXED_PRECISION = {"float16": "fp16", "bfloat16": "bf16", "float32": "no"}
"""Number format of the base -> kohya's word."""


def build_metadata(facts: LoraFacts) -> dict[str, str]:
    """Metadata in the `ss_*` names that kohya's tools read and the `modelspec` 1.0.1 names, all values as text.

    The hashes are missing: they are of the tensors (see `training.lora_file`).
    """
    settings, adapter = facts.settings, facts.settings.adapter
    lora = families.family(settings.base.family).lora
    rate, resolution = settings.optimizer.learning_rate, settings.dataset.resolution
    table = {
        "format": "pt",
        "ss_v2": "False",
        "ss_base_model_version": lora.base_version,
        "ss_network_module": network_module(adapter, settings.base.family),
        "ss_network_dim": str(adapter.rank),
        "ss_network_alpha": f"{adapter.effective_alpha:g}",
        "ss_network_args": json.dumps(network_args(adapter)),
        "ss_output_name": facts.title,
        "ss_resolution": f"({resolution}, {resolution})",
        "ss_clip_skip": str(settings.base.clip_skip),
        "ss_seed": str(settings.training.seed),
        "ss_learning_rate": f"{rate:g}",
        "ss_unet_lr": f"{rate:g}",
        "ss_optimizer": facts.optimizer,
        "ss_lr_scheduler": settings.optimizer.scheduler,
        "ss_steps": str(facts.step),
        "ss_epoch": str(facts.epoch),
        "ss_num_epochs": str(facts.epochs),
        "ss_num_train_images": str(facts.images),
        "ss_batch_size_per_device": str(settings.training.batch_size),
        "ss_gradient_accumulation_steps": str(settings.training.accumulation),
        "ss_mixed_precision": MIXED_PRECISION.get(facts.precision, facts.precision),
        "ss_noise_offset": f"{settings.training.noise_offset:g}",
        "ss_min_snr_gamma": f"{settings.training.min_snr_gamma:g}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": lora.architecture,
        "modelspec.implementation": lora.implementation,
        "modelspec.title": facts.title,
        "modelspec.resolution": f"{resolution}x{resolution}",
    }
    if settings.training.train_text_encoder:
        table["ss_text_encoder_lr"] = f"{settings.optimizer.text_encoder_learning_rate or rate:g}"
    if facts.memory_plan:
        table["loratui_memory_plan"], table["loratui_base_format"] = facts.memory_plan, facts.base_format
    if facts.starts_from:
        table["loratui_starts_from"] = facts.starts_from
    if facts.prediction in ("epsilon", "v"):
        table["modelspec.prediction_type"] = facts.prediction
    if settings.dataset.trigger and settings.output.trigger_in_metadata:
        table["modelspec.trigger_phrase"] = settings.dataset.trigger
    if adapter.dora:
        table["modelspec.usage_hint"] = DORA_HINT
    assert table.keys() <= ALLOWED
    return table


def network_module(adapter: Adapter, family: Family) -> str:
    """The name of the module of kohya's scripts that reads such a network."""
    if adapter.kind in LYCORIS:
        return "lycoris.kohya"
    return families.family(family).lora.network_module


def network_args(adapter: Adapter) -> dict[str, str]:
    """What that module is told besides rank and alpha, in its own words."""
    args: dict[str, str] = {}
    if adapter.kind in LYCORIS:
        args["algo"] = adapter.kind
    if adapter.kind == "lokr":
        args |= {"factor": str(adapter.factor), "decompose_both": str(adapter.decompose_both)}
    if adapter.targets.endswith("+conv"):
        args["conv_dim"] = str(adapter.conv_rank or adapter.rank)
    if adapter.rank_stabilised:
        args["rs_lora"] = "True"
    return args


def default_layout(settings: Settings) -> LoraLayout:
    """The names in which a file opens in most programs: the family's usual ones, but PEFT's for DoRA, which only diffusers reads,
    and kohya's, which LyCORIS has too, for LoHa and LoKr."""
    if settings.output.format != "auto":
        return settings.output.format
    return usual_layout(settings.base.family, settings.adapter)


def usual_layout(family: Family, adapter: Adapter) -> LoraLayout:
    """The same where a person has chosen nothing."""
    if adapter.dora:
        return "peft"
    return "kohya" if adapter.kind in LYCORIS else families.family(family).lora.layout
