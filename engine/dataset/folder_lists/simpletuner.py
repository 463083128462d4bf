"""SimpleTuner's data backends: `DATALOADER.md` and `prompts.py` say what their values mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset.folder_lists.source import MOST_REPEATS, FolderList, Source
from loratui.engine.dataset.folder_lists.source import text as text_of
from loratui.engine.untrusted import finite
from loratui.engine.words import count

_CACHES = ("text_embeds", "image_embeds", "conditioning_image_embeds", "distillation_cache")
REGULARISATION = ("is_regularisation_data", "is_regularization_data")
"""Both spellings of what marks a set of regularisation images."""
_OF_BACKEND = ("id", "type", "dataset_type", "instance_data_dir", "disabled", "disable", "caption_strategy", "instance_prompt",
               "prepend_instance_prompt", "only_instance_prompt", "repeats", *REGULARISATION, "disable_multiline_split", "parquet")  # fmt: skip
_IDLE = ("cache_dir", "text_embeds", "image_embeds", "vae_cache", "text_cache", "write_batch_size", "metadata_backend", "metadata_update",
         "hash_filenames", "skip_file_discovery", "preserve_data_backend_cache", "text_encoder_batch_size", "default")  # fmt: skip
"""Beginnings of keys about caches and files of its own, which mean nothing here."""


def backend(found: FolderList, name: str, row: Mapping[str, Any]) -> None:
    """Takes a backend into the list."""
    kind, place = row.get("dataset_type", "image"), row.get("type", "local")
    if row.get("disabled") is True or row.get("disable") is True:
        found.left_out.append((name, "is switched off there"))
    elif kind in _CACHES:
        return
    elif kind != "image":
        found.left_out.append((name, f"is a dataset of the kind {clean(kind, 30)}, which is not trained here"))
    elif place != "local":
        found.left_out.append((name, f"lies on {clean(place, 30)}, and not on this machine"))
    else:
        _local(found, name, row)


def _local(found: FolderList, name: str, row: Mapping[str, Any]) -> None:
    prompts = row.get("instance_prompt")
    texts = tuple(map(text_of, prompts)) if isinstance(prompts, list) else (text_of(prompts),)
    texts = tuple(text for text in texts if text)
    strategy = text_of(row.get("caption_strategy"))
    captions: Any = {"instanceprompt": "fixed", "instance_prompt": "fixed", "textfile": "files", "parquet": "files"}.get(
        strategy, "filename"
    )
    if strategy == "parquet":
        found.changed.append(f"parquet of {name}: captions come from caption files and lists beside the images")
    elif strategy and strategy not in ("filename", "textfile", "instanceprompt", "instance_prompt"):
        found.changed.append(f"caption_strategy {clean(strategy, 30)} of {name}: captions come from the names of the images")
    if row.get("only_instance_prompt") is True:
        captions = "fixed"
    again = finite(row.get("repeats", 0))
    repeats = min(MOST_REPEATS, max(1, round(again or 0) + 1))  # 0 shows each image once
    if again is None or repeats != again + 1:
        found.changed.append(
            f"repeats {clean(row.get('repeats'), 20)} of {name}: each image is shown {count(repeats, 'time')} an epoch"
        )
    found.sources.append(
        Source(
            name,
            text_of(row.get("instance_data_dir")),
            repeats,
            any(row.get(key) is True for key in REGULARISATION),
            deep=True,
            captions=captions,
            texts=texts if captions == "fixed" else (),
            prefix=texts[0] if texts and row.get("prepend_instance_prompt") is True and captions != "fixed" else "",
            lines="whole" if row.get("disable_multiline_split") is True else "each",
        )
    )
    found.changed += [f"{key} of {name}: not taken" for key in _others(row)]


def _others(row: Mapping[str, Any]) -> Iterator[str]:
    for key, value in row.items():
        if value not in (None, "", False, 0) and key not in _OF_BACKEND and not key.startswith(_IDLE):
            yield f"{clean(key, 40)} {clean(value, 30)}"
