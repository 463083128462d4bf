"""Reading the program's TOML files strictly: an error names the file, the line, the key and the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.presets.schema import FORMAT, KEYS, SECTIONS, SchemaError, Settings, check, nearest, replace, shown
from loratui.presets.toml_text import parse_toml, read_text


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Source and table of a TOML file of this program's format.

    Raises `SchemaError` for a file that cannot be read, is no TOML, or has a newer format.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SchemaError(f"{path}: {error}") from None
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise SchemaError(f"{path}: is not valid TOML: {error}") from None
    version = table.get("format", FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SchemaError(f"{located(str(path), text, '', 'format')}format: expected {FORMAT}")
    if version > FORMAT:
        raise SchemaError(f"{path}: has format {shown(version)}; this loratui reads up to {FORMAT}: use a newer loratui")
    return text, table


def read_settings(
    table: Mapping[str, Any], *, start: Settings | None = None, origin: str = "", text: str = "", prefix: str = ""
) -> tuple[Settings, frozenset[str]]:
    """Settings from parsed TOML, over `start` (defaults if absent), and the dotted keys that it set.

    `origin` names the file in errors; `text` is its source, from which the line is found; `prefix` is the
    TOML path in front of the sections, such as `variants.prodigy.`.
    """
    changes: dict[str, Any] = {}
    for section, values in table.items():
        if section not in SECTIONS:
            at = located(origin, text, "", f"{prefix}{section}")
            raise SchemaError(f"{at}[{section}]: no such section{nearest(section, SECTIONS)}")
        if not isinstance(values, Mapping):
            raise SchemaError(f"{located(origin, text, '', section)}{section}: expected a section [{section}]")
        for name, value in values.items():
            try:
                changes[f"{section}.{name}"] = _known_value(section, name, value)
            except SchemaError as error:  # the line is looked for only now, since that takes time
                raise SchemaError(f"{located(origin, text, f'{prefix}{section}', name)}{error}") from None
    return replace(start or Settings(), changes), frozenset(changes)


def _known_value(section: str, name: str, value: Any) -> Any:
    dotted = f"{section}.{name}"
    if dotted in KEYS:
        return check(KEYS[dotted], value)
    near = nearest(name, [k.split(".")[1] for k in KEYS if k.startswith(section + ".")])
    elsewhere = next((k for k in KEYS if k.endswith("." + name)), "")
    hint = f"; it belongs to [{elsewhere.split('.')[0]}]" if elsewhere else near
    raise SchemaError(f"{dotted}: no such key{hint}")


def located(origin: str, text: str, section: str, name: str) -> str:
    """`FILE, line N: `, the beginning of a message about `name` in `[section]`; empty without an `origin`."""
    if not origin:
        return ""
    line = _line_of(text, section, name)
    return f"{origin}, line {line}: " if line else f"{origin}: "


def _line_of(text: str, section: str, name: str) -> int:
    """Line (from 1) at which `name` is set in `[section]`, or a section itself begins; 0 if not found."""
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("["):
            current = line.lstrip("[ \t").partition("]")[0].strip("\"' \t")
            if not section and (current == name or current.startswith(name + ".")):
                return number
            if section and current == f"{section}.{name}":
                return number
            continue
        before, equals, _ = line.partition("=")
        set_here = before.strip("\"' \t") if equals else ""
        if set_here and current == section and set_here == name:
            return number
        if set_here and section and current == "" and set_here == f"{section}.{name}":
            return number
    return 0
