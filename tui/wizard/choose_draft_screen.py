"""The saved drafts: continue one, delete one, or plan a new run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.errors import LoratuiError
from loratui.tui.screens.confirm import ConfirmScreen
from loratui.tui.services import services_of
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.wizard.drafts import SavedDraft, delete_draft


class DraftsScreen(ModalScreen[SavedDraft | Literal[""] | None]):
    """Closes with a draft, "" for a new run, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "answer"), Binding("d", "drop"), Binding("n", "new")]

    def __init__(self, drafts: Sequence[SavedDraft]) -> None:
        super().__init__()
        self._drafts = list(drafts)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("Continue a draft?", "bold $accent"))
            yield OptionList(*self._options(), id="draft-list", markup=False)
            yield Line(plain("enter continues · n new run · d deletes · esc closes", "$muted"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Continues the draft; the last line is a new run."""
        event.stop()
        at = event.option_index
        self.dismiss(self._drafts[at] if at < len(self._drafts) else "")

    def action_answer(self) -> None:
        self.dismiss(None)

    def action_new(self) -> None:
        self.dismiss("")

    @work
    async def action_drop(self) -> None:
        """Deletes the selected draft, after a question."""
        options = self.query_one(OptionList)
        at = options.highlighted
        if at is None or at >= len(self._drafts):
            return
        loratui = services_of(self)
        question = f"Delete the draft of {clean(self._drafts[at].title, 60)}?"
        if not await self.app.push_screen_wait(ConfirmScreen(question, "Its input is lost. No run is touched.", "delete it")):
            return
        try:
            delete_draft(loratui.home, self._drafts[at].id)
        except LoratuiError as error:
            loratui.tell(str(error), "error")
            return
        del self._drafts[at]
        options.clear_options()
        options.add_options(self._options())
        options.highlighted = min(at, len(self._drafts))

    def _options(self) -> list[Option]:
        rows = [joined(plain(draft.title[:60]), plain(f": {draft.about()}", "$muted")) for draft in self._drafts]
        return [Option(row) for row in [*rows, plain("Plan a new run")]]
