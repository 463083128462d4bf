"""OneTrainer's concepts: `ConceptConfig.py` and `DataLoaderText2ImageMixin.py` say what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset.folder_lists.source import MOST_REPEATS, FolderList, Source
from loratui.engine.dataset.folder_lists.source import table as table_of
from loratui.engine.dataset.folder_lists.source import text as text_of
from loratui.engine.untrusted import finite

_OF_CONCEPT = ("name", "path", "seed", "enabled", "type", "validation_concept", "include_subdirectories", "image_variations", "text_variations",
               "balancing", "repeats", "balancing_strategy", "loss_weight", "concept_stats", "image", "text", "__version")  # fmt: skip
_OF_TEXT = ("prompt_source", "prompt_path", "local_prompt_path", "tag_delimiter", "keep_tags_count")
_ONLY_IF_ON = ("tag_dropout", "caps_randomize", "random_rotate", "random_brightness", "random_contrast", "random_saturation",
               "random_hue", "resolution_override")  # fmt: skip
"""Beginnings of values that mean nothing while their own switch is off."""
_INSTEAD = {
    "enable_random_flip": "set dataset.flip",
    "enable_fixed_flip": "set dataset.flip",
    "enable_tag_shuffling": "set dataset.shuffle_captions and dataset.keep_tokens",
    "tag_dropout_enable": "dataset.caption_dropout leaves out whole captions",
    "enable_resolution_override": "set dataset.resolution",
}


def concept(found: FolderList, name: str, row: Mapping[str, Any]) -> None:
    """Takes a concept into the list."""
    kind = row.get("type", "VALIDATION" if row.get("validation_concept") is True else "STANDARD")
    if row.get("enabled") is False:
        found.left_out.append((name, "is switched off there"))
        return
    if kind == "VALIDATION":
        found.left_out.append((name, "is for validation there; dataset.held_out keeps images out of the training here"))
        return
    prior = kind == "PRIOR_PREDICTION"
    if prior:
        found.changed.append(f"PRIOR_PREDICTION of {name}: taken as regularisation images")
    text, image = (table_of(row.get(key)) for key in ("text", "image"))
    source = text_of(text.get("prompt_source", "sample"))
    captions: Any = {"concept": "prompt_file", "filename": "filename"}.get(source, "files")
    if source not in ("sample", "concept", "filename"):
        found.changed.append(f"prompt_source {clean(source, 30)} of {name}: captions are read from files")
    prompts = (text_of(text.get("prompt_path")),) if captions == "prompt_file" else ()
    found.sources.append(
        Source(
            name,
            text_of(row.get("path")),
            _balanced(found, name, row),
            prior,
            row.get("include_subdirectories") is True,
            captions,
            prompts,
        )
    )
    weight = finite(row.get("loss_weight", 1.0))
    if weight not in (None, 1.0):
        found.changed.append(f"loss_weight {weight:g} of {name}: not taken; repeats weight a folder here")
    for key, value in {**image, **text}.items():
        switch = key.startswith("enable_") or key.endswith("_enable")
        if switch and value is True and key != "enable_crop_jitter":
            found.changed.append(f"{clean(key, 40)} of {name}: {_INSTEAD.get(key, 'not taken')}")
        elif not switch and key not in _OF_TEXT and not key.startswith(_ONLY_IF_ON) and value:
            found.changed.append(f"{clean(key, 40)} of {name}: not understood")
    found.changed += [f"{clean(key, 40)} of {name}: not understood" for key in row if key not in _OF_CONCEPT]


def _balanced(found: FolderList, name: str, row: Mapping[str, Any]) -> int:
    written = row.get("balancing", row.get("repeats", 1.0))
    value = finite(written)
    strategy = row.get("balancing_strategy", "REPEATS")
    if strategy != "REPEATS" or value is None:
        found.changed.append(f"balancing {clean(written, 20)} {clean(strategy, 20)} of {name}: taken as 1 repeat")
        return 1
    repeats = min(MOST_REPEATS, max(1, round(value)))
    if repeats != value:
        found.changed.append(f"balancing {value:g} of {name}: taken as {repeats}")
    return repeats
