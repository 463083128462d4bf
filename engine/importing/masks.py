"""Masks in other trainers' settings: where they come from, the weight outside, and how the size of the loss differs."""

from __future__ import annotations

from loratui.engine.importing.reading import Reading

_SIZE = "loratui keeps the loss as large as without a mask; {tool} does not, so there a small mask learns more slowly."


def of_sd_scripts(reading: Reading) -> None:
    """`alpha_mask` weights by the image's transparency, `masked_loss` by images of a second folder; outside counts 0."""
    why = _SIZE.format(tool="sd-scripts")
    folder = reading.given("conditioning_data_dir") or reading.given("conditioning_data_dirs")
    if reading.yes("alpha_mask"):
        reading.changed("alpha_mask", {"dataset.masks": "alpha", "dataset.mask_outside": 0.0}, why)
        reading.nothing("masked_loss", "alpha_mask says where the masks are.")
    elif reading.yes("masked_loss"):
        words = f"{why} Put the masks into the folder masks in the dataset."
        reading.changed("masked_loss", {"dataset.masks": "folder", "dataset.mask_outside": 0.0}, words)
    for key in ("conditioning_data_dir", "conditioning_data_dirs"):
        if folder and reading.yes("masked_loss"):
            reading.changed(key, {}, "Put these masks into the folder masks in the dataset.")
        else:
            reading.nothing(key, "It belongs to masked_loss, which is off.")
    for key in ("alpha_mask", "masked_loss"):
        reading.nothing(key, "It is off.")


def of_onetrainer(reading: Reading) -> None:
    """Masks beside the images, a weight outside, and a share of steps without them."""
    keys = ("unmasked_weight", "unmasked_probability", "normalize_masked_area_loss", "masked_prior_preservation_weight")
    if not reading.yes("masked_training"):
        for key in ("masked_training", *keys):
            reading.nothing(key, "It is off, or belongs to masked_training, which is off.")
        return
    weight = reading.number("unmasked_weight", 0.1)
    sets = {"dataset.masks": "folder", "dataset.mask_outside": weight}
    if reading.yes("normalize_masked_area_loss"):
        reading.taken("masked_training", sets)
        reading.nothing("normalize_masked_area_loss", "loratui keeps the loss as large as without a mask too.")
    else:
        reading.changed("masked_training", sets, _SIZE.format(tool="OneTrainer without normalize_masked_area_loss"))
        reading.nothing("normalize_masked_area_loss", "masked_training says what differs.")
    reading.taken("unmasked_weight", {"dataset.mask_outside": weight})
    if reading.number("unmasked_probability", 0.1):
        why = "loratui uses the masks in all steps; OneTrainer leaves them out in a share of them."
        reading.changed("unmasked_probability", {}, why)
        reading.assumed("unmasked_probability", 0.1, sets, why, "changed")
    if reading.number("masked_prior_preservation_weight"):
        reading.changed("masked_prior_preservation_weight", {}, "loratui does not hold the area outside to the base's answers.")
    reading.nothing("masked_prior_preservation_weight", "It is off.")
    reading.nothing("unmasked_probability", "It is off.")


def of_ai_toolkit(reading: Reading) -> None:
    """Transparency, or a folder of masks, with the least weight."""
    least = reading.number("datasets.mask_min_value")
    source = "alpha" if reading.yes("datasets.alpha_mask") else "folder" if reading.given("datasets.mask_path") else ""
    if source:
        sets = {"dataset.masks": source, "dataset.mask_outside": least}
        why = _SIZE.format(tool="ai-toolkit")
        key = "datasets.alpha_mask" if source == "alpha" else "datasets.mask_path"
        reading.changed(key, sets, why if source == "alpha" else f"{why} Put the masks into the folder masks in the dataset.")
        reading.taken("datasets.mask_min_value", {"dataset.mask_outside": least})
    for key in ("datasets.alpha_mask", "datasets.mask_path", "datasets.mask_min_value"):
        reading.nothing(key, "It is off, or belongs to masks, which are off.")
