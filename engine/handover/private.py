"""What must not leave this machine with a report or a model card: paths, names of photos, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from loratui.engine import words
from loratui.engine.cleaning import clean_lines
from loratui.engine.machine.hub_cache import parse_id
from loratui.engine.secrecy import hidden
from loratui.presets import schema
from loratui.presets.schema import Settings

UNSAID = frozenset({"dataset.path", "schedule.continue_run", "output.planned_from", "output.name"})
"""Settings that say nothing to other people, and may name a person."""
_UNSAID_SECTIONS = ("when_finished",)
_PATH = re.compile(r"(?<![\w:/.<])(?:~|\.{1,2})?/(?:[^\s/'\"<>]+/)+([^\s/'\"<>]*)")
"""A path of two parts or more; an address with a scheme is none."""

_CACHED = re.compile(r"/models--([\w.-]+?)--([\w.-]+)/snapshots/")
"""How huggingface_hub keeps `owner/name`."""

_FILES = (".safetensors", ".sft", ".ckpt", ".pt")


class Private:
    """Takes names and places out of texts."""

    def __init__(self, photos: Iterable[str] = (), folders: Iterable[Path] = ()) -> None:
        """`photos`: their paths in the dataset, which become `photo 1`, `photo 2` …; `folders` go as a whole, also those with spaces."""
        self._numbers: Mapping[str, str] = {name: f"photo {at}" for at, name in enumerate(dict.fromkeys(photos), 1)}
        longest = sorted((name for name in self._numbers if name), key=len, reverse=True)
        self._names = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest))})(?![\w/-])") if longest else None
        self._folders = sorted({str(folder) for folder in folders if len(folder.parts) > 1}, key=len, reverse=True)

    def photo(self, name: str) -> str:
        """What a photo is called."""
        return self._numbers.get(name) or self.text(name)

    def text(self, text: object) -> str:
        """A text without them."""
        said = hidden(clean_lines(text))
        for folder in self._folders:
            said = said.replace(f"{folder}/", "").replace(folder, "…")
        if self._names is not None:
            said = self._names.sub(lambda found: self._numbers[found[0]], said)
        return _PATH.sub(r"\1", said)

    def settings(self, settings: Settings) -> dict[str, str]:
        """The settings that may be told, as people type them, by their keys."""
        told = {}
        for key in schema.KEYS:
            if key in UNSAID or key.split(".")[0] in _UNSAID_SECTIONS:
                continue
            value = schema.get(settings, key)
            if key in schema.PATHS:
                told[key] = place(str(value))
            elif isinstance(value, (tuple, list)):
                told[key] = ", ".join(self.text(words.typed(one)) for one in value)
            else:
                told[key] = self.text(words.typed(value))
        return told


def place(value: str) -> str:
    """A base or file as it may be named: a model of the hub or loratui's own in full, else the last part of its path."""
    if (kept := _CACHED.search(value)) is not None:
        return hidden(f"{kept[1]}/{kept[2]}")
    named = parse_id(value)
    if value.startswith("embedded:") or (
        named is not None and not Path(value).expanduser().exists() and not value.endswith(_FILES)
    ):
        return hidden(clean_lines(value))
    return hidden(clean_lines(PurePath(value).name))
