"""Reads a base in a diffusers folder: which parts it has, in which files, and what its scheduler says of the prediction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loratui.engine import families, untrusted
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.safetensors_file import Tables, may_hold_tensors, read_tables, shown
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.untrusted import read_small
from loratui.engine.words import count

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""Endings of weights that can run code when they are read."""


TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model")
"""Any of these makes a folder a tokenizer's."""

_MOST_TIMESTEPS = 10_000
_AGAIN = "Download the model again; what is there already is kept."
_POINTER = b"version https://git-lfs"

_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[\w-]+?))?\.safetensors")
_INDEX = re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>[\w-]+))?\.json")
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


@dataclass(frozen=True)
class FolderWeights:
    """The weights of one part."""

    tables: Tables
    variant: str


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where the file is not there. Raises `BaseRefused` for one that cannot be read."""
    try:
        value = untrusted.read_json(path, MODEL_JSON_BYTES)
    except untrusted.Gone:
        return {}
    except untrusted.Unreadable:
        raise BaseRefused("base_damaged", f"{path}: this file cannot be read.", "Download it again.") from None
    if not isinstance(value, dict):
        raise BaseRefused("base_damaged", f"{path}: this is no table of settings.", "Download it again.")
    return value


def read_weights(folder: Path) -> FolderWeights | None:
    """The weights in a part's folder, those without a variant first, then fp16; None where there are none.

    Raises `BaseRefused` where there are only pickles or no settings, and `UsageError` for files that are damaged or cut off.
    """
    found: dict[str, Path] = {}
    for pattern in (_WEIGHTS, _INDEX):
        for path in sorted(folder.glob("*")):
            match = pattern.fullmatch(path.name)
            if match and not _SHARD.search(path.name):
                found.setdefault(match["variant"] or "", path)
    if found:
        variant = min(found, key=lambda name: (not found[name].exists(), name != "", name != "fp16", name))
        if not found[variant].exists():
            message = f"{found[variant]}: this is a link to a file that is gone."
            raise BaseRefused("base_incomplete", message, _AGAIN)
        require_file(folder, "config.json")
        return FolderWeights(read_tables(found[variant]), variant)
    pickles = [path for path in sorted(folder.glob("*")) if path.suffix in PICKLES]
    renamed = next((path for path in pickles if may_hold_tensors(path)), None)
    if renamed is not None:
        message = f"{renamed}: its content is that of a .safetensors file, and nothing in this folder is called so."
        raise BaseRefused("base_format", message, f"Rename it: mv {renamed.name} {renamed.stem}.safetensors")
    if pickles:
        message = f"{pickles[0]}: a {pickles[0].suffix} file can run code when it is opened, so it is not read."
        raise BaseRefused("base_format", message, "Get the same model with .safetensors files.")
    shards = [path for path in folder.glob("*.safetensors") if _SHARD.search(path.name)]
    if shards:
        message = f"{folder}: the index of its {count(len(shards), 'file')} is missing."
        raise BaseRefused("base_damaged", message, _AGAIN)
    return None


def require_file(folder: Path, name: str) -> None:
    """Raises `BaseRefused` for a part without its settings, of which loading would say so only after a start."""
    if not (folder / name).is_file():
        raise BaseRefused("base_incomplete", f"{folder}: its {name} is missing.", _AGAIN)


def is_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files, and not only what git keeps in their place."""
    return any(_holds_something(folder / name) for name in TOKENIZER_FILES)


def _holds_something(path: Path) -> bool:
    try:
        return read_small(path, len(_POINTER)) not in (b"", _POINTER)
    except OSError:
        return False


def class_of(folder: Path) -> str:
    """The class that a folder says it is of: a pipeline's, or that of one part; empty where it says none."""
    index = read_json(folder / "model_index.json")
    config = index or read_json(folder / "config.json")
    architectures = config.get("architectures")
    name = config.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else "")
    return name if isinstance(name, str) else ""


def refuse_pipeline(folder: Path) -> None:
    """Raises `BaseRefused` for a pipeline of another kind; a folder that names none is judged by its parts alone."""
    name = class_of(folder)
    if not name and not (folder / "model_index.json").exists():
        return
    for spec in families.FAMILIES:
        if name in spec.other_pipelines:
            title, code = spec.other_pipelines[name]
            remedy = "Choose the ordinary text-to-image version of the same model."
            raise BaseRefused(code, f"{folder}: this is {title}.", remedy)
    if not any(name in spec.pipelines for spec in families.FAMILIES):
        message = f"{folder}: this is a model for {name or 'an unnamed pipeline'}, which cannot be trained here."
        raise BaseRefused("base_other_family", message, f"Choose a model of {families.choices()}.")


def prediction_of(folder: Path) -> tuple[Literal["epsilon", "v"], bool]:
    """`epsilon` or `v`, and whether the schedule ends at zero SNR, by the folder's scheduler.

    Raises `BaseRefused` for any other prediction.
    """
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    if str(config.get("_class_name", "")).startswith("EDM"):
        raise BaseRefused("base_other_schedule", f"{folder}: this model has an EDM schedule, which cannot be trained here.")
    stored = config.get("prediction_type", "epsilon")
    known: dict[str, Literal["epsilon", "v"]] = {"epsilon": "epsilon", "v_prediction": "v"}
    if not isinstance(stored, str) or stored not in known:
        raise BaseRefused(
            "base_other_schedule", f"{folder}: this model predicts {shown(str(stored))}, which cannot be trained here."
        )
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= _MOST_TIMESTEPS:
        message = f"{folder}: its schedule has {shown(str(steps))} timesteps, where others have 1000."
        raise BaseRefused("base_other_schedule", message, _AGAIN)
    return known[stored], bool(config.get("rescale_betas_zero_snr", False))


def refuse_config(folder: Path) -> None:
    """Raises `BaseRefused` for a part whose own configuration says that it is quantised."""
    if read_json(folder / "config.json").get("quantization_config"):
        message = f"{folder}: its weights are quantised, which is for generating only."
        raise BaseRefused("base_quantised", message, "Choose the same model with fp16 or bf16 weights.")
