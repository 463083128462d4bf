"""The second step: the base model. What is found on this machine to choose from, or a path or a name of the hub to type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.planning.bases import base_path
from loratui.tui.bindings import bindings_for
from loratui.tui.screens.steps import StepScreen
from loratui.tui.widgets.field import Field, FolderSuggester
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.presets.schema import Family

_TYPING_PAUSE_S = 0.3
_HELP = "a .safetensors file, a diffusers folder, embedded:sd15 (the tiny one that comes along), or owner/name on the hub"


class BaseModelScreen(StepScreen):
    """A field, what is found, and what is known of the one in the field."""

    CONTEXT = "base"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("base")]

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Timer | None = None
        self._choices: tuple[tuple[str, str], ...] = ()

    def body(self) -> ComposeResult:
        """Field, list, explanation."""
        with Vertical(id="base-form"):
            value = str(self.loratui.draft.value("base.model"))
            yield Field("base.model", "Base model", _HELP, value, suggester=FolderSuggester())
        yield OptionList(id="base-found", markup=False)
        with VerticalScroll(id="base-about", can_focus=False):
            yield Line(id="base-text")

    def on_mount(self) -> None:
        """Shows what there is."""
        family = self.loratui.draft.value("base.family")
        preset = str(self.loratui.draft.preset_value("base.model"))
        self._choices = tuple(_choices(family, preset))
        options = self.query_one(OptionList)
        options.add_options([Option(_option(model, words)) for model, words in self._choices])
        self.query_one(Field).enter()
        self._say()

    def on_field_edited(self, event: Field.Edited) -> None:
        """Looks when the typing pauses."""
        event.stop()
        self.keep()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_TYPING_PAUSE_S, self._say)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Takes the chosen one into the field; chosen once more, it goes on."""
        event.stop()
        model = self._choices[event.option_index][0]
        field = self.query_one(Field)
        if field.text.strip() == model:
            self.action_next()
            return
        field.set(model)
        self.keep()
        self._say()

    def keep(self) -> None:
        """What is typed goes into the draft."""
        self.loratui.draft = self.loratui.draft.with_values({"base.model": self.query_one(Field).text.strip()})

    def action_next(self) -> None:
        """On to the pictures; a base that is not there yet does not keep one from planning."""
        self.keep()
        self.go_on()

    def _say(self) -> None:
        from loratui.engine.planning.preflight import check_base

        draft = self.loratui.draft
        assert draft.recipe is not None
        lines: list[Content] = []
        for finding in check_base(draft.recipe):
            lines.append(plain(f"{'✖' if finding.severity == 'error' else '!'} {finding.message}", "$error"))
            lines.append(plain(f"  {finding.remedy}"))
        if not lines:
            lines.append(plain(f"✔ {draft.value('base.model')} is on this machine.", "$success"))
            lines.append(plain(f"  {base_path(str(draft.value('base.model')))}", "$muted"))
        self.line("base-text").say(Content("\n").join(lines))


def _choices(family: Family, preset: str) -> Iterator[tuple[str, str]]:
    """Models to choose from, with a word on each."""
    if preset:
        yield preset, "the preset's" + ("" if base_path(preset) else ", not on this machine yet")
    embedded = f"embedded:{family}"
    if embedded != preset and base_path(embedded):
        yield embedded, "tiny, comes along; good for trying things out, not for pictures to show"


def _option(model: str, words: str) -> Content:
    return Content.assemble(plain(model), plain(f"  {words}", "$muted"))
