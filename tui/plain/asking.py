"""Questions in plain mode: with questionary on a terminal that can move its cursor, else as numbered lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from loratui.engine.errors import UsageError
from loratui.tui.terminal import clean

Check = Callable[[str], str]
"""What is wrong with an answer; empty if nothing is."""


def asker() -> Asker:
    """The best one for this terminal."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    moves = terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return QuestionaryAsker() if moves else Asker(sys.stdin, sys.stdout)


class Asker:
    """Asks in numbered lines, for any input and output. All methods raise `UsageError` when nobody can answer."""

    def __init__(self, source: TextIO, out: TextIO) -> None:
        self._in = source
        self._out = out

    def choose(self, question: str, options: Sequence[str], default: int = 0) -> int:
        """The index of the chosen option; an empty line takes the default."""
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
        """A line of text in which `check` finds nothing wrong; an empty line takes the default."""
        while True:
            shown = f" [{clean(default)}]" if default else ""
            answer = self._ask(f"{clean(question)}{shown}: ") or default
            problem = check(answer)
            if not problem:
                return answer
            self._say(clean(problem))

    def path(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        """As `text`, for a file or folder: where the terminal can, tab completes it."""
        return self.text(question, default, check)

    def confirm(self, question: str, default: bool = True) -> bool:
        """Yes or no."""
        while True:
            answer = self._ask(f"{clean(question)} {'[Y/n]' if default else '[y/N]'} ").lower()
            if not answer:
                return default
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            self._say("Type y or n.")

    def _ask(self, prompt: str) -> str:
        self._write(prompt)
        self._out.flush()
        answer = self._in.readline()
        if not answer:
            self._out.write("\n")
            raise UsageError(
                "Nobody can answer: the input has ended.",
                "Without questions: loratui train FOLDER --preset NAME, or loratui demo --no-tui.",
            )
        return answer.strip()

    def _say(self, line: str) -> None:
        self._write(line + "\n")

    def _write(self, text: str) -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))


class QuestionaryAsker(Asker):
    """Asks with arrow keys and completion."""

    def __init__(self) -> None:
        super().__init__(sys.stdin, sys.stdout)

    def choose(self, question: str, options: Sequence[str], default: int = 0) -> int:
        import questionary

        choices = [questionary.Choice(clean(option), value=at) for at, option in enumerate(options)]
        return int(questionary.select(clean(question), choices=choices, default=choices[default]).unsafe_ask())

    def text(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        return self._typed(question, default, check)

    def path(self, question: str, default: str = "", check: Check = lambda _: "") -> str:
        from prompt_toolkit.completion import PathCompleter

        # Not questionary.path: it offers names after each slash, and enter then only closes them.
        # The check reads the folder, so it waits for enter.
        options = {"completer": PathCompleter(expanduser=True), "complete_while_typing": False, "validate_while_typing": False}
        return self._typed(question, default, check, **options)

    def confirm(self, question: str, default: bool = True) -> bool:
        import questionary

        return bool(questionary.confirm(clean(question), default=default).unsafe_ask())

    def _typed(self, question: str, default: str, check: Check, **options: Any) -> str:
        import questionary

        def valid(answer: str) -> bool | str:
            return clean(check(answer)) or True

        asked = questionary.text(f"{clean(question)}:", default=clean(default), validate=valid, **options)
        return str(asked.unsafe_ask()).strip()
