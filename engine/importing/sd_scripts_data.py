"""Images, captions, number formats and files in sd-scripts' arguments."""

from __future__ import annotations

from loratui.engine.importing.families import spec_of
from loratui.engine.importing.reading import Reading
from loratui.engine.importing.sizes import resolution

_PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
_SAVED = {"float": "fp32", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}


def dataset(reading: Reading) -> None:
    """Folder, sizes and buckets."""
    if reading.given("train_data_dir"):
        reading.taken("train_data_dir", {"dataset.path": reading.text("train_data_dir")})
    if reading.given("reg_data_dir"):
        folder = "Put these images into the dataset's folder, as reg or reg_NAME; loratui then shows them as often as sd-scripts does."
        reading.changed("reg_data_dir", {}, folder)
    resolution(reading, "resolution", 512)
    buckets = reading.yes("enable_bucket")
    reading.taken("enable_bucket", {"dataset.buckets": buckets})
    why = "Not in the file; sd-scripts then crops every image to a square."
    reading.assumed("enable_bucket", False, {"dataset.buckets": False}, why)
    free = not reading.yes("bucket_no_upscale")
    if not buckets:
        for key in ("bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps"):
            reading.nothing(key, "There are no buckets (enable_bucket).")
        return
    reading.taken("bucket_no_upscale", {"dataset.upscale": free})
    reading.assumed("bucket_no_upscale", False, {"dataset.upscale": free})
    reading.taken("bucket_reso_steps", {"dataset.bucket_step": reading.whole("bucket_reso_steps", 64)})
    for key, ours, default in (("min_bucket_reso", "dataset.bucket_min", 256), ("max_bucket_reso", "dataset.bucket_max", 1024)):
        if free:
            reading.taken(key, {ours: reading.whole(key, default)})
            reading.assumed(key, default, {ours: default})
        else:
            reading.nothing(key, "Without upscaling nothing bounds a bucket's side, there and here.")


def captions(reading: Reading, family: str) -> None:
    """How captions are read and varied."""
    ending = reading.text("caption_extension") or reading.text("caption_extention") or ".caption"
    for key in ("caption_extension", "caption_extention"):
        if ending in (".txt", ".caption"):
            reading.nothing(key, "loratui reads captions of both endings, .txt and .caption.")
        else:
            reading.changed(key, {}, "loratui reads captions from .txt and .caption; rename the files.")
    if reading.text("caption_separator", ",") == ",":
        reading.nothing("caption_separator", "Tags are separated by commas here too.")
    else:
        reading.changed("caption_separator", {}, "loratui separates tags by commas.")
    if reading.yes("shuffle_caption"):
        reading.changed(
            "shuffle_caption",
            {"dataset.shuffle_captions": True},
            "loratui draws from 8 orders of each caption (dataset.caption_variants); sd-scripts makes a new one each time.",
        )
    else:
        reading.taken("shuffle_caption", {"dataset.shuffle_captions": False})
    if reading.yes("enable_wildcard"):
        reading.taken("enable_wildcard", {"dataset.caption_choice": "line+wildcards"})
    else:
        why = "sd-scripts reads the first line of a caption file."
        reading.taken("enable_wildcard", {"dataset.caption_choice": "first"}, why)
        reading.assumed("enable_wildcard", False, {"dataset.caption_choice": "first"}, why)
    skip = reading.whole("clip_skip", 1)
    if spec_of(family).text.clip_skip == 1:
        reading.taken("clip_skip", {"base.clip_skip": max(1, skip)})
    else:
        reading.nothing("clip_skip", "It changes nothing for this kind of base, there and here.")
    tokens = reading.whole("max_token_length", 75)
    if not spec_of(family).text.several_windows:
        reading.nothing("max_token_length", "It belongs to CLIP; FLUX reads captions with T5.")
    else:
        reading.taken("max_token_length", {"dataset.caption_tokens": tokens})


def precision(reading: Reading) -> None:
    """Number formats, of which the LoRA's own is always 32 bits here."""
    word = reading.text("mixed_precision", "no")
    if word in _PRECISIONS:
        reading.taken("mixed_precision", {"training.precision": _PRECISIONS[word]})
        reading.assumed("mixed_precision", "no", {"training.precision": "fp32"})
    else:
        reading.changed(
            "mixed_precision",
            {"training.precision": "auto"},
            "loratui computes in bf16, fp16 or fp32, and keeps the base in 8 bits where that is needed.",
        )
    for key in ("full_fp16", "full_bf16"):
        if reading.yes(key):
            reading.changed(key, {}, "loratui keeps the LoRA in 32 bits, which trains better and costs little.")
        else:
            reading.nothing(key, "The LoRA is in 32 bits here too.")
    for key in ("fp8_base", "fp8_base_unet"):
        if reading.yes(key):
            reading.changed(key, {}, "loratui keeps the base in 8 bits only where it does not fit otherwise (memory.quantise).")
        else:
            reading.nothing(key, "loratui decides by the card's memory (memory.quantise).")


def saving(reading: Reading) -> None:
    """The finished file."""
    word = reading.text("save_precision", "float")
    if word in _SAVED:
        reading.taken("save_precision", {"output.precision": _SAVED[word]})
        reading.assumed("save_precision", "float", {"output.precision": "fp32"})
    else:
        reading.changed("save_precision", {}, "loratui writes fp16, bf16 or fp32.")
    if reading.text("save_model_as", "safetensors") == "safetensors":
        reading.nothing("save_model_as", "loratui writes safetensors.")
    else:
        reading.changed("save_model_as", {}, "loratui writes safetensors only; other formats can hold programs.")
    if reading.number("save_every_n_steps"):
        reading.changed("save_every_n_steps", {}, "loratui writes LoRA files at the ends of epochs (output.save_every_epochs).")
    else:
        reading.nothing("save_every_n_steps", "It is off.")
    if reading.given("save_every_n_epochs") and not reading.number("save_every_n_epochs"):
        reading.nothing("save_every_n_epochs", "It is off; loratui writes a file after each epoch.")


def seed(reading: Reading, key: str) -> None:
    """The seed; none there means a random one."""
    value = reading.whole(key, 0)
    if not reading.given(key) or (value <= 0 and reading.tool != "sd-scripts"):
        reading.nothing(key, "Without a seed each run there is another; loratui's is 42.")
    else:
        reading.taken(key, {"training.seed": value})
