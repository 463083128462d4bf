"""What will be done to the images and captions, line by line, before it is done; then it is carried out on a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option
from textual.worker import Worker, get_current_worker

from loratui.engine.dataset import remedies
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.bindings import bindings_for
from loratui.tui.dataset.choices_screen import DatasetPart
from loratui.tui.widgets.line import Line, joined, plain

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.tui.dataset.choices_screen import DatasetChoices
    from loratui.tui.dataset.edits import DatasetEdits

UNSAVED = "Training reads the caption files. What is not saved will not be trained on; it stays here for later."
UNSAVED_AT_THE_END = (
    "They are not in the caption files yet. Without saving they are kept with the draft, on this machine alone."
)


class _CancelledError(Exception):
    """Somebody does not want the copy any more."""


@dataclass
class CopyProgress(Message):
    """Images written so far."""

    done: int
    total: int


@dataclass
class CopyMade(Message):
    """The copy is there, or could not be made."""

    prepared: DatasetEdits
    copied: DatasetScan | None
    problem: str = ""


class ChangesScreen(DatasetPart):
    """A list with one line an image; `then` is called once everything is carried out."""

    CONTEXT = "dataset_changes"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("dataset_changes")]
    DEFAULT_CSS = """
    ChangesScreen #changes-about, ChangesScreen #changes-state { height: auto; padding: 0 1; margin-bottom: 1; }
    ChangesScreen #changes-list { height: 1fr; border: none; padding: 0 1; background: $background; }
    """

    def __init__(self, owner: DatasetChoices, then: Callable[[], None] | None) -> None:
        super().__init__(owner)
        self._then = then
        self._rows: list[Remedy | str] = []
        """Remedies, and names of the images whose captions were edited."""
        self._copying: Worker[None] | None = None

    def heading(self) -> Content:
        """Program and purpose."""
        return Content.assemble(("loratui", "bold $accent"), ("  what will be done", "$muted"))

    def body(self) -> ComposeResult:
        """What happens where, the list, and how far it is."""
        yield Line(id="changes-about")
        yield OptionList(id="changes-list", markup=False)
        yield Line(id="changes-state")

    def on_mount(self) -> None:
        """Fills the list."""
        self.query_one(OptionList).focus()
        self.set_changed()

    def set_changed(self) -> None:
        """Something was taken back."""
        prepared = self.prepared
        grouped = remedies.by_image(prepared.chosen.remedies)
        self._rows = [remedy for own in grouped.values() for remedy in own]
        self._rows += prepared.chosen.captions
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(_row(row, prepared)) for row in self._rows])
        if prepared.copied_captions:
            words = f"{text.count(len(prepared.copied_captions), 'saved caption')} go into the copy"
            options.add_option(Option(plain(words)))
        options.highlighted = min(at, options.option_count - 1) if options.option_count else None
        self.line("changes-about").say(_about(prepared))
        self.refresh_bindings()

    # Keys

    def available(self, action: str) -> bool:
        """Only what can be done while nothing is being written."""
        busy = self._copying is not None
        if action == "carry_out":
            return not busy and self.prepared.needs_copy
        if action == "drop":
            return not busy and self._chosen is not None
        return (not busy or action not in ("undo", "redo", "save_captions")) and super().available(action)

    @property
    def _chosen(self) -> Remedy | str | None:
        at = self.query_one(OptionList).highlighted if self.is_mounted else None
        return self._rows[at] if at is not None and at < len(self._rows) else None

    def action_drop(self) -> None:
        """Takes the change under the highlight back."""
        row = self._chosen
        if row is None:
            return
        if isinstance(row, str):
            saved = {row: self.prepared.saved_caption(row)}
            self.owner.choose(self.prepared.with_captions(f"not: the caption of {row}", saved))
        else:
            what = f"not: {row.relative} {row.describe()}"
            self.owner.choose(self.prepared.without_remedy(what, row.kind, row.relative))
        self.set_changed()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter carries everything out."""
        event.stop()
        self.action_carry_out()

    def action_carry_out(self) -> None:
        """Makes the copy."""
        if self._copying is None and self.prepared.needs_copy:
            self._copying = self._copy(self.prepared)
            self.line("changes-state").wait("copying", style="$accent")
            self.refresh_bindings()

    def action_back(self) -> None:
        """Ends the copying, or goes back."""
        if self._copying is not None:
            self._copying.cancel()
            self._copying = None
            self.line("changes-state").say(plain("Not copied; nothing is left of it. Enter begins again.", "$muted"))
            self.refresh_bindings()
            return
        super().action_back()

    # Copying

    @work(thread=True, exclusive=True, group="copy", description="make the prepared copy")
    def _copy(self, prepared: DatasetEdits) -> None:
        from loratui.engine.dataset.prepared_copy import copy_below
        from loratui.engine.dataset.scan import scan

        worker = get_current_worker()

        def progress(done: int, total: int) -> None:
            if worker.is_cancelled:
                raise _CancelledError
            self.post_message(CopyProgress(done, total))

        try:
            chosen, captions = prepared.chosen.remedies, prepared.copied_captions
            copy = copy_below(self.loratui.home / "datasets", prepared.sound, chosen, captions=captions, progress=progress)
            message = CopyMade(prepared, scan(copy))
        except _CancelledError:
            return
        except LoratuiError as error:
            message = CopyMade(prepared, None, str(error))
        if not worker.is_cancelled:
            self.post_message(message)

    def on_copy_progress(self, message: CopyProgress) -> None:
        """Says how far it is."""
        message.stop()
        if self._copying is not None:
            words = f"copying {text.number(message.done)} of {text.count(message.total, 'image')} · esc ends it"
            self.line("changes-state").say(plain(words, "$accent"))

    def on_copy_made(self, message: CopyMade) -> None:
        """Trains on the copy from now on, or says what went wrong."""
        message.stop()
        self._copying = None
        self.refresh_bindings()
        if message.copied is None:
            self.line("changes-state").say(plain(f"✖ {message.problem}", "$error"))
            return
        if self.prepared.chosen.remedies != message.prepared.chosen.remedies:
            return
        self.owner.choose(self.prepared.with_copy(message.copied))
        self.owner.point_to(self.prepared)
        self.loratui.tell(f"Done, in {message.copied.root}. Your own images are as they were.")
        self.dismiss()
        if self._then is not None:
            self.app.call_later(self._then)


