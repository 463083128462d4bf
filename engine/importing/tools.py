"""Which trainer a file is of, by what it holds, and which file of a folder to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset import folder_lists
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.importing import (
    ai_toolkit,
    files,
    kohya_gui,
    metadata,
    on_site,
    onetrainer,
    sd_scripts_files,
    simpletuner,
    tables,
)
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.reading import Reading

TOOLS = "kohya_ss, sd-scripts, FluxGym, OneTrainer, ai-toolkit, SimpleTuner, Civitai's on-site trainer, or a LoRA file with metadata"
MOST_FILES = 2_000
_ON_SITE = {
    "unetLR",
    "networkDim",
    "networkAlpha",
    "trainBatchSize",
    "maxTrainEpochs",
    "numRepeats",
    "textEncoderLR",
    "optimizerType",
}
_KOHYA = {
    "LoRA_type",
    "LyCORIS_preset",
    "max_resolution",
    "model_list",
    "stop_text_encoder_training",
    "noise_offset_type",
    "sdxl_no_half_vae",
}


@dataclass(frozen=True)
class Found:
    """A file that is settings of a known trainer."""

    tool: str
    path: Path
    table: Mapping[str, Any]


def find(path: Path) -> Found:
    """The settings in a file, or in a folder where one file is such. Raises `UsageError`."""
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise UsageError(clean(f"{path}: no such file."), "Check the path.")
    table = files.read(path)
    tool = tool_of(path, table)
    if not tool:
        raise _unknown(path, table)
    return Found(tool, path, table)


def tool_of(path: Path, table: Any) -> str:
    """The trainer by what its file holds; empty for none that is known."""
    if path.suffix.lower() == ".safetensors":
        return "metadata"
    if not isinstance(table, dict):
        return ""
    keys = {str(key) for key in table}
    if "script" in keys and "launch" in keys:
        return "sd-scripts"
    if "job" in keys and isinstance(table.get("config"), dict):
        return "ai-toolkit"
    if "training_method" in keys or ("model_type" in keys and ("base_model_name" in keys or "__version" in keys)):
        return "OneTrainer"
    plain = {key.lstrip("-").replace("-", "_") for key in keys}
    if plain & {"model_family", "data_backend_config"}:
        return "SimpleTuner"
    if keys & _KOHYA:
        return "kohya_ss"
    if len(keys & _ON_SITE) >= 2:
        return "on-site"
    if isinstance(table.get("datasets"), list):
        return "dataset"
    inner = {str(name) for item in table.values() if isinstance(item, dict) for name in item}
    rows = tables.table("sd_scripts")
    known = {*rows["take"], *(key for group in ("nothing", "off") for names in rows[group].values() for key in names),
             "network_dim", "network_alpha", "network_module", "learning_rate", "unet_lr", "train_data_dir", "max_train_epochs",
             "pretrained_model_name_or_path", "optimizer_type", "lr_scheduler", "train_batch_size", "max_train_steps", "resolution"}  # fmt: skip
    return "sd-scripts" if len((keys | inner) & known) >= 2 else ""


def read(found: Found, family: str) -> tuple[Reading, Amount]:
    """Says what becomes of every value of a file."""
    table, folder = found.table, found.path.parent
    match found.tool:
        case "metadata":
            return metadata.read(table, family)
        case "ai-toolkit":
            return ai_toolkit.read(table, family)
        case "OneTrainer":
            return onetrainer.read(table, family)
        case "SimpleTuner":
            return simpletuner.read(table, folder, family)
        case "kohya_ss":
            return kohya_gui.read(table, folder, family)
        case "on-site":
            return on_site.read(table, family)
        case "dataset":
            return sd_scripts_files.dataset(table, folder, family)
    return sd_scripts_files.training(table, folder, family)


def _in_folder(folder: Path) -> Found:
    """The one file of settings in a folder; a training file stands before the dataset file that belongs to it."""
    try:
        paths = sorted(
            path for path in list(folder.iterdir())[:MOST_FILES] if path.suffix.lower() in files.ENDINGS[:-1] and path.is_file()
        )
    except OSError as error:
        raise UsageError(clean(f"{folder}: cannot be read: {error.strerror}."), "Check the path.") from None
    found: list[Found] = []
    for path in paths:
        try:
            found.append(find(path))
        except LoratuiError:  # no settings, such as a list of captions
            continue
    whole = [one for one in found if one.tool != "dataset"] or found
    if len(whole) == 1:
        return whole[0]
    if not whole:
        raise UsageError(clean(f"{folder}: no settings of a known trainer are in it."), f"Choose a file of {TOOLS}.")
    names = ", ".join(one.path.name for one in whole[:6])
    raise UsageError(clean(f"{folder}: several files of settings are in it: {names}."), "Choose one of them.")


def _unknown(path: Path, table: Any) -> UsageError:
    if folder_lists.is_list(path):
        shown = clean(path)
        return UsageError(
            f"{shown}: this lists folders of images and has no settings.", f"Give it as the folder: loratui check {shown}"
        )
    if isinstance(table, dict) and {"format", "preset"} <= table.keys():
        return UsageError(clean(f"{path}: this is a recipe of loratui already."), f"Train it: loratui train {path.name}")
    if isinstance(table, dict) and {"model", "adapter"} <= table.keys():
        return UsageError(
            clean(f"{path}: this looks like diffusion-pipe's, which loratui does not read."), f"Choose a file of {TOOLS}."
        )
    if isinstance(table, list):
        return UsageError(
            clean(f"{path}: this lists folders of images, and has no settings of a training."), "Choose the file that names it."
        )
    return UsageError(clean(f"{path}: not the settings of a known trainer."), f"Choose a file of {TOOLS}.")
