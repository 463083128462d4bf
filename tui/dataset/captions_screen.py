"""One change to many captions: choose it, see what becomes of them, make it; nothing is written before a save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from loratui.engine.dataset.caption_edits import frequencies
from loratui.tui import text
from loratui.tui.dataset.bulk_edits import BULK_EDITS, BulkEdit, changed_captions, why_nothing
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.terminal import clean
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.presets.schema import Settings
    from loratui.tui.dataset.edits import DatasetEdits

_MOST_TAGS = 500
_SAMPLES = 4
_TYPING_PAUSE_S = 0.2


@dataclass
class WorkedOut(Message):
    """What a change would make of the captions."""

    edit: BulkEdit
    typed: tuple[str, str]
    edits: DatasetEdits
    would: Mapping[str, str]
    why: str
    """Why nothing would change; empty if something would."""


class CaptionsScreen(DatasetPart):
    """Changes at the left, what the chosen one would do at the right."""

    CONTEXT = "dataset_captions"
    PURPOSE = "all captions"
    DEFAULT_CSS = """
    CaptionsScreen #bulk-body { height: 1fr; }
    CaptionsScreen #bulk-left { width: 32; padding: 0 1; }
    CaptionsScreen #bulk-edits { height: auto; border: none; padding: 0; background: $background; }
    CaptionsScreen #tags-title { height: 1; margin-top: 1; color: $muted; }
    CaptionsScreen #tags { height: 1fr; border: none; padding: 0; background: $background;
        text-wrap: nowrap; text-overflow: ellipsis; }
    CaptionsScreen #bulk-right { width: 1fr; padding: 0 1; border-left: solid $border-blurred; }
    CaptionsScreen #bulk-help { height: auto; color: $muted; margin-bottom: 1; }
    CaptionsScreen #bulk-count { height: auto; margin: 1 0; }
    CaptionsScreen #bulk-scroll { height: 1fr; scrollbar-size-vertical: 1; }
    """

    def __init__(self, model: DatasetModel) -> None:
        super().__init__(model)
        self._would: Mapping[str, str] = {}
        """What the change that is shown would make of captions."""
        self._would_of: tuple[BulkEdit, tuple[str, str]] | None = None
        """What that was worked out of; None while the captions are others by now."""
        self._wanted: tuple[BulkEdit, tuple[str, str]] | None = None
        """What is to be made as soon as it is worked out."""
        self._tag_names: list[str] = []
        self._typing: Timer | None = None

    def body(self) -> ComposeResult:
        """Changes, tags, fields, preview."""
        with Horizontal(id="bulk-body"):
            with Vertical(id="bulk-left"):
                yield OptionList(*[Option(plain(edit.title), id=edit.id) for edit in BULK_EDITS], id="bulk-edits", markup=False)
                yield Line("captions with each tag", id="tags-title")
                yield OptionList(id="tags", markup=False)
            with Vertical(id="bulk-right"):
                yield Line(id="bulk-help")
                yield Field("first", "", "", quiet=True)
                yield Field("second", "", "", quiet=True)
                yield Line(id="bulk-count")
                with VerticalScroll(id="bulk-scroll", can_focus=False):
                    yield Line(id="bulk-preview")

    def on_mount(self) -> None:
        changes = self.query_one("#bulk-edits", OptionList)
        changes.highlighted = 0
        changes.focus()
        self._fill_tags()
        self._show_edit()

    @property
    def _edit(self) -> BulkEdit:
        return BULK_EDITS[self.query_one("#bulk-edits", OptionList).highlighted or 0]

    @property
    def _typed(self) -> tuple[str, str]:
        first, second = self.query(Field)
        return first.text, second.text

    def edits_changed(self) -> None:
        self._fill_tags()
        self._preview()

    def _fill_tags(self) -> None:
        counted = frequencies(self.edits.captions().values())[:_MOST_TAGS]
        self._tag_names = [tag for tag, _ in counted]
        tags = self.query_one("#tags", OptionList)
        at = tags.highlighted
        tags.clear_options()
        tags.add_options([Option(plain(f"{count:>4}  {clean(tag, 60)}")) for tag, count in counted])
        tags.highlighted = min(at or 0, len(counted) - 1) if counted else None

    def _show_edit(self) -> None:
        edit = self._edit
        self.line("bulk-help").say(plain(edit.help))
        for at, field in enumerate(self.query(Field)):
            field.display = at < len(edit.asks)
            if field.display:
                field.query_one(".field-label", Line).say(edit.asks[at])
        self._preview()

    def _preview(self) -> None:
        self._would_of = None
        self._work_out(self._edit, self._typed, self.loratui.draft.named().settings, self.edits)

    @work(thread=True, exclusive=True, group="preview", description="work out a change of all captions")
    def _work_out(self, edit: BulkEdit, typed: tuple[str, str], settings: Settings, edits: DatasetEdits) -> None:
        would = changed_captions(edit, typed, settings, edits)
        why = "" if would else why_nothing(edit, typed, settings, edits)
        if not get_current_worker().is_cancelled:
            self.post_message(WorkedOut(edit, typed, edits, would, why))

    def on_worked_out(self, message: WorkedOut) -> None:
        """Shows what would change, unless something else is asked by now; then makes it, if that was asked."""
        asked = (message.edit, message.typed)
        # The deep check makes new preparations all the time; only captions and images matter here.
        same_captions = message.edits.chosen is self.edits.chosen and message.edits.scan is self.edits.scan
        if asked != (self._edit, self._typed) or not same_captions:
            return
        self._would, self._would_of = message.would, asked
        total = len(self.edits.captions())
        if self._would:
            words = plain(f"{len(self._would)} of {text.count(total, 'caption')} would change:", "bold")
        else:
            words = plain(message.why, "$muted")
        self.line("bulk-count").say(words)
        self.line("bulk-preview").say(Content("\n").join(list(self._samples())))
        self.refresh_bindings()
        if self._wanted == asked:
            self._make()

    def _samples(self) -> Iterator[Content]:
        for name in list(self._would)[:_SAMPLES]:
            yield plain(name, "$muted")
            yield from difference(self.edits.caption(name), self._would[name])
        if len(self._would) > _SAMPLES:
            yield plain(f"and {text.number(len(self._would) - _SAMPLES)} more", "$muted")

    # Keys

    @property
    def can_apply(self) -> bool:
        """Whether the change that is shown would change something, or needs a text first."""
        # What was just typed is not worked out yet: over a slow link enter comes in one bunch with it.
        unknown = self._would_of != (self._edit, self._typed)
        return unknown or bool(self._would) or self._next_field() is not None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_list.id == "bulk-edits":
            self._show_edit()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A tag goes into the field; a change is made, or asks for its text."""
        if event.option_list.id == "tags":
            self._take_tag(self._tag_names[event.option_index])
        else:
            self.action_next()

    def _take_tag(self, tag: str) -> None:
        changes = self.query_one("#bulk-edits", OptionList)
        if not self._edit.asks:
            changes.highlighted = next(at for at, edit in enumerate(BULK_EDITS) if edit.tags)
        self._show_edit()
        first = next(iter(self.query(Field)))
        first.set(tag)
        first.enter()
        self._preview()

    def on_field_edited(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_PAUSE_S, self._preview)

    def _next_field(self) -> Field | None:
        fields = [field for field in self.query(Field) if field.display]
        entered = next((at for at, field in enumerate(fields) if field.entered), -1)
        return fields[entered + 1] if entered + 1 < len(fields) else None

    def action_next(self) -> None:
        """To the next field; from the last one, makes the change."""
        following = self._next_field()
        if following is not None:
            following.enter()
            return
        self._wanted = (self._edit, self._typed)
        if self._would_of == self._wanted:
            self._make()
        else:
            self._preview()

    def _make(self) -> None:
        self._wanted = None
        if not self._would:
            return
        count = text.count(len(self._would), "caption")
        self.model.choose(self.edits.with_captions(f"{self._edit.title} in {count}", self._would))
        self.loratui.tell(f"{count} changed here. s saves them to their files; u undoes it.")
        self.query_one("#bulk-edits", OptionList).focus()


def difference(before: str, after: str) -> Iterator[Content]:
    """Two lines: what goes, struck and marked with −, and what comes, marked with +."""
    import difflib

    old, new = before.split(" "), after.split(" ")
    gone, come = [plain("− ", "$error")], [plain("+ ", "$success")]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        style_old, style_new = ("strike $error", "bold $success") if kind != "equal" else ("$muted", "")
        if a < b:
            gone.append(plain(" ".join(old[a:b]) + " ", style_old))
        if c < d:
            come.append(plain(" ".join(new[c:d]) + " ", style_new))
    yield Content.assemble(*gone)
    yield Content.assemble(*come)
