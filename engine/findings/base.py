"""What is said of a base model: why it cannot be trained on, and what of it the recipe gets wrong."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, error, note, warning

_OVERRIDE = "To start all the same, set base.check to off."
_WHY = "Training starts from a base model."

_REFUSALS: Mapping[str, str] = {
    "base_missing": "No base model is named.",
    "base_not_found": "There is no such file, folder or model on this machine.",
    "base_ambiguous": "The folder holds several models.",
    "base_unreadable": "The file cannot be read, or its header is damaged.",
    "base_damaged": "The file or a configuration beside it is damaged.",
    "base_incomplete": "Parts of the model are not there.",
    "base_format": "The file has a format that is not read, such as one that can run code.",
    "base_quantised": "The weights are quantised, which is for generating only.",
    "base_unknown": "The tensors are those of no known model.",
    "base_other_family": "A model of another family.",
    "base_other_schedule": "A model with another noise schedule.",
    "base_other_shape": "A model of other sizes than its family or its config.json has.",
    "base_is_lora": "A LoRA, not a base model.",
    "base_is_controlnet": "A ControlNet, not a base model.",
    "base_is_adapter": "An adapter for images or video, not a base model.",
    "base_is_embedding": "A textual inversion embedding, not a base model.",
    "base_is_upscaler": "An upscaler, not a base model.",
    "base_upscaler": "An upscaling version of a base model.",
    "base_inpainting": "An inpainting version of a base model.",
    "base_instruct": "A version of a base model that edits images.",
    "base_depth": "A version of a base model that takes depth.",
    "base_control": "A version of a base model that takes control images.",
    "base_refiner": "The SDXL refiner.",
    "base_distilled": "A model that was distilled to few steps.",
    "base_schnell": "FLUX.1-schnell, or a FLUX.1-dev without its distilled guidance.",
    "base_part_only": "Only a part of a model.",
    "base_part_not_found": "The file that a setting names for a part is not there.",
    "base_part_wrong": "The file that a setting names for a part holds something else.",
}
"""Reasons for which a file or folder is refused as a base: see `formats.base_parts.BaseRefused`."""

BASE: Mapping[str, Kind] = {
    **{code: error("{problem}", _WHY, "{remedy}", about=about) for code, about in _REFUSALS.items()},
    "base_part_missing": error(
        "{path}: the {part}", "{title} does not work without it, and it is neither in the model nor beside it.", "{ways}"
    ),
    "base_part_missing.unfit": error(why="{title} does not work without it, and {note}; there is no other beside the model."),
    "base_family": error(
        "{base}: this is {found}, and the recipe is for {wanted}.",
        "Rates, steps and layers of the recipe fit its own family only.",
        "Choose another base, or a preset for {found} such as {preset}.",
    ),
    "base_prediction.flow": error(
        "{key} is {value}, and {title} has no such choice: it is trained by flow matching.", remedy="Set {settings}."
    ),
    "base_prediction.zero_snr": error(
        "{base}: the schedule ends in pure noise (zero terminal SNR), from which noise cannot be predicted.",
        "Its steps near pure noise would teach nothing or break.",
        "Set base.prediction to v if this is a v-prediction model, else base.zero_terminal_snr to off.",
    ),
    "base_prediction.epsilon": warning(
        "{base}: this is a v-prediction model, and base.prediction says epsilon.",
        "A LoRA trained so makes grey, flat images.",
        "Set {settings}.",
    ),
    "base_clip_skip": error(
        "base.clip_skip {clip_skip}: the text encoder of {base} has only {layers:count layer}.",
        remedy="Leave base.clip_skip out, or set it to 1 or 2.",
    ),
    "base_parts_found": note(
        "Parts of the base were found in other places: {taken}.",
        remedy="Name others with base.text_encoder, base.text_encoder_2 and base.vae.",
    ),
    "tiny_base": warning(
        "{base} is a tiny base for trying loratui: a LoRA trained on it works with it alone, not in ComfyUI or elsewhere.",
        "It draws small portraits and nothing else.",
        "For a LoRA to use, choose another preset, such as {preset}.",
    ),
    "base_mistaken.not_finite": error(
        "The base answers with numbers that are not finite.",
        remedy=f"Its files are damaged, or made for another number format. Fetch it anew. {_OVERRIDE}",
    ),
    "base_mistaken.vae": error(
        "The VAE does not give an image back: {psnr_db:.0f} dB, where more than 20 are usual.",
        remedy=f"It is damaged, or another model's: name the base's own with base.vae. {_OVERRIDE}",
    ),
    "base_mistaken.vae_scale": error(
        "The VAE's latents are scaled wrongly ({scale}): they have a spread of {spread:.2f}, not of about 1.",
        remedy=f"The VAE or its config.json is another model's: name the base's own with base.vae. {_OVERRIDE}",
    ),
    "base_mistaken.prediction": error(
        "The base was taken to predict {told}, but its answers are those of one that predicts {right} (loss {own:.2f} against "
        "{other:.2f}).",
        remedy=f"Set {{settings}}. {_OVERRIDE}",
    ),
    "base_mistaken.sign": error(
        "The base answers with the opposite of what it should predict: its sign is turned.",
        remedy=f"Its weights are another kind of model's, or merged wrongly. Choose another base. {_OVERRIDE}",
    ),
    "base_mistaken.nothing": error(
        "The base cannot tell your images from noise: its loss is {of_nothing:.2f} of that of predicting nothing, and "
        "{of_linear:.2f} of that of knowing nothing about images.",
        remedy="Probably its VAE is another model's (base.vae), its files are mixed up or damaged, or base.prediction is wrong. "
        + _OVERRIDE,
    ),
    "base_mistaken.text": error(
        "The captions make the base worse: without them its loss is {gain:.2f} of that with them.",
        remedy=f"Probably a text encoder is another model's (base.text_encoder, base.text_encoder_2), or its tokenizer. {_OVERRIDE}",
    ),
}
