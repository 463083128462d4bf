"""The second step: the base model. What is found on this machine to choose from, or a path or a name of the hub to type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from loratui.tui import text
from loratui.tui.bindings import bindings_for
from loratui.tui.messages import BaseLookedAt, BasesFound
from loratui.tui.screens.steps import StepScreen
from loratui.tui.widgets.field import Field, FolderSuggester
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.formats.base_parts import BaseFiles
    from loratui.engine.planning.bases import FoundBase
    from loratui.presets.schema import Base

_TYPING_PAUSE_S = 0.3
_HELP = "a .safetensors file, a diffusers folder, embedded:sd15 (the tiny one that comes along), or owner/name on the hub"


class BaseModelScreen(StepScreen):
    """A field, what is found, and what is known of the one in the field."""

    CONTEXT = "base"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("base")]

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Timer | None = None
        self._choices: tuple[FoundBase, ...] = ()

    def body(self) -> ComposeResult:
        """Field, what is known of it, list."""
        with Vertical(id="base-form"):
            value = str(self.loratui.draft.value("base.model"))
            yield Field("base.model", "Base model", _HELP, value, suggester=FolderSuggester())
        with VerticalScroll(id="base-about", can_focus=False):
            yield Line(id="base-text")
        yield Line(plain("Looking for base models on this machine …", "$muted"), id="base-title")
        yield OptionList(id="base-found", markup=False)

    def on_mount(self) -> None:
        """Looks at the one that is chosen, and for all others."""
        self.query_one(Field).enter()
        self._say()
        self._search()

    @work(thread=True, exclusive=True, group="bases", description="look for base models")
    def _search(self) -> None:
        from loratui.engine.planning.bases import discover

        found, cut = discover()
        if not get_current_worker().is_cancelled:
            self.post_message(BasesFound(tuple(found), cut))

    def on_bases_found(self, message: BasesFound) -> None:
        """Lists those of the preset's family; those that cannot be used stand last, with the reason."""
        family = self.loratui.draft.value("base.family")
        self._choices = tuple(base for base in message.bases if base.family in (family, None))
        others = len(message.bases) - len(self._choices)
        words = f"Found here: {text.count(len(self._choices), 'base')} for this preset"
        words += f", {others} of other families" if others else ""
        words += "; the search was cut short" if message.cut else ""
        self.line("base-title").say(plain(f"{words}. ↓ goes there, enter takes one.", "$muted"))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_option(base)) for base in self._choices])

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
        model = self._choices[event.option_index].model
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
        recipe = self.loratui.draft.recipe
        assert recipe is not None
        self._look_at(recipe.settings.base)

    @work(thread=True, exclusive=True, group="base", description="look at a base model")
    def _look_at(self, base: Base) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.planning.bases import find_base

        try:
            message = BaseLookedAt(base.model, find_base(base))
        except LoratuiError as error:
            message = BaseLookedAt(base.model, None, error.message, error.remedy)
        except OSError as error:
            message = BaseLookedAt(base.model, None, f"{base.model}: {error.strerror}")
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    def on_base_looked_at(self, message: BaseLookedAt) -> None:
        """Says what the base is, or why it cannot be used."""
        if message.model != self.loratui.draft.value("base.model"):
            return
        if message.found is None:
            lines = [plain(f"✖ {message.problem}", "$error"), plain(f"  {message.remedy}")]
        else:
            lines = list(describe_base(message.found, str(self.loratui.draft.value("base.family"))))
        self.line("base-text").say(Content("\n").join(lines))

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The chosen base."""
        model = self.query_one(Field).text.strip()
        return [("base model", model)] if model else ()


def describe_base(found: BaseFiles, family: str) -> Iterator[Content]:
    """What a base is, a line each; `family` is the preset's."""
    from loratui.engine.formats.base_parts import FAMILY_TITLES

    if found.family != family:
        yield plain(f"✖ This is {found.title}.", "$error")
        wanted = next((title for name, title in FAMILY_TITLES.items() if name == family), family)
        yield plain(f"  The preset is for {wanted}: choose another base, or go back and choose a preset for this one.")
        return
    size = f", {text.size(found.bytes)}" if found.bytes else ""
    if found.complete:
        yield plain(f"✔ {found.title}{size}", "$success")
    else:
        yield plain(f"! {found.title}{size}: not complete", "$warning")
    for missing in found.missing:
        yield plain(f"  {missing}", "$warning")
    yield plain(f"  {found.path}", "$muted")
    elsewhere = [part for part in found.parts.values() if found.path not in (part.path, *part.path.parents)]
    for part in elsewhere[:4]:
        yield plain(f"  with {part.path}", "$muted")
    if found.prediction == "v":
        yield plain("  It predicts v; loratui trains it so by itself.", "$muted")


def _option(base: FoundBase) -> Content:
    what = f"  {base.title}" + (f", {text.size(base.bytes)}" if base.bytes else "")
    if base.problem:
        return Content.assemble(plain(f"✖ {base.model}", "$muted"), plain(f"  {base.problem}", "$error"))
    if base.missing:
        return Content.assemble(plain(f"! {base.model}"), plain(f"{what}; missing: {', '.join(base.missing)}", "$warning"))
    return Content.assemble(plain(f"✔ {base.model}"), plain(what, "$muted"))
