"""One change to many captions: choose it, see what becomes of them, make it; nothing is written before a save."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from loratui.engine.errors import UsageError
from loratui.engine.jobs import Cancelled
from loratui.tui import text
from loratui.tui.dataset.bulk_edits import BULK_EDITS, Around, BulkEdit, changed_captions, why_nothing
from loratui.tui.dataset.difference import difference
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.dataset.tag_list import TagFilter, TagList
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.presets.schema import Settings
    from loratui.tui.dataset.edits import DatasetEdits

_SAMPLES = 4
_PAUSE_S = 0.15


@dataclass(frozen=True)
class Asked:
    """What a person asks for: a change, its texts, and the captions that it is made to."""

    edit: BulkEdit
    typed: tuple[str, str]
    filter: TagFilter


@dataclass
class Counted(Message):
    """The tags of the captions as they are now."""

    edits: DatasetEdits
    around: Around


@dataclass
class WorkedOut(Message):
    """What a change would make of the captions."""

    asked: Asked
    edits: DatasetEdits
    would: Mapping[str, str]
    after: DatasetEdits
    """The choices with that change made."""
    why: str
    """Why nothing would change; empty if something would."""


class CaptionsScreen(DatasetPart):
    """Changes at the left, what the chosen one would do at the right."""

    CONTEXT = "dataset_captions"
    PURPOSE = "all captions"
    DEFAULT_CSS = """
    CaptionsScreen #bulk-body { height: 1fr; }
    CaptionsScreen #bulk-left { width: 32; padding: 0 1; }
    CaptionsScreen #bulk-edits { height: auto; max-height: 50%; border: none; padding: 0; background: $background;
        scrollbar-size-vertical: 1; }
    CaptionsScreen #bulk-right { width: 1fr; padding: 0 1; border-left: solid $border-blurred; }
    CaptionsScreen #bulk-help { height: auto; color: $muted; margin-bottom: 1; }
    CaptionsScreen #bulk-count { height: auto; margin: 1 0; }
    CaptionsScreen #bulk-scroll { height: 1fr; scrollbar-size-vertical: 1; }
    """

    def __init__(self, model: DatasetModel, among: Sequence[str], show_images: Callable[[Sequence[str], str], None]) -> None:
        """`among` are the images whose captions are meant at all. `show_images` shows some images as tiles, and says which."""
        super().__init__(model)
        self._among = frozenset(among)
        self._show_images = show_images
        self._around: Around | None = None
        """The captions as counted; None while they are others by now."""
        self._worked_out: WorkedOut | None = None
        """What the change that is shown would make of captions; None while they are others by now."""
        self._wanted: Asked | None = None
        """What is to be made as soon as it is worked out."""
        self._pause: Timer | None = None
        self._told = False
        """Whether the person knows what is wrong with their own table of implied tags."""

    def body(self) -> ComposeResult:
        """Changes, tags, fields, preview."""
        with Horizontal(id="bulk-body"):
            with Vertical(id="bulk-left"):
                yield OptionList(*[Option(plain(edit.title), id=edit.id) for edit in BULK_EDITS], id="bulk-edits", markup=False)
                yield TagList()
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
        self._show_edit()
        self.call_after_refresh(self.edits_changed)

    @property
    def _tags(self) -> TagList:
        return self.query_one(TagList)

    @property
    def _asked(self) -> Asked:
        return Asked(self._edit, self._typed, self._tags.filter)

    @property
    def _edit(self) -> BulkEdit:
        return BULK_EDITS[self.query_one("#bulk-edits", OptionList).highlighted or 0]

    @property
    def _typed(self) -> tuple[str, str]:
        first, second = self.query(Field)
        return first.text, second.text

    def edits_changed(self) -> None:
        self._around = self._worked_out = None
        self._count(self.model.settings, self.edits, self.loratui.home)

    @work(thread=True, exclusive=True, group="count", description="count the tags")
    def _count(self, settings: Settings, edits: DatasetEdits, home: Path) -> None:
        from loratui.engine.dataset.implications import implications

        implies, problem = implications(home)
        captions = {name: caption for name, caption in edits.captions().items() if name in self._among}
        around = Around(settings, captions, implies, problem)
        assert around.tags is not None  # worked out here rather than where it is shown
        if not get_current_worker().is_cancelled:
            self.post_message(Counted(edits, around))

    def on_counted(self, message: Counted) -> None:
        """Shows the tags, unless the captions are others by now."""
        if self._is_now(message.edits):
            if message.around.problem and not self._told:
                self._told = True
                self.loratui.tell(message.around.problem, "warning")
            self._around = message.around
            left = len(self.edits.captions()) - len(message.around.captions)
            words = f"{text.count(len(message.around.captions), 'caption')}, {text.number(left)} not meant" if left else ""
            self.line("heading-right").say(plain(words))
            self._tags.show(message.around.tags)
            self._preview_now()

    def _is_now(self, edits: DatasetEdits) -> bool:
        # The deep check makes new preparations all the time; only captions and images matter here.
        return edits.chosen is self.edits.chosen and edits.scan is self.edits.scan

    def _show_edit(self) -> None:
        edit = self._edit
        self.line("bulk-help").say(plain(edit.help))
        for at, field in enumerate(self.query(Field)):
            field.display = at < len(edit.asks)
            if field.display:
                field.query_one(".field-label", Line).say(edit.asks[at])
        self._preview()

    def _preview(self) -> None:
        """Once keys pause: each change of 10 000 captions takes a second of a thread, for which the next key would wait."""
        self._worked_out = None
        self._stop_pause()
        self._pause = self.set_timer(_PAUSE_S, self._preview_now)

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.stop()
            self._pause = None

    def _preview_now(self) -> None:
        self._worked_out = None
        self._stop_pause()
        if self._around is not None:
            self._work_out(self._asked, self._around, self.edits)

    @work(thread=True, exclusive=True, group="preview", description="work out a change of all captions")
    def _work_out(self, asked: Asked, around: Around, edits: DatasetEdits) -> None:
        worker, would = get_current_worker(), dict[str, str]()
        try:
            images = around.tags.chosen(asked.filter.having, asked.filter.lacking)
            would = changed_captions(asked.edit, asked.typed, around, images, lambda: worker.is_cancelled)
            why = "" if would else why_nothing(asked.edit, asked.typed, around)
        except Cancelled:
            return
        except UsageError as error:
            why = str(error)
        after = edits.with_captions(f"{asked.edit.title} in {text.count(len(would), 'caption')}", would)
        assert after.edited is not None  # worked out here rather than where it is shown
        if not worker.is_cancelled:
            self.post_message(WorkedOut(asked, edits, would, after, why))

    def on_worked_out(self, message: WorkedOut) -> None:
        """Shows what would change, unless something else is asked by now; then makes it, if that was asked."""
        if message.asked != self._asked or not self._is_now(message.edits) or self._around is None:
            return
        self._worked_out = message
        chosen = len(self._around.tags.chosen(message.asked.filter.having, message.asked.filter.lacking))
        of = f"of {text.count(chosen, 'caption')} {message.asked.filter.words()}".rstrip()
        if message.would:
            words = plain(f"{text.number(len(message.would))} {of} would change:", "bold")
        elif message.asked.filter:
            words = plain(f"{message.why} ({text.number(chosen)} {message.asked.filter.words()})", "$muted")
        else:
            words = plain(message.why, "$muted")
        self.line("bulk-count").say(words)
        self.line("bulk-preview").say(Content("\n").join(list(self._samples(message.would))))
        self.refresh_bindings()
        if self._wanted == message.asked:
            self._make(message)

    def _samples(self, would: Mapping[str, str]) -> Iterator[Content]:
        for name in list(would)[:_SAMPLES]:
            yield plain(name, "$muted")
            yield from difference(self.edits.caption(name), would[name])
        if len(would) > _SAMPLES:
            yield plain(f"and {text.number(len(would) - _SAMPLES)} more", "$muted")

    # Keys

    @property
    def can_apply(self) -> bool:
        """Whether the change that is shown would change something, or needs a text first."""
        # What was just typed is not worked out yet: over a slow link enter comes in one bunch with it.
        known = self._worked_out
        if self._tags.tag:
            return False  # enter takes the tag
        return known is None or known.asked != self._asked or bool(known.would) or self._next_field() is not None

    @property
    def at_lists(self) -> bool:
        """Whether letters are keys rather than text."""
        return not isinstance(self.focused, Input)

    @property
    def tag_here(self) -> bool:
        """Whether a tag is under the highlight."""
        return bool(self._tags.tag)

    @property
    def filtered(self) -> bool:
        """Whether only some captions are meant."""
        return self.at_lists and bool(self._tags.filter)

    def action_turn_tag(self) -> None:
        self._tags.turn()

    def action_order_tags(self) -> None:
        self._tags.next_order()

    def action_find_tag(self) -> None:
        self._tags.search()

    def action_all_captions(self) -> None:
        self._tags.clear()

    def action_show_tagged(self) -> None:
        """Back to the dataset step, with the images whose captions are meant."""
        if self._around is not None:
            wanted = self._tags.filter
            names = self._around.tags.chosen(wanted.having, wanted.lacking)
            if names:
                words = f"Only {text.count(len(names), 'image')} {wanted.words()}".rstrip()
                self._show_images(names, f"{words}; esc shows all again.")
                self.dismiss()

    def on_tag_list_filtered(self) -> None:
        self._preview()
        self.refresh_bindings()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_list.id == "bulk-edits":
            self._show_edit()

    def on_option_list_option_selected(self) -> None:
        self.action_next()

    def on_tag_list_taken(self, message: TagList.Taken) -> None:
        """The tag goes into the first field of the change."""
        changes = self.query_one("#bulk-edits", OptionList)
        if not self._edit.asks:
            changes.highlighted = next(at for at, edit in enumerate(BULK_EDITS) if edit.tags)
        self._show_edit()
        first = next(iter(self.query(Field)))
        first.set(message.tag)
        first.enter()
        self._preview()

    def on_field_edited(self) -> None:
        self._preview()

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
        self._wanted = self._asked
        if self._worked_out is not None and self._worked_out.asked == self._wanted:
            self._make(self._worked_out)
        else:
            self._preview_now()

    def _make(self, wanted: WorkedOut) -> None:
        self._wanted = None
        if not wanted.would:
            return
        count = text.count(len(wanted.would), "caption")
        same = wanted.edits is self.edits
        self.model.choose(wanted.after if same else self.edits.with_captions(wanted.after.past[-1][0], wanted.would))
        self.loratui.tell(f"{count} changed here. s saves them to their files; u undoes it.")
        self.query_one("#bulk-edits", OptionList).focus()
