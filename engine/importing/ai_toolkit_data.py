"""Images, samples and files in ai-toolkit's configuration."""

from __future__ import annotations

from loratui.engine.importing.amount import Amount
from loratui.engine.importing.reading import Reading
from loratui.engine.importing.sizes import sides
from loratui.engine.words import count


def dataset(reading: Reading) -> int:
    """Says what becomes of the folders; returns the repeats of the first."""
    for key in list(reading.values):
        if key.startswith("datasets["):
            first = "datasets." + key.partition("].")[2]
            if reading.values.get(first) == reading.values[key]:
                reading.taken(key, {}, "As in the first folder.")
            else:
                reading.changed(
                    key, {}, "loratui trains on one folder with one value for all; several subjects are N_name folders in it."
                )
    folder = reading.text("datasets.folder_path") or reading.text("datasets.dataset_path")
    for key in ("datasets.folder_path", "datasets.dataset_path"):
        reading.taken(key, {"dataset.path": folder})
    found = sides(reading.values.get("datasets.resolution")) if reading.given("datasets.resolution") else [512.0]
    if not found:
        reading.not_understood("datasets.resolution", "This is no size in pixels.")
    elif len(found) > 1:
        reading.changed(
            "datasets.resolution",
            {"dataset.resolution": int(max(found))},
            "ai-toolkit trains on a copy of each image in each size; loratui on one size, the largest of them.",
        )
    else:
        reading.taken("datasets.resolution", {"dataset.resolution": int(found[0])})
    ending = reading.text("datasets.caption_ext", "txt").removeprefix(".")
    if ending in ("txt", "caption"):
        reading.nothing("datasets.caption_ext", "loratui reads captions of both endings, .txt and .caption.")
    else:
        reading.changed("datasets.caption_ext", {}, "loratui reads captions from .txt and .caption; rename the files.")
    if reading.yes("datasets.shuffle_tokens"):
        reading.changed(
            "datasets.shuffle_tokens",
            {"dataset.shuffle_captions": True},
            "loratui draws from 8 orders of each caption (dataset.caption_variants).",
        )
    else:
        reading.taken("datasets.shuffle_tokens", {"dataset.shuffle_captions": False})
    repeats = max(1, reading.whole("datasets.num_repeats", 1))
    reading.taken("datasets.num_repeats", {"schedule.repeats": repeats, "schedule.folder_repeats": False})
    trigger = reading.text("trigger_word") or reading.text("datasets.trigger_word")
    said = "ai-toolkit puts it before captions that lack it; loratui's dataset check does that with one key."
    for key in ("trigger_word", "datasets.trigger_word"):
        reading.changed(key, {"dataset.trigger": trigger}, said)
    if reading.yes("datasets.is_reg"):
        reading.changed("datasets.is_reg", {}, "These are regularisation images; put them into the dataset's folder as reg.")
    reading.nothing("datasets.is_reg", "It is off.")
    return repeats


def samples(reading: Reading) -> None:
    prompts = reading.values.get("sample.prompts")
    items = reading.values.get("sample.samples")
    if isinstance(items, list):
        texts = [i["prompt"] for i in items if isinstance(i, dict) and isinstance(i.get("prompt"), str)]
        more = any(isinstance(i, dict) and len(i) > 1 for i in items)
        words = "The prompts are taken; loratui makes all with one size, seed, steps and guidance." if more else ""
        (reading.changed if more else reading.taken)(
            "sample.samples", {"samples.prompts": _prompts(texts)} if texts else {}, words
        )
    if isinstance(prompts, list) and all(isinstance(p, str) for p in prompts):
        if prompts:
            reading.taken("sample.prompts", {"samples.prompts": _prompts(prompts)})
    elif reading.given("sample.prompts"):
        reading.not_understood("sample.prompts", "These are no prompts.")


def _prompts(texts: list[str]) -> tuple[str, ...]:
    return tuple(text.replace("[trigger]", "{trigger}") for text in texts if text.strip())[:50] or ("a photo of {subject}",)


def often(reading: Reading, amount: Amount) -> None:
    window = amount.batch * amount.window
    every = reading.whole("sample.sample_every", 100)
    if reading.yes("train.disable_sampling"):
        reading.changed("train.disable_sampling", {}, "loratui makes samples once an epoch.")
        reading.nothing("sample.sample_every", "Samples are off there.")
    else:
        reading.nothing("train.disable_sampling", "It is off.")
        reading.taken(
            "sample.sample_every",
            {"samples.every_image_steps": max(0, every * window)},
            f"A step has {count(window, 'image-step')}." if window > 1 else "",
        )
    if reading.yes("train.skip_first_sample"):
        reading.taken("train.skip_first_sample", {"samples.before_training": False})
    else:
        reading.taken("train.skip_first_sample", {"samples.before_training": True})
    reading.changed("save.save_every", {}, "loratui writes LoRA files at the ends of epochs (output.save_every_epochs).")
