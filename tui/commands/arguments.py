"""The parser of the command line: short errors with what was probably meant, examples in each help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """Says in two lines what was wrong with the arguments, without sending on the control bytes that they may hold."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        if examples:
            options["epilog"] = "\n".join(["examples:", *(f"  {example}" for example in examples)])
        super().__init__(*args, **{"formatter_class": _HelpFormatter, **options})

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """As argparse does, which however takes an output that is full or closed for a good one."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Ends the command with exit code 2."""
        self.exit(2, f"error: {clean(message)}\n{self.prog} --help shows what it takes.\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but unknown options are refused by the command that was given them, with the nearest of its own."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            what = "option" if word.startswith("-") else "argument"
            self.error(f"{word}: there is no such {what}.{did_you_mean(word.partition('=')[0], known)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            if isinstance(action, argparse._SubParsersAction) or action.metavar == "COMMAND":
                self.error(_no_command(str(value)) or f"{value}: there is no such command.{did_you_mean(str(value), choices)}")
            near = did_you_mean(str(value), choices) or f" Choose {', '.join(choices)}."
            raise argparse.ArgumentError(action, f"{value}: not one of its values.{near}")


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the lines of examples as they are; everything else is wrapped at the width of the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def _no_command(word: str) -> str:
    """What a file or folder in the place of a command was probably meant for; empty if `word` is none."""
    import os.path
    import shlex

    path, typed = os.path.expanduser(word), shlex.quote(word)  # noqa: PTH111 - pathlib raises for a word that can be no path
    is_file, ending = os.path.isfile(path), path.rpartition(".")[2].lower()  # noqa: PTH113 - the same
    if os.path.isdir(path) or (is_file and ending == "zip"):  # noqa: PTH112 - the same
        return f"{word} is no command, but images may lie there. To train on them: loratui train {typed} --preset NAME --trigger WORD"
    if is_file and ending == "toml":
        return f"{word} is no command. If it is a recipe: loratui train {typed}"
    if is_file:
        return f"{word} is no command. If it is a model: loratui bases {typed}, or loratui metadata show {typed} for a LoRA."
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean train?` with the nearest of the known words; empty where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""
