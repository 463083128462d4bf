"""Paths as people type and paste them: with `~`, a shell's quotes and escapes, or as a file URL; and their completion."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

from loratui.tui.terminal import clean

_MODEL = (".safetensors", ".sft")
ENDINGS: dict[str, tuple[str, ...]] = {
    "dataset.path": (".zip", ".json", ".toml"),
    "base.model": _MODEL,
    "base.text_encoder": _MODEL,
    "base.text_encoder_2": _MODEL,
    "base.vae": _MODEL,
    "adapter.start_from": _MODEL,
    "schedule.continue_run": (),
    "output.planned_from": (),
}
"""Settings that hold a path -> endings of the files that are offered there beside folders, in lower case."""

_NEEDS_ESCAPE = re.compile(r"[^\w@%+=:,./~-]")


def path_text(typed: str) -> str:
    """A path without what a shell or a file manager puts around it, a variable at its front filled in as a shell does (`$HOME`);
    a name that exists as it was typed stays as it is."""
    typed = typed.strip()
    if typed.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(typed).path)
    if not any(sign in typed for sign in "\\\"'$") or _exists(typed):
        return typed
    if typed[0] in ("'", '"') and typed[1:] and _exists(typed[1:]):  # Tab leaves the quote open, whatever the name holds
        return typed[1:]
    text = _unescaped(typed)
    return os.path.expandvars(text) if text.startswith("$") and not typed.startswith("'") else text


def path_from_text(typed: str) -> Path | None:
    """The path that a person typed, with `~` for the home folder; None for nothing."""
    text = path_text(typed)
    if not text:
        return None
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # ~ of somebody unknown
        return path


def completion(typed: str, endings: tuple[str, ...] = ()) -> str | None:
    """`typed` with the rest of the first name that begins so: a folder, or a file with one of the endings.

    The rest is escaped where the beginning was. None where nothing is to be added.
    """
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    given = typed[len(quote) :]
    escaped = not quote and "\\" in given
    text = _unescaped(given) if escaped else given
    if not text.strip() or text.endswith(("/..", "/.")) or (quote and quote in given):
        return None
    head, slash, start = text.rpartition("/")
    folder = path_from_text((head or "/") if slash else ".") or Path()
    try:
        names = sorted(e.name for e in folder.iterdir() if e.name.startswith(start) and _is_meant(e, endings))
    except (OSError, ValueError):  # ValueError: a null byte
        return None
    hidden = start.startswith(".")
    names = [name for name in names if name == clean(name) and (hidden or not name.startswith("."))]
    if not (names and start and names[0] != start):
        return None
    rest = names[0][len(start) :]
    return typed + (_NEEDS_ESCAPE.sub(r"\\\g<0>", rest) if escaped else rest)


def _unescaped(typed: str) -> str:
    """What a shell makes of it, if that is one word; else the text itself."""
    import shlex

    try:
        words = shlex.split(typed)
    except ValueError:  # a quote that is not closed, a backslash at the end
        return typed[1:] or typed if typed[0] in ("'", '"') else typed
    return words[0] if len(words) == 1 else typed


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_meant(entry: Path, endings: tuple[str, ...]) -> bool:
    return entry.suffix.lower() in endings or entry.is_dir()
