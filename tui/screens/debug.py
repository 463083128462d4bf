"""Versions, terminal and last errors as text for a bug report, without secrets or names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen

from loratui.tui import themes
from loratui.tui.services import services_of
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain


@dataclass
class FactsGathered(Message):
    """The facts of a bug report are known."""

    report: str


class DebugScreen(ModalScreen[None]):
    """The report; `y` copies it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy_report"), Binding("escape,q,f9", "dismiss")]

    def __init__(self) -> None:
        super().__init__()
        self._report = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog wide"):
            yield Line(plain("For a bug report", "bold $accent"))
            yield Line(plain("Looking …", "$muted"), id="debug-text")
            words = "y copies it. Folder names, tokens and passwords are left out; read it before you post it. esc closes."
            yield Line(plain(words, "$muted"))

    def on_mount(self) -> None:
        self._gather()

    @work(thread=True, exclusive=True, group="facts", description="gather facts for a report")
    def _gather(self) -> None:  # in a thread: a GPU driver may be slow
        from loratui.tui import crash

        rows = crash.facts((self.app.size.width, self.app.size.height), theme=themes.short(self.app.theme))
        self.post_message(FactsGathered(crash.report(rows, services_of(self).errors)))

    def on_facts_gathered(self, message: FactsGathered) -> None:
        self._report = message.report
        lines = [plain(clean(line)) for line in message.report.splitlines()]
        self.query_one("#debug-text", Line).say(Content("\n").join(lines))

    def action_copy_report(self) -> None:
        if self._report:
            self.app.copy_to_clipboard(self._report)
            services_of(self).tell("Report sent to your clipboard. If it is not there, select it here with the mouse.")
