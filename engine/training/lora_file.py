"""The LoRA file that other programs open: written, opened again and checked; and read back onto a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from loratui.engine.errors import DiskError, NotFiniteError, UsageError
from loratui.engine.formats.metadata import LoraFacts, build_metadata
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.runs.durable import write_file
from loratui.engine.training.adapters import LoraAdapter, LoraModule
from loratui.engine.training.families.base import Family
from loratui.presets.schema import Settings

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
LARGEST_FP16 = 65504.0


def file_tensors(family: Family, adapter: LoraAdapter, state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a LoRA file from an adapter's `state`: A, B and alpha (fp32 scalar) of each module.

    Raises `NotFiniteError` if a value is not finite or too large for `dtype`.
    """
    tensors: dict[str, Tensor] = {}
    for module in adapter.modules:
        names = family.lora_names(module.path)
        for name, key in ((names.down, f"{module.path}.lora_A"), (names.up, f"{module.path}.lora_B")):
            value = state[key]
            finite = bool(torch.isfinite(value).all())
            if not finite or (dtype == torch.float16 and float(value.abs().max()) > LARGEST_FP16):
                raise NotFiniteError(
                    f"The LoRA has values in {module.path} that {'do not fit into fp16' if finite else 'are not finite'}.",
                    "Lower the learning rate; the files saved before are good.",
                )
            tensors[name] = value.to(dtype).contiguous()
        tensors[names.alpha] = torch.tensor(module.file_alpha, dtype=torch.float32)
    return tensors


def effect(modules: list[LoraModule], state: Mapping[str, Tensor]) -> float:
    """Root of the summed squares of scale·B·A over all modules: 0 means that the LoRA changes nothing."""
    total = 0.0
    for module in modules:
        down, up = state[f"{module.path}.lora_A"].flatten(1).double(), state[f"{module.path}.lora_B"].flatten(1).double()
        # ‖BA‖² = tr(AᵀBᵀBA) = Σ (BᵀB)∘(AAᵀ), so the full product is never made.
        total += module.scale**2 * float(((up.T @ up) * (down @ down.T)).sum())
    return math.sqrt(max(total, 0.0))


def write_lora_file(path: Path, tensors: Mapping[str, Tensor], facts: LoraFacts) -> int:
    """Writes a LoRA file in one move, opens it again, and returns its bytes.

    Raises `DiskError`, also if the disk gives back something else than was written.
    """
    data = save(dict(tensors), build_metadata(facts))
    write_file(path, data)
    if path.read_bytes() != data:
        raise DiskError(
            f"{path}: the disk gave back another file than was written.", "Check the volume; the checkpoint is good."
        )
    return len(data)


def facts_of(
    settings: Settings,
    family: Family,
    *,
    title: str,
    step: int,
    epoch: int,
    epochs: int,
    images: int,
    optimizer: str,
    precision: str,
) -> LoraFacts:
    """What goes into the metadata."""
    adapter = settings.adapter
    return LoraFacts(
        title=title,
        architecture=family.file_facts.architecture,
        base_version=family.file_facts.base_version,
        implementation=family.file_facts.implementation,
        prediction=family.prediction,
        network_args={"conv_dim": str(adapter.conv_rank or adapter.rank)} if adapter.targets.endswith("+conv") else {},
        rank=adapter.rank,
        alpha=adapter.effective_alpha,
        resolution=settings.dataset.resolution,
        clip_skip=settings.base.clip_skip,
        seed=settings.training.seed,
        learning_rate=settings.optimizer.learning_rate,
        optimizer=optimizer,
        scheduler=settings.optimizer.scheduler,
        step=step,
        epoch=epoch,
        epochs=epochs,
        images=images,
        batch_size=settings.training.batch_size,
        accumulation=settings.training.accumulation,
        precision=precision,
        noise_offset=settings.training.noise_offset,
        min_snr_gamma=settings.training.min_snr_gamma,
        trigger=settings.dataset.trigger if settings.output.trigger_in_metadata else "",
    )


def read_lora_file(path: Path, family: Family, adapter: LoraAdapter) -> None:
    """Puts the values of a LoRA file onto an adapter of the same layers.

    Raises `UsageError` if the file is damaged or belongs to other layers, a rank or an alpha that the adapter has not.
    """
    read_header(path)
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: the LoRA file cannot be read.") from error
    state: dict[str, Tensor] = {}
    for module in adapter.modules:
        names = family.lora_names(module.path)
        try:
            state[f"{module.path}.lora_A"] = tensors.pop(names.down).float()
            state[f"{module.path}.lora_B"] = tensors.pop(names.up).float()
            alpha = float(tensors.pop(names.alpha))
        except KeyError as error:
            raise UsageError(f"{path}: it has no LoRA for {module.path}.") from error
        if abs(alpha - module.file_alpha) > 1e-3 * max(1.0, module.file_alpha):
            raise UsageError(f"{path}: its alpha for {module.path} is {alpha:g}, expected {module.file_alpha:g}.")
    if tensors:
        raise UsageError(f"{path}: it has layers that this run did not train, such as {sorted(tensors)[0]}.")
    adapter.load_state(state)
