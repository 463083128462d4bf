"""The verdict with all its reasons, the best file, and every advice with what applying it does."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList

from loratui.engine.proof.judgement import Advice, Judgement
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.validation import verdict_words
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.line import Line, joined, plain


class VerdictScreen(LoratuiScreen[Advice]):
    """Gives the advice to apply; None to go back."""

    CONTEXT = "validation_verdict"
    PANE = "verdict-said"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel, judged: Judgement) -> None:
        super().__init__()
        self.model = model
        self._judged = judged

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain("  verdict", "$muted"))

    def body(self) -> ComposeResult:
        with VerticalScroll(id="verdict-said", can_focus=False):
            yield Line(verdict_words.whole(self._judged))
        yield Line(plain(self._about_advice(), "$muted"), id="advice-said")
        yield OptionList(*map(verdict_words.option, self._judged.advice), id="advice", markup=False)

    def on_mount(self) -> None:
        advice = self.query_one(OptionList)
        advice.highlighted = 0 if self._judged.advice else None
        advice.focus()

    @property
    def advice(self) -> Advice | None:
        """The one under the highlight."""
        at = self.query_one(OptionList).highlighted
        return None if at is None else self._judged.advice[at]

    @property
    def can_apply(self) -> bool:
        """Whether a program can do what is highlighted, and the run is at rest."""
        return self.advice is not None and self.model.can_apply(self.advice)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter and double click apply it."""
        event.stop()
        if self.check_action("apply", ()):
            self.action_apply()

    def action_apply(self) -> None:
        self.dismiss(self.advice)

    def action_back(self) -> None:
        self.dismiss(None)

    def _about_advice(self) -> str:
        if not self._judged.advice:
            return "There is no advice: nothing needs to change."
        if self.model.summary is not None and self.model.summary.active:
            return "What to change. A plan can be made from it when the run is at rest."
        return "What to change. Your own ticks, ratings and notes count more than the measures."
