"""Images and samples in SimpleTuner's configuration."""

from __future__ import annotations

from loratui.engine.dataset.folder_lists.simpletuner import REGULARISATION
from loratui.engine.importing import prompts
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.reading import Reading


def dataset(reading: Reading, backend: bool) -> None:
    kind = reading.text("backend.resolution_type") or reading.text("resolution_type", "pixel_area")
    key = "backend.resolution" if reading.given("backend.resolution") else "resolution"
    side = reading.number(key, 1024)
    if kind == "area":
        side = round((max(0.0, side) * 1e6) ** 0.5 / 64) * 64
        reading.changed(key, {"dataset.resolution": int(side)}, "Megapixels there; the side of a square of that area here.")
    elif kind == "pixel":
        reading.changed(
            key,
            {"dataset.resolution": int(side)},
            "The shorter edge there, the area of such a square here; square images are the same.",
        )
    else:
        reading.taken(key, {"dataset.resolution": int(side)})
    reading.assumed("resolution", 1024, {"dataset.resolution": int(side)})
    for name in ("resolution", "resolution_type", "backend.resolution_type"):
        reading.nothing(name, "It belongs to the resolution of the set of images.")
    if reading.given("backend.instance_data_dir"):
        reading.taken("backend.instance_data_dir", {"dataset.path": reading.text("backend.instance_data_dir")})
    prompt = reading.text("backend.instance_prompt") or reading.text("instance_prompt")
    for name in ("backend.instance_prompt", "instance_prompt"):
        words = prompt.split()
        sets = (
            {"dataset.trigger": words[0], **({"dataset.class_word": " ".join(words[1:])} if 1 < len(words) < 4 else {})}
            if words
            else {}
        )
        reading.changed(name, sets, "Its first word is taken for the trigger; write captions for the images.")
    for name in ("backend.caption_strategy", "caption_strategy"):
        if reading.text(name, "textfile") == "textfile":
            reading.nothing(name, "loratui reads text files beside the images too.")
        else:
            reading.changed(name, {}, "loratui reads captions from text files beside the images.")
    if reading.given("backend.others"):
        reading.changed(
            "backend.others",
            {},
            "loratui trains on one folder; several subjects are N_name folders in it. The first set is taken.",
        )
    for name in (f"backend.{key}" for key in REGULARISATION):
        if reading.yes(name):
            reading.changed(name, {}, "These are regularisation images; put them into the dataset's folder as reg.")
        else:
            reading.nothing(name, "It is off.")
    crop = reading.yes("backend.crop")
    square = reading.text("backend.crop_aspect", "square") == "square"
    reading.taken("backend.crop", {"dataset.buckets": not (crop and square)})
    for name in ("backend.crop_aspect", "backend.crop_style"):
        if name.endswith("style") and reading.text(name, "center") in ("random", "face"):
            reading.changed(name, {}, "loratui crops around the middle.")
        else:
            reading.nothing(name, "It belongs to crop.")
    if not backend:
        reading.changed(
            "data_backend_config",
            {},
            "This file is not here, or names no images; put it beside this one, or give the folder with --dataset.",
        )
    else:
        reading.nothing("data_backend_config", "Its first set of images is read too.")
    whole = "backend.disable_multiline_split" if reading.given("backend.disable_multiline_split") else "disable_multiline_split"
    lines = {} if reading.yes(whole) else {"dataset.caption_choice": "line"}
    reading.taken(whole, lines, "SimpleTuner draws one line of a caption file each time.")
    reading.assumed("disable_multiline_split", False, lines, "SimpleTuner draws one line of a caption file each time.")
    drop = reading.number("caption_dropout_probability", 0.1)
    reading.taken("caption_dropout_probability", {"dataset.caption_dropout": drop})
    reading.assumed("caption_dropout_probability", 0.1, {"dataset.caption_dropout": drop})


def samples(reading: Reading, amount: Amount) -> None:
    prompts.samples(
        reading,
        amount,
        prompts="validation_prompt",
        every_steps="validation_step_interval",
        every_epochs="validation_epoch_interval",
    )
    size = reading.text("validation_resolution", "256").partition(",")[0]
    width, _, height = size.partition("x")
    if width.isdecimal() and (height or width).isdecimal() and len(size) < 12:
        reading.taken("validation_resolution", {"samples.width": int(width), "samples.height": int(height or width)})
    else:
        reading.not_understood("validation_resolution", "This is no size in pixels.")
