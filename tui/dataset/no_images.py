"""What is shown while there are no images: what is wrong, the line that brings photos here, and folders used before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList

from loratui.tui.dataset.jobs import FolderRead
from loratui.tui.dataset.recent import recent_folders
from loratui.tui.paths import path_from_text
from loratui.tui.terminal import ssh_hints
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.draft import next_step_for_folder


class NoImages(VerticalScroll):
    """Words, a ready `scp` line, and a list to choose from."""

    DEFAULT_CSS = """
    NoImages { height: 1fr; padding: 0 1; }
    NoImages #recent { height: auto; max-height: 8; border: none; padding: 0; background: $background; }
    """

    @dataclass
    class Chosen(Message):
        """A folder used before was chosen."""

        folder: str

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.upload = ""
        """The line that brings photos here."""
        self._recent: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        yield Line(id="unread-text")
        yield OptionList(id="recent", markup=False)

    def explain(self, unread: FolderRead | None, home: Path) -> None:
        """Says why a folder could not be read, and how photos get there; None: no folder was named, so to one below `home`."""
        folder = path_from_text(unread.typed) if unread else None
        made = ssh_hints.upload(folder.absolute() if folder else home / "photos")
        self.upload, self._recent = made.line, recent_folders(home)
        again = " f5 reads the folder again." if folder else ""
        lines = [
            *_why(unread),
            Content(""),
            plain("To bring photos here, type on your own computer, next to its folder photos:", "bold"),
            Content.assemble("  ", plain(made.line, "bold $accent")),
            plain(f"{made.doubt} Tab, then y, copies the line.{again}".strip(), "$muted"),
        ]
        if self._recent:
            lines += [Content(""), plain("Used before (tab, then enter takes one):", "bold")]
        self.query_one(Line).say(Content("\n").join(lines))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([plain(name) for name in self._recent])
        options.highlighted = 0 if self._recent else None
        options.display = bool(self._recent)

    def enter(self) -> None:
        """Moves the focus here: into the list if there is one."""
        (self.query_one(OptionList) if self._recent else self).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._recent[event.option_index]))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()


def _why(unread: FolderRead | None) -> Iterator[Content]:
    """What is wrong and what to do about it, a line each."""
    if unread is None:
        yield plain(next_step_for_folder(""), "$muted")
        return
    folder = path_from_text(unread.typed)
    is_there = folder is not None and os.path.isdir(folder)  # noqa: PTH112 - no error for odd names
    elsewhere = "" if is_there else next_step_for_folder(unread.typed)
    yield plain(f"✖ {unread.problem}", "$error")
    yield plain(" ".join(part for part in (unread.remedy, elsewhere) if part))
