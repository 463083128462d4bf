"""Private addresses and keys, for what is done when a run has ended: from the environment, else from a file that only its owner reads.

None of them is written into a run, a log, an event or a command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.secrecy import HIDDEN, hidden
from loratui.engine.untrusted import read_json
from loratui.presets import user_folder

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "webhook_url": ("LORATUI_WEBHOOK_URL",),
    "ntfy_url": ("LORATUI_NTFY_URL",),
    "ntfy_token": ("LORATUI_NTFY_TOKEN",),
    "runpod_api_key": ("RUNPOD_API_KEY",),
    "vast_api_key": ("CONTAINER_API_KEY", "VAST_API_KEY"),
}
"""Name in the file -> variables that come before it."""


def file() -> Path:
    """Where they are kept; it need not exist."""
    return user_folder().parent / "addresses.json"


def kept() -> dict[str, str]:
    """What the file holds. Raises `UsageError` for one that others can read."""
    path = file()
    try:
        found = path.stat()
        table = read_json(path, TINY_FILE_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}", "Correct it, or delete it and give the addresses again.") from None
    if found.st_mode & 0o077:
        raise UsageError(f"{path} can be read by others.", f"Close it: chmod 600 {path}")
    values = table.items() if isinstance(table, dict) else ()
    return {name: value for name, value in values if name in VARIABLES and isinstance(value, str)}


def keep(name: str, value: str) -> None:
    """Keeps an address, or forgets it if `value` is empty. Raises `DiskError`, `UsageError`."""
    if any(character.isspace() or not character.isprintable() for character in value):
        raise UsageError(f"{name}: an address or key has no spaces.", "Give it again.")
    if name.endswith("_url") and value and not value.startswith(("https://", "http://")):
        raise UsageError(f"{name}: an address begins with https://", "Give it again.")
    values = {**kept(), name: value}
    durable.make_directory(file().parent)
    durable.write_json(file(), {one: text for one, text in values.items() if text})


def address(name: str, environ: Mapping[str, str] | None = None) -> str:
    """One of `VARIABLES`; empty if it is nowhere. Raises `UsageError` for a file that others can read."""
    env = os.environ if environ is None else environ
    return next((env[variable] for variable in VARIABLES[name] if env.get(variable)), "") or kept().get(name, "")


def blotted(text: str, environ: Mapping[str, str] | None = None) -> str:
    """`text` without secrets: those that `secrecy.hidden` knows, and all of these."""
    env = os.environ if environ is None else environ
    try:
        values = set(kept().values())
    except UsageError:  # then none of them is used
        values = set()
    values |= {env[variable] for variables in VARIABLES.values() for variable in variables if env.get(variable)}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return hidden(text, env)
