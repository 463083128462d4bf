"""Reads the files of other trainers within bounds: JSON, YAML, TOML, scripts, and the metadata of LoRA files."""

from __future__ import annotations

import shlex
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.errors import UsageError
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.limits import SMALL_FILE_BYTES
from loratui.engine.untrusted import MOST_DEPTH, Unreadable, read_json, read_text
from loratui.presets.toml_text import parse_toml

MOST_ALIASES = 20
"""Of a YAML file; more could stand for millions of values."""
MOST_VALUES = 20_000
"""Of any file, counted through aliases: the largest real ones have a thousand."""
ENDINGS = (".json", ".toml", ".yaml", ".yml", ".sh", ".bat", ".safetensors")
_REMEDY = "Choose the file that the trainer saved."


def read(path: Path) -> Any:
    """What a file holds: a table, a list, or for a script the words of its training command. Raises `UsageError`."""
    ending = path.suffix.lower()
    try:
        if ending == ".safetensors":
            return dict(read_header(path).metadata)
        if ending == ".json":
            found = read_json(path, unique=True)
        else:
            text = read_text(path, SMALL_FILE_BYTES)
            found = parse_toml(text) if ending == ".toml" else parse_yaml(text) if ending in (".yaml", ".yml") else script(text)
    except (Unreadable, ValueError) as error:
        said = error.strerror if isinstance(error, Unreadable) else str(error)
        raise UsageError(clean(f"{path}: cannot be read as settings: {said}", 600), _REMEDY) from None
    _bounded(found, path)
    return found


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: no tags but the plain ones, few aliases, no name twice. Raises `ValueError`."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A safe loader that refuses names that stand twice, since the last would silently win."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            names = [child.value for child, _ in node.value if isinstance(child, yaml.ScalarNode) and child.value != "<<"]
            twice = next((name for name in names if names.count(name) > 1), None) if len(names) <= MOST_VALUES else ""
            if twice is not None:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {twice[:60]!r} stands twice in a table", node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        depth = aliases = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            if depth > MOST_DEPTH or aliases > MOST_ALIASES:
                raise ValueError(f"it has more than {MOST_DEPTH} levels or {MOST_ALIASES} aliases")
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML that holds only values: {error}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is more than can be taken in") from None


def script(text: str) -> dict[str, Any]:
    """The arguments of the training command in a shell script, and under `script` the name of its program.

    Nothing is run. Raises `ValueError` for a text without such a command.
    """
    text = text.replace("\r\n", "\n")
    if "^\n" in text:  # a batch file, in whose paths a backslash is a slash
        text = text.replace("\\", "\\\\")
    joined = text.replace("\\\n", " ").replace("^\n", " ")
    line = next((line for line in joined.splitlines() if "train" in line and ".py" in line), "")
    if not line:
        raise ValueError("it has no command that trains; other settings end in .json, .toml, .yaml or .yml")
    words = shlex.split(line)
    at = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
    if at is None:
        raise ValueError("it has no command that trains")
    launch = command(words[:at])
    several = {"num_processes": launch["num_processes"]} if "num_processes" in launch else {}
    shown = " ".join(name for name in launch if name not in several)
    return {"script": words[at].replace("\\", "/").rpartition("/")[2], **several, **command(words[at + 1 :]), "launch": shown}


def command(words: list[str]) -> dict[str, Any]:
    """`--name value …` words as a table; a name without a value is true, one with several has a list."""
    found: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else True
        elif name:
            before = found[name]
            found[name] = word if before is True else [*before, word] if isinstance(before, list) else [before, word]
    return found


def flatten(value: Any, prefix: str = "", whole: tuple[str, ...] = ()) -> dict[str, Any]:
    """A nested table as `a.b` names; the first table of a list stands under the list's name, the others under `list[1]`.

    Names in `whole` keep their value as it is.
    """
    found: dict[str, Any] = {}
    for name, item in value.items():
        key = f"{prefix}{name}"
        if key in whole:
            found[key] = item
        elif isinstance(item, dict) and item:
            found |= flatten(item, f"{key}.", whole)
        elif isinstance(item, list) and item and all(isinstance(part, dict) for part in item):
            for at, part in enumerate(item):
                found |= flatten(part, f"{key}." if at == 0 else f"{key}[{at}].", whole)
        else:
            found[key] = item
    return found


def _bounded(value: Any, path: Path) -> None:
    """Refuses what would stand for more values than any file has, however few letters it takes."""
    waiting, count = [value], 0
    while waiting:
        item = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise UsageError(f"{path}: it holds more than {MOST_VALUES:,} values.", _REMEDY)
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
