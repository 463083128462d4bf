"""The parser of the command line: short errors with a suggestion, and examples in each help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """Reports wrong arguments in two lines, cleaned of control bytes."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        if examples:
            options["epilog"] = "\n".join(["examples:", *(f"  {example}" for example in examples)])
        super().__init__(*args, **{"formatter_class": _HelpFormatter, **options})

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """As argparse, but an error of the output (full, closed) is raised."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Ends the command with exit code 2."""
        self.exit(2, f"error: {clean(message)}\n{self.prog} --help shows the arguments.\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but the command itself refuses unknown options, and suggests its nearest."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            what = "option" if word.startswith("-") else "argument"
            self.error(f"{word}: unknown {what}.{did_you_mean(word.partition('=')[0], known)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            if isinstance(action, argparse._SubParsersAction) or action.metavar == "COMMAND":
                self.error(_no_command(str(value)) or f"{value}: unknown command.{did_you_mean(str(value), choices)}")
            near = did_you_mean(str(value), choices) or f" Choose from {', '.join(choices)}."
            raise argparse.ArgumentError(action, f"{value}: not a valid value.{near}")


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the lines of examples; wraps everything else at the width of the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def _no_command(word: str) -> str:
    """The probable intention behind a file or folder in place of a command; empty if `word` is neither."""
    import os.path
    import shlex

    path, typed = os.path.expanduser(word), shlex.quote(word)  # noqa: PTH111 - pathlib raises for some words
    is_file, ending = os.path.isfile(path), path.rpartition(".")[2].lower()  # noqa: PTH113 - the same
    if os.path.isdir(path) or (is_file and ending == "zip"):  # noqa: PTH112 - the same
        return f"{word} is a folder or archive, not a command. To train on its images: loratui train {typed} --preset NAME --trigger WORD"
    if is_file and ending == "toml":
        return f"{word} is a file, not a command. To train from a recipe: loratui train {typed}"
    if is_file:
        return f"{word} is a file, not a command. For a base model: loratui bases {typed}; for a LoRA: loratui metadata show {typed}"
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean train?` with the nearest known word; empty if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""
