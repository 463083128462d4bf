"""sd-scripts' dataset files, which FluxGym writes too: `config_util.py` and `train_util.py` say what their values mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset.file_kinds import CAPTION_SUFFIXES
from loratui.engine.dataset.folder_lists.source import MOST_REPEATS, FolderList, Source
from loratui.engine.dataset.folder_lists.source import table as table_of
from loratui.engine.dataset.folder_lists.source import text as text_of

_KNOWN = ("image_dir", "num_repeats", "class_tokens", "is_reg", "caption_extension", "enable_wildcard", "caption_prefix",
          "caption_suffix", "cache_info", "debug_dataset")  # fmt: skip
_INSTEAD = {
    "enable_wildcard": "set dataset.caption_choice to line+wildcards",
    "metadata_file": "captions come from caption files and lists in the folder",
    "flip_aug": "set dataset.flip",
    "shuffle_caption": "set dataset.shuffle_captions",
    "keep_tokens": "set dataset.keep_tokens",
    "resolution": "set dataset.resolution",
    "batch_size": "set training.batch_size",
    "alpha_mask": "set dataset.masks",
    "conditioning_data_dir": "set dataset.masks",
}


def is_dataset(table: Mapping[str, Any]) -> bool:
    """Whether a TOML table is such a file."""
    return any(isinstance(subset.get("image_dir") or subset.get("metadata_file"), str) for _, _, subset in _subsets(table))


def read(table: Mapping[str, Any]) -> FolderList:
    """The folders of a dataset file. Values of a subset count before those of its dataset, and these before the general ones."""
    found = FolderList("sd-scripts")
    seen: set[tuple[int, str]] = set()
    names: set[str] = set()
    for number, above, subset in _subsets(table):
        row = {**table_of(table.get("general")), **above, **subset}
        folder, words = text_of(row.get("image_dir")), clean(text_of(row.get("class_tokens")), 60)
        name = words or clean(folder.replace("\\", "/").rstrip("/").rpartition("/")[2], 60) or f"folder {len(seen) + 1}"
        while name.lower() in names:
            name = f"{name}-{len(seen) + 1}"
        names.add(name.lower())
        if (number, folder) in seen:
            found.left_out.append((name, "is there twice in one dataset"))
            continue
        seen.add((number, folder))
        _take(found, name, folder, row)
    return found


def _subsets(table: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
    """Number of the dataset, its own values, a subset of it."""
    datasets = table.get("datasets")
    for number, dataset in enumerate(datasets if isinstance(datasets, list) else ()):
        own = table_of(dataset)
        subsets = own.get("subsets")
        for subset in subsets if isinstance(subsets, list) else ():
            yield number, {key: value for key, value in own.items() if key != "subsets"}, table_of(subset)


def _take(found: FolderList, name: str, folder: str, row: Mapping[str, Any]) -> None:
    written = row.get("num_repeats", 1)
    whole = written if isinstance(written, int) and not isinstance(written, bool) else None
    if whole is not None and whole < 1:
        found.left_out.append((name, f"has num_repeats {whole}, which sd-scripts leaves out"))
        return
    repeats = min(MOST_REPEATS, whole or 1)
    if repeats != whole:
        found.changed.append(f"num_repeats {clean(written, 20)} of {name}: taken as {repeats}")
    ending = text_of(row.get("caption_extension"))
    if ending and ending.lower() not in CAPTION_SUFFIXES:
        found.changed.append(f"caption_extension {clean(ending, 20)} of {name}: captions are read from .txt and .caption files")
    wildcards = row.get("enable_wildcard") is True
    found.sources.append(
        Source(
            name,
            folder,
            repeats,
            row.get("is_reg") is True,
            named=bool(text_of(row.get("class_tokens"))),
            prefix=text_of(row.get("caption_prefix")),
            suffix=text_of(row.get("caption_suffix")),
            lines="each" if wildcards else "first",
        )
    )
    for key, value in row.items():
        if (key in _INSTEAD and value) or (key not in _KNOWN and value not in (None, "", False, 0, 0.0)):
            found.changed.append(f"{clean(key, 40)} {clean(value, 30)} of {name}: {_INSTEAD.get(key, 'not taken')}")
