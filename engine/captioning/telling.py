"""The process of a captioner, as whoever asks it sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.captioning.protocol import Answer
from loratui.engine.cleaning import clean
from loratui.engine.errors import LoratuiError
from loratui.engine.jobs import Process

_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Failed:
    """An image that has no proposal, and why."""

    file: str
    message: str
    remedy: str = ""


class Telling:
    """One process that is asked for images, and what it says on the way."""

    def __init__(self, captioner: str, folder: Path | None, options: Mapping[str, Any], cancelled: Callable[[], bool]) -> None:
        begun = {"captioner": captioner, "folder": str(folder) if folder else None, "options": dict(options)}
        self.process = Process("caption", begun, cancelled=cancelled)
        self.said = ""
        """How the captioner runs, for people; empty until it is loaded."""
        self.at_once = 1
        """Images that it takes at once, so that a request of more would only be lost by a kill; 1 until its first answer."""

    def ask(
        self, paths: Sequence[Path], instruction: str, progress: Callable[[int], None] = lambda _: None
    ) -> list[Answer | Failed]:
        """An answer for each path, `Failed` without the image's name. `progress` is told how many are done.

        Raises `JobFailed`, `JobDied`, `Cancelled`, and `LoratuiError` for what is no list of answers.
        """
        if not paths:
            return []

        def on_the_way(told: Any) -> None:
            if isinstance(told, dict) and isinstance(told.get("done"), int):
                self.said = clean(told.get("said", ""), 100)
                self.at_once = min(_MOST_AT_ONCE, max(1, int(told.get("at_once", 1))))
                progress(told["done"])

        self.process.ask({"images": [str(path) for path in paths], "instruction": instruction})
        told = self.process.answer(on_the_way).value
        try:
            answers = [_told(one) for one in told]
        except (KeyError, TypeError, ValueError, AttributeError):
            answers = []
        if len(answers) != len(paths):
            raise LoratuiError("The captioner's process gave an answer that is none.")
        return answers


def _told(one: Mapping[str, Any]) -> Answer | Failed:
    if "answer" in one:
        return Answer.from_json(one["answer"])
    return Failed("", clean(one["failed"]["message"], 400), clean(one["failed"].get("remedy", ""), 400))
