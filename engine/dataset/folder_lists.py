"""Reads the files in which OneTrainer and SimpleTuner list the folders of a dataset, as data; nothing of the folders is read.

Facts: OneTrainer's `ConceptConfig` and `DataLoaderText2ImageMixin`, SimpleTuner's `DATALOADER.md` and `prompts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loratui.engine.cleaning import clean
from loratui.engine.untrusted import Unreadable, finite, read_json
from loratui.engine.words import count

MOST_BYTES = 1 << 24
MOST_FOLDERS = 500
MOST_REPEATS = 999
"""As the number of an `N_name` folder."""


@dataclass(frozen=True)
class Source:
    """One folder of a list."""

    name: str
    folder: str
    """As it is written; it may be of another machine."""
    repeats: int = 1
    regularisation: bool = False
    deep: bool = False
    """Whether its subfolders belong to it."""
    captions: Literal["files", "filename", "fixed", "prompt_file"] = "files"
    texts: tuple[str, ...] = ()
    """Captions of every image, where they are fixed; the path of the file that holds them, a line each, for `prompt_file`."""
    prefix: str = ""
    """Stands before each caption."""
    by_line: bool = True
    """Whether each line of a caption file is a caption of its own."""


@dataclass
class FolderList:
    """What a list says."""

    tool: str
    sources: list[Source] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(name of a folder, why it is not taken; it continues the name to a sentence)."""
    changed: list[str] = field(default_factory=list)
    """What means something else here, or is not taken, in words."""


def read(path: Path) -> FolderList | None:
    """The folders in a list; None for another kind of file. Raises `Unreadable` for one that is no JSON."""
    table = read_json(path, MOST_BYTES)
    rows = table.get("concepts") if isinstance(table, dict) else table
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows[:MOST_FOLDERS]):
        return None
    rows = rows[:MOST_FOLDERS]
    if any(isinstance(row.get("instance_data_dir"), str) for row in rows):
        return _read(FolderList("SimpleTuner"), rows, _backend)
    if any(isinstance(row.get("path"), str) and row.keys() & {"image", "text", "include_subdirectories"} for row in rows):
        return _read(FolderList("OneTrainer"), rows, _concept)
    return None


def is_list(path: Path) -> bool:
    """Whether a file lists folders; False for a file that cannot be read."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        return read(path) is not None
    except Unreadable:
        return False


def _read(found: FolderList, rows: Sequence[Any], one: Callable[[FolderList, str, Mapping[str, Any]], None]) -> FolderList:
    taken: set[str] = set()
    for at, row in enumerate(rows, 1):
        folder = _text(row.get("path") or row.get("instance_data_dir"))
        wanted = clean(_text(row.get("name") or row.get("id")) or folder.replace("\\", "/").rstrip("/").rpartition("/")[2], 60)
        name = wanted or f"folder {at}"
        while name.lower() in taken:
            name = f"{name}-{at}"
        taken.add(name.lower())
        one(found, name, row)
    return found


# OneTrainer

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


def _concept(found: FolderList, name: str, row: Mapping[str, Any]) -> None:
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
    text, image = (_table(row.get(key)) for key in ("text", "image"))
    source = text.get("prompt_source", "sample")
    captions: Any = {"concept": "prompt_file", "filename": "filename"}.get(source, "files")
    if source not in ("sample", "concept", "filename"):
        found.changed.append(f"prompt_source {clean(source, 30)} of {name}: captions are read from files")
    prompts = (_text(text.get("prompt_path")),) if captions == "prompt_file" else ()
    found.sources.append(
        Source(
            name,
            _text(row.get("path")),
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


# SimpleTuner

_CACHES = ("text_embeds", "image_embeds", "conditioning_image_embeds", "distillation_cache")
_OF_BACKEND = ("id", "type", "dataset_type", "instance_data_dir", "disabled", "disable", "caption_strategy", "instance_prompt",
               "prepend_instance_prompt", "only_instance_prompt", "repeats", "is_regularisation_data", "disable_multiline_split",
               "parquet")  # fmt: skip
_IDLE = ("cache_dir", "text_embeds", "image_embeds", "vae_cache", "text_cache", "write_batch_size", "metadata_backend", "metadata_update",
         "hash_filenames", "skip_file_discovery", "preserve_data_backend_cache", "text_encoder_batch_size", "default")  # fmt: skip
"""Beginnings of keys about caches and files of its own, which mean nothing here."""


def _backend(found: FolderList, name: str, row: Mapping[str, Any]) -> None:
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
    texts = tuple(map(_text, prompts)) if isinstance(prompts, list) else (_text(prompts),)
    texts = tuple(text for text in texts if text)
    strategy = _text(row.get("caption_strategy"))
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
            _text(row.get("instance_data_dir")),
            repeats,
            row.get("is_regularisation_data") is True,
            deep=True,
            captions=captions,
            texts=texts if captions == "fixed" else (),
            prefix=texts[0] if texts and row.get("prepend_instance_prompt") is True and captions != "fixed" else "",
            by_line=row.get("disable_multiline_split") is not True,
        )
    )
    found.changed += [f"{key} of {name}: not taken" for key in _others(row)]


def _others(row: Mapping[str, Any]) -> Iterator[str]:
    for key, value in row.items():
        if value not in (None, "", False, 0) and key not in _OF_BACKEND and not key.startswith(_IDLE):
            yield f"{clean(key, 40)} {clean(value, 30)}"


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
