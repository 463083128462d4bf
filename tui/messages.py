"""What concerns the app whatever screen is shown, as messages named for what has happened. Those of one screen stand beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary
    from loratui.tui.wizard.draft import Draft


@dataclass
class RunsListed(Message):
    """The runs were looked at."""

    runs: tuple[RunSummary, ...]
    problem: str = ""
    """Why they could not be; empty if they could."""
    free_bytes: int | None = None
    """Free on the volume of the runs; None if that cannot be read."""


@dataclass
class DraftOpened(Message):
    """A draft was read from disk with its folder, or cannot be used."""

    id: str
    draft: Draft | None
    step: str
    problem: str = ""


@dataclass
class DownloadWent(Message):
    """A download went on."""

    repo: str
    words: str

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, DownloadWent)


@dataclass
class DownloadEnded(Message):
    """A download is done, was cancelled, or failed."""

    repo: str
    problem: str = ""
    cancelled: bool = False
