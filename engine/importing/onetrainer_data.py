"""Images and files in OneTrainer's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset.folder_lists.onetrainer import concept
from loratui.engine.dataset.folder_lists.source import FolderList, Source, table
from loratui.engine.importing.reading import Reading
from loratui.engine.importing.sizes import sides
from loratui.engine.untrusted import finite
from loratui.engine.words import listed

_FLIPS = ("enable_random_flip", "enable_fixed_flip")
_FORMATS = {"FLOAT_32": "fp32", "TFLOAT_32": "fp32", "FLOAT_16": "fp16", "BFLOAT_16": "bf16"}


def dataset(reading: Reading) -> None:
    found = sides(reading.values.get("resolution")) if reading.given("resolution") else [512.0]
    text = reading.text("resolution", "512") if not isinstance(reading.values.get("resolution"), list) else ""
    if not found:
        reading.not_understood("resolution", "This is no size in pixels.")
    elif "," in text and "x" not in text.lower():
        reading.changed(
            "resolution",
            {"dataset.resolution": int(max(found))},
            "OneTrainer trains on several sizes; loratui on one, the largest of them.",
        )
    else:
        reading.taken("resolution", {"dataset.resolution": int(found[0])})
        reading.assumed("resolution", 512, {"dataset.resolution": 512})
    lines = "OneTrainer draws one line of a caption file each time."
    reading.assumed("captions", "lines", {"dataset.caption_choice": "line"}, lines)
    reading.taken("aspect_ratio_bucketing", {"dataset.buckets": reading.yes("aspect_ratio_bucketing", True)})
    _concepts(reading)
    if not reading.values.get("concepts") and reading.given("concept_file_name"):
        reading.changed("concept_file_name", {}, "It lists the folders of images; give it, or a folder, with --dataset.")
    reading.nothing("concept_file_name", "concepts counts, or it is empty.")
    if isinstance(reading.values.get("samples"), list):
        prompts = [
            s["prompt"]
            for s in reading.values["samples"]
            if isinstance(s, dict) and isinstance(s.get("prompt"), str) and s["prompt"]
        ]
        if prompts:
            reading.changed(
                "samples",
                {"samples.prompts": tuple(prompts[:50])},
                "The prompts are taken; loratui makes all with one size, seed, steps and guidance.",
            )


def _concepts(reading: Reading) -> None:
    """Takes the first concept whose images are trained on."""
    if not isinstance(rows := reading.values.get("concepts"), list) or not rows:
        return
    source, row, changed = _first(rows)
    if source is None:
        reading.changed("concepts", {}, f"No concept is trained on: {listed(changed, 3)}.")
        return
    sets: dict[str, Any] = {"dataset.path": source.folder}
    if any(table(row.get("image")).get(key) is True for key in _FLIPS):
        sets["dataset.flip"] = True
        changed = [words for words in changed if not words.startswith(_FLIPS)]
    if len(rows) > 1:
        changed.append("of several folders the first is taken; --dataset takes all of such a list")
    if changed:
        reading.changed("concepts", sets, f"{listed(changed, 8)}.")
    else:
        reading.taken("concepts", sets)


def _first(rows: Sequence[Any]) -> tuple[Source | None, Mapping[str, Any], list[str]]:
    """The first concept that is trained on, as it is written, and what of it means something else here."""
    passed: list[str] = []
    for number, row in enumerate(filter(lambda one: isinstance(one, dict), rows), 1):
        found = FolderList("OneTrainer")
        concept(found, clean(row.get("name"), 40) or f"concept {number}", row)
        if found.sources and not found.sources[0].regularisation:
            return found.sources[0], row, found.changed
        passed += [f"{name} {why}" for name, why in found.left_out] or found.changed
    return None, {}, passed


def balance(reading: Reading) -> tuple[int, float, int]:
    """(repeats, how many times as many images an epoch has there, images an epoch there where that is a number of its own)."""
    rows = reading.values.get("concepts")
    source, row, _ = _first(rows) if isinstance(rows, list) else (None, {}, [])
    value = finite(row.get("balancing", row.get("repeats", 1.0)))
    if source is None or value is None or value <= 0:
        return 1, 1.0, 0
    if row.get("balancing_strategy", "REPEATS") == "SAMPLES":
        return source.repeats, 1.0, int(value)
    return source.repeats, value / source.repeats, 0


def saving(reading: Reading) -> None:
    word = reading.text("train_dtype", "FLOAT_16")
    ours = _FORMATS.get(word)
    (reading.taken if ours else reading.changed)(
        "train_dtype", {"training.precision": ours or "auto"}, "" if ours else "loratui computes in bf16, fp16 or fp32."
    )
    reading.assumed("train_dtype", "FLOAT_16", {"training.precision": "fp16"})
    out = _FORMATS.get(reading.text("output_dtype", "FLOAT_32"))
    (reading.taken if out else reading.changed)(
        "output_dtype", {"output.precision": out} if out else {}, "" if out else "loratui writes fp16, bf16 or fp32."
    )
    reading.assumed("output_dtype", "FLOAT_32", {"output.precision": "fp32"})
    kind = reading.text("output_model_format", "")
    if kind in ("KOHYA_LORA", "LEGACY_LORA", "DIFFUSERS_LORA", "SAFETENSORS", "COMFY_LORA", ""):
        layout = {"KOHYA_LORA": "kohya", "LEGACY_LORA": "kohya", "DIFFUSERS_LORA": "peft"}.get(kind)
        reading.taken("output_model_format", {"output.format": layout} if layout else {})
    else:
        reading.changed("output_model_format", {}, "loratui writes LoRA files with kohya's or PEFT's names.")
    name = reading.text("output_model_destination").replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors")
    reading.taken("output_model_destination", {"output.name": name}, "The name is taken; the file lies in the run's folder.")
    for every, unit in (("save_every", "save_every_unit"), ("sample_after", "sample_after_unit")):
        count, word = reading.number(every), reading.text(unit, "NEVER" if every == "save_every" else "MINUTE")
        ours_key = "output.save_every_epochs"
        if every == "save_every" and word == "EPOCH" and count >= 1:
            reading.taken(every, {ours_key: int(count)})
        elif word == "NEVER" or not count:
            reading.nothing(every, "It is off; loratui does so after each epoch.")
        else:
            reading.changed(every, {}, "loratui does so once an epoch.")
        reading.nothing(unit, f"It belongs to {every}.")
    ema = reading.text("ema", "OFF")
    if ema == "OFF":
        for key in ("ema", "ema_decay", "ema_update_step_interval"):
            reading.nothing(key, "The moving average is off.")
    else:
        decay = reading.number("ema_decay", 0.999)
        reading.taken("ema", {"training.ema_decay": decay})
        reading.taken("ema_decay", {"training.ema_decay": decay})
        if reading.whole("ema_update_step_interval", 5) != 1:
            why = "loratui updates its average after each step; OneTrainer after every few."
            reading.changed("ema_update_step_interval", {}, why)
        reading.nothing("ema_update_step_interval", "loratui updates its average after each step too.")
