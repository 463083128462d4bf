"""The `ss_*` metadata of a LoRA file: what sd-scripts, and trainers that write as it does, tell of how they made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from loratui.engine import families
from loratui.engine.importing import sd_scripts
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import trains
from loratui.engine.importing.reading import Reading
from loratui.engine.untrusted import Unreadable, parse_json

_RENAMED = {
    "optimizer": "optimizer_type", "batch_size_per_device": "train_batch_size", "debiased_estimation": "debiased_estimation_loss",
    "tag_frequency": "ss_tag_frequency", "max_bucket_reso": "max_bucket_reso",
}  # fmt: skip
_FACTS = (
    "session_id", "training_started_at", "training_finished_at", "num_train_images", "num_reg_images", "num_validation_images",
    "num_batches_per_epoch", "num_epochs", "epoch", "steps", "sd_scripts_commit_hash", "sd_model_name", "sd_model_hash",
    "new_sd_model_hash", "vae_name", "vae_hash", "new_vae_hash", "total_batch_size", "bucket_info", "ss_tag_frequency", "dataset_dirs",
    "reg_dataset_dirs", "datasets", "base_model_version", "cpu_offload_checkpointing",
    "name", "version", "software", "training_info",
)  # fmt: skip


def read(table: Mapping[str, Any], family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how many steps were made."""
    told = {name: None if value == "None" else value for name, value in table.items()}
    reading = Reading.renamed("sd-scripts", told, _key)
    version = reading.text("base_model_version")
    known = next((spec.name for spec in families.FAMILIES if spec.lora.base_version == version), "")
    if version and not known:
        trains(reading, "base_model_version", version[:60])
        return reading, Amount()
    family = family or known
    reading.taken("base_model_version", {"base.family": family} if family else {})
    _dataset(reading)
    name = reading.text("optimizer_type")
    if "(" in name:
        words = name.partition("(")[2].strip().removesuffix(")")
        reading.values["optimizer_args"] = _args(words)
        reading.from_place("optimizer_args", "ss_optimizer, its arguments")
        reading.values["optimizer_type"] = sd_scripts.of_optimizer(name)
    else:
        reading.values["optimizer_type"] = sd_scripts.of_optimizer(name) or None
    args = reading.values.get("network_args")
    if isinstance(args, str):
        found = _json(args)
        reading.values["network_args"] = args if found is None else found
    if isinstance(rates := _json(reading.values.get("text_encoder_lr")), list):  # one for each text encoder
        reading.values["text_encoder_lr"] = rates
    reading.nothing("max_train_steps", "See the steps below.")
    for key in _FACTS:
        reading.nothing(key, "It tells what was, and sets nothing.")
    for key in list(reading.values):
        if key.startswith(("modelspec.", "sshs_", "loratui_")) or key == "format":
            reading.nothing(key, "It describes the file, and sets nothing.")
    if reading.given("modelspec.trigger_phrase"):
        reading.said.pop("modelspec.trigger_phrase", None)
        reading.taken("modelspec.trigger_phrase", {"dataset.trigger": reading.text("modelspec.trigger_phrase")})
    if not reading.given("network_dim"):
        reading.lost.append("This file tells little of how it was made: without ss_network_dim nothing says rank or rates.")
    most = reading.whole("max_train_steps") or reading.whole("steps")
    epochs = reading.whole("num_epochs")
    if epochs > 0:
        reading.put("max_train_epochs", epochs)
    amount = sd_scripts.read(reading, family)
    if most > 0:
        amount = dataclasses.replace(amount, steps=most, epochs=epochs)
    elif epochs <= 0:  # sd-scripts' own default says nothing of a file of another trainer
        reading.said.pop("max_train_steps", None)
        reading.nothing("max_train_steps", "This is no number of steps.")
        amount = dataclasses.replace(amount, steps=0)
    return reading, amount


def _key(name: str) -> str:
    """The argument that a name of metadata stands for."""
    short = name.removeprefix("ss_")
    return _RENAMED.get(short, short) if name != short else name


def _dataset(reading: Reading) -> None:
    """The first dataset of `ss_datasets`, or the folders of `ss_dataset_dirs`, as the arguments they came from."""
    datasets = _json(reading.values.get("datasets"))
    first = datasets[0] if isinstance(datasets, list) and datasets and isinstance(datasets[0], dict) else {}
    for theirs, ours in (
        ("resolution", "resolution"), ("batch_size_per_device", "train_batch_size"), ("enable_bucket", "enable_bucket"),
        ("bucket_no_upscale", "bucket_no_upscale"), ("min_bucket_reso", "min_bucket_reso"), ("max_bucket_reso", "max_bucket_reso"),
    ):  # fmt: skip
        if first.get(theirs) is not None and not reading.given(ours):
            reading.values[ours] = first[theirs]
            reading.from_place(ours, f"ss_datasets {theirs}")
    subsets = first.get("subsets")
    dirs = _json(reading.values.get("dataset_dirs"))
    rows = [one for one in subsets if isinstance(one, dict)] if isinstance(subsets, list) else []
    subset = next((one for one in rows if one.get("is_reg") is not True), rows[0] if rows else {})
    if not subset and isinstance(dirs, dict) and len(dirs) == 1:
        only = next(iter(dirs.values()))
        subset = {"num_repeats": only.get("n_repeats")} if isinstance(only, dict) else {}
    for theirs, ours in (("num_repeats", "num_repeats"), ("flip_aug", "flip_aug"), ("shuffle_caption", "shuffle_caption"),
                         ("keep_tokens", "keep_tokens"), ("class_tokens", "class_tokens"), ("color_aug", "color_aug"),
                         ("random_crop", "random_crop")):  # fmt: skip
        if subset.get(theirs) is not None and not reading.given(ours):
            reading.values[ours] = subset[theirs]
            reading.from_place(ours, f"ss_datasets {theirs}")
    words = reading.text("class_tokens").split()
    if words:
        rest = {"dataset.class_word": " ".join(words[1:])} if len(words) > 1 else {}
        reading.taken("class_tokens", {"dataset.trigger": words[0], **rest})


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value, most=1 << 20)
    except Unreadable:
        return None


def _args(words: str) -> list[str]:
    """`a=1,betas=(0.9, 0.99),b=2` as words, where brackets keep commas together."""
    found, depth, word = [], 0, ""
    for letter in words:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            found.append(word.strip())
            word = ""
        else:
            word += letter
    return [*found, word.strip()]
