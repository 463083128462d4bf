"""What will be done to the images and captions, line by line, before it is done; then it is carried out on a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option
from textual.worker import Worker, get_current_worker

from loratui.engine.dataset import remedies
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.tui.dataset.edits import DatasetEdits


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

    edits: DatasetEdits
    copied: DatasetScan | None
    problem: str = ""


class ChangesScreen(DatasetPart):
    """A list with one line an image; `then` is called once everything is carried out."""

    CONTEXT = "dataset_changes"
    PURPOSE = "what will be done"
    DEFAULT_CSS = """
    ChangesScreen #changes-about, ChangesScreen #changes-state { height: auto; padding: 0 1; margin-bottom: 1; }
    ChangesScreen #changes-list { height: 1fr; border: none; padding: 0 1; background: $background; }
    """

    def __init__(self, model: DatasetModel, then: Callable[[], None] | None) -> None:
        super().__init__(model)
        self._then = then
        self._rows: list[Remedy | str] = []
        """Remedies, and names of the images whose captions were edited."""
        self._copying: Worker[None] | None = None

    def body(self) -> ComposeResult:
        """What happens where, the list, and how far it is."""
        yield Line(id="changes-about")
        yield OptionList(id="changes-list", markup=False)
        yield Line(id="changes-state")

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.edits_changed()

    def edits_changed(self) -> None:
        edits = self.edits
        grouped = remedies.by_image(edits.chosen.remedies)
        self._rows = [remedy for own in grouped.values() for remedy in own]
        self._rows += edits.chosen.captions
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(_row(row, edits)) for row in self._rows])
        if edits.copied_captions:
            words = f"{text.count(len(edits.copied_captions), 'saved caption')} go into the copy"
            options.add_option(Option(plain(words)))
        options.highlighted = min(at, options.option_count - 1) if options.option_count else None
        self.line("changes-about").say(_about(edits))
        self.refresh_bindings()

    # Keys

    @property
    def can_carry_out(self) -> bool:
        """Whether there is something to do, and it is not being done."""
        return not self.model.copying and self.edits.needs_copy

    @property
    def change_here(self) -> bool:
        """Whether the highlight is on a change that can be taken back."""
        return not self.model.copying and self._chosen is not None

    @property
    def _chosen(self) -> Remedy | str | None:
        at = self.query_one(OptionList).highlighted
        return self._rows[at] if at is not None and at < len(self._rows) else None

    def action_drop(self) -> None:
        row = self._chosen
        if row is None:
            return
        if isinstance(row, str):
            saved = {row: self.edits.saved_caption(row)}
            self.model.choose(self.edits.with_captions(f"not: the caption of {row}", saved))
        else:
            what = f"not: {row.relative} {row.describe()}"
            self.model.choose(self.edits.without_remedy(what, row.kind, row.relative))
        self.edits_changed()

    def on_option_list_option_selected(self) -> None:
        self.action_carry_out()

    def action_carry_out(self) -> None:
        if self.can_carry_out:
            self.model.copying = True
            self._copying = self._copy(self.edits)
            self.line("changes-state").wait("copying", style="$accent")
            self.refresh_bindings()

    def action_back(self) -> None:
        """Ends the copying, or goes back."""
        if self._copying is not None:
            self._copying.cancel()
            self._stop_copying()
            self.line("changes-state").say(plain("Not copied; nothing is left of it. Enter begins again.", "$muted"))
            return
        super().action_back()

    # Copying

    def _stop_copying(self) -> None:
        self.model.copying, self._copying = False, None
        self.refresh_bindings()

    @work(thread=True, exclusive=True, group="copy", description="make the prepared copy")
    def _copy(self, edits: DatasetEdits) -> None:
        from loratui.engine.dataset.prepared_copy import copy_below
        from loratui.engine.dataset.scan import scan

        worker = get_current_worker()

        def progress(done: int, total: int) -> None:
            if worker.is_cancelled:
                raise _CancelledError
            self.post_message(CopyProgress(done, total))

        try:
            chosen, captions = edits.chosen.remedies, edits.copied_captions
            copy = copy_below(self.loratui.home / "datasets", edits.sound, chosen, captions=captions, progress=progress)
            message = CopyMade(edits, scan(copy))
        except _CancelledError:
            return
        except LoratuiError as error:
            message = CopyMade(edits, None, str(error))
        if not worker.is_cancelled:
            self.post_message(message)

    def on_copy_progress(self, message: CopyProgress) -> None:
        if self._copying is not None:
            words = f"copying {text.number(message.done)} of {text.count(message.total, 'image')} · esc ends it"
            self.line("changes-state").say(plain(words, "$accent"))

    def on_copy_made(self, message: CopyMade) -> None:
        """Trains on the copy from now on, or says what went wrong."""
        self._stop_copying()
        if message.copied is None:
            self.line("changes-state").say(plain(f"✖ {message.problem}", "$error"))
            return
        if self.edits.chosen.remedies != message.edits.chosen.remedies:
            return
        self.model.choose(self.edits.with_copy(message.copied))
        self.model.point_to(self.edits)
        self.loratui.tell(f"Done, in {message.copied.root}. Your own images are as they were.")
        self.dismiss()
        if self._then is not None:
            self.app.call_later(self._then)


def _row(row: Remedy | str, edits: DatasetEdits) -> Content:
    if isinstance(row, str):
        caption = edits.caption(row)
        return Content.assemble(plain(row, "bold"), plain(f"  caption: {caption}" if caption else "  no caption any more"))
    return Content.assemble(plain(row.relative, "bold"), plain(f"  {row.describe()}"))


def _about(edits: DatasetEdits) -> Content:
    if edits.needs_copy:
        lines = [
            plain(f"{text.count(len(edits.chosen.remedies), 'change')}, made on a copy of {edits.root}.", "bold"),
            plain("Your own images stay as they are. Images without a change are copied byte for byte.", "$muted"),
        ]
    else:
        lines = [plain("No image changes; training uses them as they are.")]
    if edits.copy is not None:
        lines.append(plain(f"✔ Carried out already, in {edits.copy}.", "$success"))
    if edits.unsaved:
        words = f"✎ {text.count(edits.unsaved, 'edited caption')}, not saved and so not trained on yet: s writes them"
        lines.append(plain(f"{words} to the caption files at once, not to a copy; the old ones are kept.", "$warning"))
    return Content("\n").join(lines)
