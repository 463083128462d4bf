"""What a person sets for the app itself: theme, bell, title and price in `app.toml`, other keys in `keys.toml`."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.untrusted import finite
from loratui.engine.words import count, number
from loratui.tui import themes
from loratui.tui.bindings import KEYS, Key, written
from loratui.tui.keymap import remapped

FORMAT = 1
_LARGEST = 1 << 15
"""Letters of either file; all that they can hold is less than a third of it, and tomlkit is slow."""
_MOST_ROWS = 200

_KEY_NAME = re.compile(r"(ctrl\+|alt\+|shift\+)*([a-zA-Z0-9]|f1?[0-9]|[a-z]{2,}(_[a-z]+)*)")
_TAKEN = {"ctrl+c", "ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+s", "ctrl+q", "ctrl+z"}
"""What a terminal takes for itself, or cannot tell from enter, tab and backspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """The values of `app.toml`."""

    theme: str = themes.short(themes.DEFAULT)
    """dark, light, high-contrast or colour-blind."""
    bell: bool = True
    """Whether the terminal's bell rings when a run ends, crashes or runs out of disk."""
    title: bool = True
    """Whether the window's title tells the progress of the run."""
    price_per_hour: float = 0.0
    """Price of this machine an hour, in the person's own currency; 0: unknown."""
    told_of_colours: bool = False
    """Whether the way from 256 colours to all of them has been told."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings as read, with what could not be used."""

    settings: AppSettings
    keys: tuple[Key, ...]
    """The table of keys with the person's own."""
    keymap: Mapping[str, str]
    """Id of a key -> Textual's names, for those that are the person's own."""
    problems: tuple[str, ...]


def config_folder() -> Path:
    """Where `app.toml` and `keys.toml` are looked for; `LORATUI_CONFIG` names another folder."""
    configured = os.environ.get("LORATUI_CONFIG")
    if configured:
        return Path(configured)
    from platformdirs import user_config_path

    return user_config_path("loratui")


def load(folder: Path | None = None) -> Loaded:
    """The person's settings. What cannot be used keeps its default and is told in `problems`; nothing is raised."""
    folder = folder or config_folder()
    if not any((folder / name).exists() for name in ("app.toml", "keys.toml")):
        return Loaded(AppSettings(), KEYS, {}, ())
    from loratui.presets.toml_file import located

    problems: list[str] = []
    settings = _read_app(folder / "app.toml", problems)
    wanted = _read_keys(folder / "keys.toml", problems)
    table, clashes = remapped(wanted)
    path = folder / "keys.toml"
    text, _ = _source(path)
    for id, words in clashes.items():
        at = located(str(path), text, "", id)
        problems.append(f"{at}{id}: {words}; it keeps {written(_default(id).keys.split(',')[0])}")
    keymap = {id: names for id, names in wanted.items() if id not in clashes}
    return Loaded(settings, table, keymap, tuple(problems))


def save(settings: AppSettings, folder: Path | None = None) -> None:
    """Writes `app.toml`, keeping what else stands in it. Raises `DiskError` or `UsageError`."""
    import tomlkit

    from loratui.engine import durable
    from loratui.presets.toml_text import parse_toml

    path = (folder or config_folder()) / "app.toml"
    values = {"format": FORMAT, **dataclasses.asdict(settings)}
    text, problem = _source(path)
    try:
        parse_toml(text)  # tells what is too deep for the other parser, which keeps comments
        document = tomlkit.parse(text)
        document.update(values)
        kept = tomlkit.dumps(document)
        usable = not problem and _holds(kept, values)
    except (ValueError, LookupError, AttributeError):  # the last two are of tomlkit's own making
        usable = False
    if not usable:
        document = tomlkit.document()
        document.add(tomlkit.comment("Rewritten: the earlier content could not be used."))
        document.update(values)
        kept = tomlkit.dumps(document)
    durable.make_directory(path.parent)
    durable.write_file(path, kept.encode("utf-8"))


def _holds(text: str, values: Mapping[str, Any]) -> bool:
    """Whether a text that was put together is read again as it was meant."""
    from loratui.presets.toml_text import parse_toml

    table = parse_toml(text)
    return (
        len(text) <= _LARGEST and len(table) <= _MOST_ROWS and all(table.get(name) == value for name, value in values.items())
    )


