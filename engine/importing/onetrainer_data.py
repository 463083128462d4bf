"""Images and files in OneTrainer's configuration."""

from __future__ import annotations

from loratui.engine.importing.reading import Reading
from loratui.engine.importing.sizes import sides

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
    concepts = reading.values.get("concepts")
    first = concepts[0] if isinstance(concepts, list) and concepts and isinstance(concepts[0], dict) else {}
    if first:
        path = first.get("path")
        sets = {"dataset.path": path} if isinstance(path, str) else {}
        if len(concepts or []) > 1:
            reading.changed(
                "concepts", sets, "loratui trains on one folder; several concepts are N_name folders in it. The first is taken."
            )
        else:
            reading.changed("concepts", sets, "The folder is taken; its other values come with the import of folders.")
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
