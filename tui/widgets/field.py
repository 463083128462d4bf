"""A labelled input with one line below it: an explanation, or what is wrong with the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester, SuggestionReady
from textual.widget import Widget
from textual.widgets import Input

from loratui.tui.paths import completion
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain

_NUMBER = re.compile(r"[0-9.,eE+-]")


class CompletingInput(Input):
    """An input in which tab takes the grey completion, and pasted text becomes one harmless line."""

    # Textual calls the handlers of all classes, the subclass first; Input's still follow.
    async def on_key(self, event: events.Key) -> None:
        # Asked again instead of read from the screen: a slow line brings a path and its tab in one piece.
        if event.key == "tab" and self.cursor_at_end and (completed := await self._completed()):
            event.stop()
            event.prevent_default()
            self.value = completed
            self.cursor_position = len(completed)

    async def offer_again(self) -> None:
        """Shows the grey completion again: an input that gets the focus forgets it."""
        if completed := await self._completed():
            self.post_message(SuggestionReady(self.value, completed))

    async def _completed(self) -> str:
        """The text with its grey completion; empty without one."""
        offered = await self.suggester.get_suggestion(self.value) if self.suggester and self.value else None
        return offered if offered and offered != self.value else ""

    def on_paste(self, event: events.Paste) -> None:
        # Pasted text may hold escape sequences, and terminals send line ends as carriage returns.
        event.text = clean(" ".join(event.text.split()))


class FieldInput(CompletingInput):
    """An input that moves on with up, down and enter, and, if numeric, leaves letters to the keys of the screen."""

    # With priority the focus moves before the next key is dispatched: over a slow link keys come in bunches.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", show=False, priority=True),
        Binding("down", "app.focus_next", show=False, priority=True),
        Binding("enter", "screen.next", show=False, priority=True),
    ]

    def __init__(self, value: str, *, placeholder: str, numeric: bool, suggester: Suggester | None) -> None:
        super().__init__(clean(value), placeholder=clean(placeholder), suggester=suggester, compact=True, select_on_focus=False)
        self._numeric = numeric
        self.offered = ""
        """The text that the right arrow puts into the empty field."""
        self.cursor_blink = False

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Whether the key is text here instead of a key of the screen."""
        return super().check_consume_key(key, character) and self._takes(character)

    async def on_key(self, event: events.Key) -> None:
        if event.is_printable and not self._takes(event.character):
            event.prevent_default()
        if event.key == "right" and self.offered and not self.value:
            event.stop()
            event.prevent_default()
            self.value = self.offered
            self.cursor_position = len(self.value)

    def _takes(self, character: str | None) -> bool:
        return not self._numeric or (character is not None and _NUMBER.fullmatch(character) is not None)


class Field(Widget):
    """Label, input, a mark beside it, and below it the explanation or the problem."""

    DEFAULT_CSS = """
    Field { height: auto; margin-bottom: 1; }
    Field .field-row { height: 1; }
    Field .field-label { width: 16; height: 1; color: $foreground; }
    Field FieldInput { width: 1fr; background: $surface; }
    Field FieldInput:focus { background: $panel; }
    Field .field-mark { width: auto; max-width: 40; height: 1; margin-left: 1; color: $accent; }
    Field .field-note { color: $muted; height: auto; padding-left: 16; }
    Field.-here .field-label { text-style: bold; color: $accent; }
    Field.-numeric FieldInput { width: 12; }
    Field.-quiet .field-note { display: none; }
    Field.-quiet { margin-bottom: 0; }
    """

    @dataclass
    class Edited(Message):
        """The person changed the text."""

        field: Field
        text: str

    @dataclass
    class Entered(Message):
        """The person came to the field."""

        field: Field

    def __init__(
        self,
        key: str,
        label: str,
        help: str,
        value: str = "",
        *,
        placeholder: str = "",
        numeric: bool = False,
        quiet: bool = False,
        suggester: Suggester | None = None,
    ) -> None:
        super().__init__(classes=("-numeric " if numeric else "") + ("-quiet" if quiet else ""))
        self.key = key
        self.label = label
        self.help = help
        self.completes = suggester is not None
        """Whether the field offers completions."""
        self._input = FieldInput(value, placeholder=placeholder, numeric=numeric, suggester=suggester)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field-row"):
            yield Line(plain(self.label), classes="field-label")
            yield self._input
            yield Line(classes="field-mark")
        yield Line(plain(self.help), classes="field-note")

    @property
    def text(self) -> str:
        return self._input.value

    def offer(self, words: str) -> None:
        """Shows grey words in the empty field, which the right arrow takes; empty words withdraw the offer."""
        self._input.offered = clean(words)
        self.set(self.text, words)

    def set(self, value: str, placeholder: str = "") -> None:
        """Puts text into the field without an `Edited` message."""
        placeholder = clean(placeholder)
        if self._input.placeholder != placeholder:
            self._input.placeholder = placeholder
        if self._input.value != value:
            with self._input.prevent(Input.Changed):
                self._input.value = clean(value)
            self._input.cursor_position = len(self._input.value)

    def enter(self) -> None:
        self.screen.set_focus(self._input)

    def when_typed(self, do: Callable[[], object]) -> None:
        """Calls `do` when all earlier keys are in the text: a slow line brings a word and its enter in one piece."""
        self._input.call_later(do)

    @property
    def entered(self) -> bool:
        # The input's own flag changes later than the focus.
        return self.screen.focused is self._input

    def mark(self, words: str) -> None:
        self.query_one(".field-mark", Line).say(words)

    def explain(self, problem: str = "") -> None:
        """Shows the problem below the input, else the explanation."""
        self.query_one(".field-note", Line).say(plain(problem, "$error") if problem else plain(self.help))

    def note(self, words: str, tone: str = "$muted") -> None:
        self.query_one(".field-note", Line).say(plain(words, tone))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        # Only the last of several letters in one piece: each may cost a new plan.
        if event.value == self._input.value:
            self.post_message(self.Edited(self, event.value))

    def on_descendant_focus(self) -> None:
        self.add_class("-here")
        self._input.call_later(self._input.offer_again)
        self.post_message(self.Entered(self))

    def on_descendant_blur(self) -> None:
        self.remove_class("-here")


class PathSuggester(Suggester):
    """Completes a path; tab or the right arrow takes it."""

    def __init__(self, endings: tuple[str, ...] = ()) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._endings = endings
        """Of the files that are offered beside folders; empty: folders only."""

    async def get_suggestion(self, value: str) -> str | None:
        return completion(value, self._endings)
