"""What is shown while there are no images: what is wrong, the line that brings photos here, and folders used before."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList

from loratui.tui.dataset.recent import recent_folders
from loratui.tui.terminal import ssh_hints
from loratui.tui.widgets.line import Line, plain


class NoImages(VerticalScroll):
    """Words, a ready `scp` line, and a list to choose from."""

    DEFAULT_CSS = """
    NoImages { height: 1fr; padding: 0 1; }
    NoImages #recent { height: auto; max-height: 8; border: none; padding: 0; background: $background; }
    """

    class Chosen(Message):
        """A folder used before was chosen."""

        def __init__(self, folder: str) -> None:
            super().__init__()
            self.folder = folder

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.upload = ""
        """The line that brings photos here."""
        self._recent: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Words and list."""
        yield Line(id="unread-text")
        yield OptionList(id="recent", markup=False)

    def explain(self, words: Content, folder: Path | None, home: Path) -> None:
        """Shows `words`, and how photos get to `folder`; to a folder below `home` where none was named."""
        made = ssh_hints.upload(folder.absolute() if folder else home / "photos")
        self.upload, self._recent = made.line, recent_folders(home)
        again = " f5 reads the folder again." if folder else ""
        lines = [
            words,
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
        """Passes it on under our name."""
        event.stop()
        self.post_message(self.Chosen(self._recent[event.option_index]))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Nobody else's list."""
        event.stop()
