"""Texts to copy, shown in full for terminals without clipboard access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui.services import services_of
from loratui.tui.widgets.line import Line, plain


class CopyScreen(ModalScreen[None]):
    """A list of texts; enter copies the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,y", "dismiss")]

    def __init__(self, items: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._items = tuple(items)

    def compose(self) -> ComposeResult:
        options = [Option(Content.assemble(plain(name, "$muted"), "\n", plain(text))) for name, text in self._items]
        with Vertical(classes="dialog wide"):
            yield Line(plain("Copy", "bold $accent"))
            yield OptionList(*options, id="copy-list", markup=False)
            words = "enter copies it to your terminal's clipboard (OSC 52; in tmux: set -g set-clipboard on). esc closes."
            yield Line(plain(words, "$muted"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        name, text = self._items[event.option_index]
        self.dismiss()
        services_of(self).copy(text, name[0].upper() + name[1:])
