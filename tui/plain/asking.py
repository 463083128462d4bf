"""Questions in plain mode: with questionary on a terminal that can move its cursor, else as numbered lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from loratui.engine.errors import UsageError
from loratui.tui.terminal import clean

Check = Callable[[str], str]
"""What is wrong with an answer; empty if nothing is."""


class Asker(Protocol):
    """Asks the questions. All methods raise `UsageError` when nobody can answer."""

    def choose(self, question: str, options: Sequence[str], default: int = 0) -> int:
        """The place of the chosen option."""

    def text(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """A line of text that `check` finds nothing wrong with."""

    def path(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """As `text`, for a file or folder: where the terminal can, tab completes it."""

    def confirm(self, question: str, default: bool = True) -> bool:
        """Yes or no."""


def asker() -> Asker:
    """The best one for this terminal."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        return QuestionaryAsker()
    return LineAsker(sys.stdin, sys.stdout)


class LineAsker:
    """Numbered lines, for any input and output."""

    def __init__(self, source: TextIO, out: TextIO) -> None:
        self._in = source
        self._out = out

    def choose(self, question: str, options: Sequence[str], default: int = 0) -> int:
        """Asks until a number of the list is given; an empty line takes the default."""
        self._say(clean(question))
        for at, option in enumerate(options, 1):
            self._say(f"  {at}  {clean(option)}")
        while True:
            answer = self._ask(f"Number [{default + 1}]: ")
            if not answer:
                return default
            if answer.isdecimal() and 1 <= int(answer) <= len(options):
                return int(answer) - 1
            self._say(f"Type a number from 1 to {len(options)}.")

    def text(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """Asks until the answer is right; an empty line takes the default."""
        while True:
            shown = f" [{clean(default)}]" if default else ""
            answer = self._ask(f"{clean(question)}{shown}: ") or default
            problem = check(answer)
            if not problem:
                return answer
            self._say(clean(problem))

    def path(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """A line of text, without completion."""
        return self.text(question, default, check)

    def confirm(self, question: str, default: bool = True) -> bool:
        """Asks until the answer is y or n."""
        while True:
            answer = self._ask(f"{clean(question)} {'[Y/n]' if default else '[y/N]'} ").lower()
            if not answer:
                return default
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            self._say("Type y or n.")

    def _ask(self, prompt: str) -> str:
        self._out.write(self._encodable(prompt))
        self._out.flush()
        answer = self._in.readline()
        if not answer:
            self._out.write("\n")
            raise nobody()
        return answer.strip()

    def _say(self, line: str) -> None:
        self._out.write(self._encodable(line) + "\n")

    def _encodable(self, line: str) -> str:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        return line.encode(encoding, "replace").decode(encoding)


class QuestionaryAsker:
    """Arrow keys and completion."""

    def choose(self, question: str, options: Sequence[str], default: int = 0) -> int:
        """A list to move in."""
        import questionary

        choices = [questionary.Choice(clean(option), value=at) for at, option in enumerate(options)]
        answer = questionary.select(clean(question), choices=choices, default=choices[default]).unsafe_ask()
        return int(answer)

    def text(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """A line to edit."""
        import questionary

        asked = questionary.text(f"{clean(question)}:", default=clean(default), validate=_valid(check))
        return str(asked.unsafe_ask()).strip()

    def path(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """A line to edit; tab completes names."""
        import questionary
        from prompt_toolkit.completion import PathCompleter

        # Not questionary.path: it offers names after each slash, and enter then only closes them.
        asked = questionary.text(
            f"{clean(question)}:",
            default=clean(default),
            validate=_valid(check),
            completer=PathCompleter(expanduser=True),
            complete_while_typing=False,
            validate_while_typing=False,  # the check reads the folder
        )
        return str(asked.unsafe_ask()).strip()

    def confirm(self, question: str, default: bool = True) -> bool:
        """One key."""
        import questionary

        return bool(questionary.confirm(clean(question), default=default).unsafe_ask())


def _valid(check: Check) -> Callable[[str], bool | str]:
    """`check` as questionary wants it."""
    return lambda answer: clean(check(answer)) or True


def nobody() -> UsageError:
    """The input has ended."""
    return UsageError(
        "Nobody can answer: the input has ended.",
        "Without questions: loratui train FOLDER --preset NAME, or loratui demo --no-tui.",
    )