def _read_app(path: Path, problems: list[str]) -> AppSettings:
    from loratui.presets.schema import nearest
    from loratui.presets.toml_file import located

    text, table = _parsed(path, problems)
    known = dataclasses.asdict(AppSettings())
    values: dict[str, Any] = {}
    for name, value in table.items():
        at = located(str(path), text, "", name)
        if name == "format":
            continue
        if name not in known:
            problems.append(f"{at}{name}: no such setting of the app{nearest(name, known)}")
            continue
        problem = _unfit(name, value, known[name])
        if problem:
            problems.append(f"{at}{name}: {problem}")
        else:
            values[name] = type(known[name])(value)
    return AppSettings(**values)


def _unfit(name: str, value: Any, default: Any) -> str:
    """Why a value cannot be used; empty if it can."""
    from loratui.presets.schema import nearest

    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "expected true or false"
    if isinstance(default, float):
        number = finite(value)
        return "" if number is not None and number >= 0 else "expected a number that is not below 0"
    if name == "theme":
        names = [themes.short(theme.name) for theme in themes.THEMES]
        return "" if value in names else f"no such theme; choose one of {', '.join(names)}{nearest(str(value), names)}"
    return "" if isinstance(value, str) else "expected text in quotes"


def _read_keys(path: Path, problems: list[str]) -> dict[str, str]:
    """Id -> names of keys, of what can be read."""
    from loratui.presets.schema import SchemaError, nearest
    from loratui.presets.toml_file import located

    text, table = _parsed(path, problems)
    wanted: dict[str, str] = {}
    ids = {key.id for key in KEYS}
    for written_id, value in table.items():
        id = written_id.replace("picture", "image")  # what they were called earlier
        at = located(str(path), text, "", id)
        if id == "format":
            continue
        if id not in ids:
            problems.append(f"{at}{id}: no such command{nearest(id, ids)}")
            continue
        try:
            wanted[id] = _key_names(value)
        except SchemaError as error:
            problems.append(f"{at}{id}: {error}")
    return wanted


def _key_names(value: Any) -> str:
    """Textual's names for what a person wrote: `"p"`, `"?"`, `"ctrl+p, f6"` or a list of those."""
    from loratui.presets.schema import SchemaError
    from loratui.tui.terminal.textual_private import key_name

    if isinstance(value, str):
        items = [value] if len(value) == 1 else value.split(",")
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        items = value
    else:
        raise SchemaError('expected a key in quotes, such as "p" or "ctrl+p, f6"')
    names = []
    for item in (item.strip() or item for item in items):
        name = key_name(item) if len(item) == 1 else item.lower() if "+" in item else item
        name = {"esc": "escape", "return": "enter"}.get(name, name)
        if not _KEY_NAME.fullmatch(name):
            raise SchemaError(f"{item!r} is not a key; keys are letters, digits, f1 to f12, ctrl+letter, enter, space, tab …")
        if name in _TAKEN:
            raise SchemaError(f"{name} is taken by terminals themselves; choose another")
        names.append(name)
    return ",".join(names)


def _source(path: Path) -> tuple[str, str]:
    """The text of a file, and why there is none; both are empty where there is no file."""
    from loratui.presets.toml_text import read_text

    try:
        text = read_text(path)
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        return "", f"{path}: cannot be read: {error.strerror}"
    except ValueError as error:
        return "", f"{path}: {error}"
    if len(text) > _LARGEST:
        return "", f"{path}: is longer than {number(_LARGEST)} letters"
    return text, ""


def _parsed(path: Path, problems: list[str]) -> tuple[str, dict[str, Any]]:
    """The text of a file and its table, of which only so much is taken as there can be."""
    from loratui.presets.schema import shown
    from loratui.presets.toml_text import parse_toml

    text, problem = _source(path)
    try:
        table = {} if problem else parse_toml(text)
    except ValueError as error:
        table, problem = {}, f"{path}: is not valid TOML: {error}"
    version = table.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        table, problem = {}, f"{path}: has format {shown(version)}; this loratui reads up to {FORMAT}"
    if len(table) > _MOST_ROWS:
        table, problem = {}, f"{path}: has {count(len(table), 'value')}; no more than {_MOST_ROWS} are read"
    if problem:
        problems.append(problem)
    return text, table


def _default(id: str) -> Key:
    return next(key for key in KEYS if key.id == id)