class UnsavedScreen(ModalScreen[str | None]):
    """Asks what is to become of captions that are not saved: `save`, `keep`, or None to stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('save')"),
        Binding("k", "answer('keep')"),
        Binding("escape,n,q", "stay"),
    ]
    DEFAULT_CSS = """
    UnsavedScreen { align: center middle; background: $background 60%; }
    """

    def __init__(self, count: int, details: str, then: str = "go on") -> None:
        super().__init__()
        self._count = count
        self._details = details
        self._then = then

    def compose(self) -> ComposeResult:
        """Question and keys."""
        keys = (("s", f"save them and {self._then}"), ("k", f"{self._then} without saving"), ("esc", "stay here"))
        with Vertical(classes="dialog"):
            yield Line(plain(f"{text.count(self._count, 'caption')} not saved", "bold"))
            yield Line(plain(self._details, "$muted"))
            for key, words in keys:
                yield Line(joined(plain(key, "bold $accent"), f"  {words}"), classes="answers")

    def action_answer(self, answer: str) -> None:
        """Closes with the answer."""
        self.dismiss(answer)

    def action_stay(self) -> None:
        """Closes without one."""
        self.dismiss(None)


def _row(row: Remedy | str, prepared: DatasetEdits) -> Content:
    if isinstance(row, str):
        caption = prepared.caption(row)
        return Content.assemble(plain(row, "bold"), plain(f"  caption: {caption}" if caption else "  no caption any more"))
    return Content.assemble(plain(row.relative, "bold"), plain(f"  {row.describe()}"))


def _about(prepared: DatasetEdits) -> Content:
    if prepared.needs_copy:
        lines = [
            plain(f"{text.count(len(prepared.chosen.remedies), 'change')}, made on a copy of {prepared.root}.", "bold"),
            plain("Your own images stay as they are. Images without a change are copied byte for byte.", "$muted"),
        ]
    else:
        lines = [plain("Nothing is to be done to the images; they are trained on as they are.")]
    if prepared.copy is not None:
        lines.append(plain(f"✔ Carried out already, in {prepared.copy}.", "$success"))
    if prepared.unsaved:
        words = f"✎ {text.count(prepared.unsaved, 'edited caption')}, not saved and so not trained on yet: s writes them"
        lines.append(plain(f"{words} to the caption files at once, not to a copy; the old ones are kept.", "$warning"))
    return Content("\n").join(lines)
