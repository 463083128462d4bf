"""Completion in the shell, through argcomplete: names of runs, presets and settings, else files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import argcomplete


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell with the words that `parser` takes next, and ends the process."""
    for action in _actions(parser):
        completer = _COMPLETERS.get(action.dest)
        if completer is not None:
            action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it
    argcomplete.autocomplete(parser)


def runs(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the runs, newest first; those of `--home` if it was given."""
    from loratui.engine.errors import LoratuiError
    from loratui.engine.runs.directory import list_runs, loratui_home

    named = getattr(parsed_args, "home", None)
    try:
        return [run.name for run in list_runs(Path(named).expanduser() if named else loratui_home())]
    except LoratuiError:
        return []


def sweeps(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of the sweeps, newest first."""
    from loratui.engine.errors import LoratuiError
    from loratui.engine.runs.directory import loratui_home
    from loratui.engine.runs.sweeps import list_sweeps

    named = getattr(parsed_args, "home", None)
    try:
        return [sweep.name for sweep in list_sweeps(Path(named).expanduser() if named else loratui_home())]
    except LoratuiError:
        return []


def presets(**_: Any) -> list[str]:
    """Names of the presets and their variants."""
    from loratui.presets import find_presets

    found = find_presets().presets
    return [name for preset in found for name in (preset.name, *(variant.name for variant in preset.variants.values()))]


def settings(prefix: str, **_: Any) -> list[str]:
    """`adapter.rank=` and all others, for --set; after the sign the values, if they are few."""
    from loratui.presets.schema import KEYS

    key, equals = prefix.partition("=")[:2]
    if not equals:
        return [f"{name}=" for name in KEYS]
    values = ("true", "false") if key in KEYS and KEYS[key].type is bool else KEYS[key].choices if key in KEYS else ()
    return [f"{key}={value}" for value in values]


_COMPLETERS = {"run_name": runs, "preset": presets, "sets": settings, "over": settings, "sweep": sweeps}
"""By the name of the argument in the parsers of all commands."""


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The parser's own arguments and those of its commands."""
    own = list(parser._actions)
    commands = [action for action in own if isinstance(action, argparse._SubParsersAction)]
    return own + [inner for command in commands for sub in command.choices.values() for inner in _actions(sub)]
