"""The form of the dataset step: folder, trigger and class word, and a line that explains the field or says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from loratui.tui.paths import ENDINGS
from loratui.tui.widgets.field import Field, PathSuggester
from loratui.tui.widgets.line import Line, plain

_FIELDS = (
    ("dataset.path", "Folder", "your images, or a zip of them, with captions as .txt"),
    ("dataset.trigger", "Trigger word", "made up, such as anafox; you will use it in prompts"),
    ("dataset.class_word", "Class word", "the general word for it, such as woman, dog or chair"),
)
_TYPING_PAUSE_S = 0.3


class DatasetForm(Vertical):
    """Three fields and a line."""

    DEFAULT_CSS = """
    DatasetForm { height: auto; padding: 0 1; margin-top: 0; }
    DatasetForm #dataset-help { height: 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    class Typed(Message):
        """The typing pauses, or something was put into a field."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """`values`: what stands in each field, by its key."""
        super().__init__(id="dataset-form")
        self._values = values
        self._waiting: Timer | None = None

    def compose(self) -> ComposeResult:
        for key, label, help in _FIELDS:
            suggester = PathSuggester(ENDINGS[key]) if key in ENDINGS else None
            yield Field(key, label, help, self._values[key], quiet=True, suggester=suggester)
        yield Line(id="dataset-help")

    @property
    def fields(self) -> list[Field]:
        return list(self.query(Field))

    @property
    def folder(self) -> Field:
        return self.fields[0]

    @property
    def trigger(self) -> Field:
        return self.fields[1]

    @property
    def texts(self) -> dict[str, str]:
        """What stands in the fields, by their keys."""
        return {field.key: field.text.strip() for field in self.fields}

    def say(self, words: str, tone: str = "$accent") -> None:
        """Below the fields, where nothing is covered."""
        self.query_one("#dataset-help", Line).say(plain(words, tone))

    def on_field_entered(self, event: Field.Entered) -> None:
        self._explain(event.field)

    def on_field_edited(self, event: Field.Edited) -> None:
        event.stop()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_TYPING_PAUSE_S, self._tell)
        self._explain(event.field)

    def _tell(self) -> None:
        self.post_message(self.Typed())

    def _explain(self, field: Field) -> None:
        problem = _trigger_problem(field.text.strip()) if field is self.trigger else ""
        if problem:
            self.say(f"! {problem}", "$warning")
        else:
            self.say(f"{field.label}: {field.help}", "")


def _trigger_problem(word: str) -> str:
    """What is wrong with a trigger word; empty if nothing is. One line at 80 columns, so the way out comes before the reason."""
    from loratui.engine.dataset.caption_words import is_common, proposals
    from loratui.engine.dataset.checks.trigger import trigger_fault

    if fault := trigger_fault(word):
        return f"{word} {fault}: take one plain word."
    common = next((part for part in word.split() if is_common(part)), "")
    if not common:
        return ""
    better = proposals(common)
    instead = f"; made up: {', '.join(better)}" if better else ""
    return f"{common} is an everyday word{instead}. The base has a meaning for it."
