"""What a person chooses for the images: remedies, captions, undo; saving captions, and carrying everything out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message

from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.dataset.work import DatasetWork
from loratui.tui.screens.base import LoratuiScreen

if TYPE_CHECKING:
    from loratui.tui.dataset.edits import DatasetEdits
    from loratui.tui.dataset.quick_fixes import QuickFix


@dataclass
class CaptionsSaved(Message):
    """Captions were written, or could not be."""

    taken_in: Callable[[DatasetEdits], DatasetEdits] | None
    """What follows for the choices; None if nothing was written."""
    words: str


class DatasetPart(LoratuiScreen[None]):
    """A screen over the data-set step: it shows and changes the same choices."""

    def __init__(self, owner: DatasetChoices) -> None:
        super().__init__()
        self.owner = owner

    @property
    def prepared(self) -> DatasetEdits:
        """The folder and what was chosen for it."""
        prepared = self.owner.prepared
        assert prepared is not None
        return prepared

    def set_changed(self) -> None:
        """The choices, the findings or the measures are others."""

    def available(self, action: str) -> bool:
        """Undo and its like only where there is something to undo."""
        match action:
            case "save_captions":
                return bool(self.prepared.unsaved)
            case "undo":
                return bool(self.prepared.past)
            case "redo":
                return bool(self.prepared.future)
        return True

    def action_undo(self) -> None:
        """One step back."""
        self.owner.action_undo()

    def action_redo(self) -> None:
        """One step forth."""
        self.owner.action_redo()

    def action_save_captions(self) -> None:
        """Writes the edited captions."""
        self.owner.action_save_captions()

    def action_back(self) -> None:
        """Back to the step."""
        self.dismiss()


class DatasetChoices(DatasetWork):
    """The choices of the data-set step. Each is one step of undo."""

    def __init__(self) -> None:
        super().__init__()
        self._after_saving: Callable[[], None] | None = None
        """What goes on once the captions are on the disk."""

    @property
    def all_measured(self) -> bool:
        """Whether the deep check has nothing left to do."""
        prepared = self.prepared
        return prepared is not None and len(prepared.facts) + len(prepared.damaged) >= len(prepared.scan.images)

    def say(self, words: str) -> None:
        """A word on what was just chosen."""
        self.loratui.tell(words)

    def tell_parts(self) -> None:
        """Screens above this one follow."""
        for screen in self.app.screen_stack:
            if isinstance(screen, DatasetPart) and screen.stands:
                screen.set_changed()
                screen.refresh_bindings()

    # Choosing

    def take(self, mend: QuickFix) -> None:
        """Chooses what mends a finding."""
        prepared = self.prepared
        assert prepared is not None
        if mend.settings:
            self.loratui.draft = self.loratui.draft.with_values(mend.settings)
        if mend.remedies:
            prepared = prepared.with_remedies(mend.label, mend.remedies)
        if mend.captions:
            prepared = prepared.with_captions(mend.label, mend.captions)
        self.choose(prepared)
        later = " Not written yet: s saves the captions." if mend.captions else ""
        later = later or (" Done on a copy when you go on; u takes it back." if mend.remedies else "")
        self.say(f"Chosen: {mend.label}.{later}")

    def toggle_left_out(self, name: str) -> None:
        """Leaves an image out, or takes it in again."""
        from loratui.engine.dataset.remedies import Remedy

        prepared = self.prepared
        if prepared is None or name not in prepared.names:
            return
        if prepared.has("leave_out", name):
            self.choose(prepared.without_remedy(f"take {name} in again", "leave_out", name))
        else:
            self.choose(prepared.with_remedies(f"leave {name} out", [Remedy("leave_out", name)]))

    def action_undo(self) -> None:
        """Takes the last choice back."""
        if self.prepared is not None:
            before, what = self.prepared.undone()
            self._stepped(before, what, "Taken back")

    def action_redo(self) -> None:
        """Does it again."""
        if self.prepared is not None:
            after, what = self.prepared.redone()
            self._stepped(after, what, "Done again")

    def _stepped(self, prepared: DatasetEdits, what: str, words: str) -> None:
        if what:
            self.choose(prepared)
            self.say(f"{words}: {what}.")

    # Deep check

    def action_deep(self) -> None:
        """Looks at every pixel, while one goes on working."""
        self.measure()

    def action_stop_deep(self) -> None:
        """Ends that."""
        self.stop_measuring()
        self.say("The deep check ends; what it found stays. d goes on with it.")

    def action_faces(self) -> None:
        """Looks for faces too; the detector is brought here first."""
        self.say("Getting the face detector …")
        self.fetch_detector()

    @property
    def faces_known(self) -> bool:
        """Whether faces were looked for in all images."""
        prepared = self.prepared
        return prepared is not None and self.all_measured and all(f.faces is not None for f in prepared.facts.values())

    # Screens above

    def open_image(self, name: str, names: Sequence[str], then: Callable[[str], None]) -> None:
        """One image large; `then` is told at which one the person was at the end."""
        from loratui.tui.dataset.image_screen import DatasetImageScreen

        prepared = self.prepared
        if prepared is None or name not in prepared.names:
            return
        screen = DatasetImageScreen(self, [other for other in names if other in prepared.names], name)
        self.app.push_screen(screen, lambda _: then(screen.name_shown))

    def action_captions(self) -> None:
        """All captions at once."""
        from loratui.tui.dataset.captions_screen import CaptionsScreen

        self.app.push_screen(CaptionsScreen(self))

    def action_changes(self) -> None:
        """What will be done."""
        from loratui.tui.dataset.changes_screen import ChangesScreen

        self.app.push_screen(ChangesScreen(self, None))

    # Carrying out

    def carry_out_and(self, then: Callable[[], None]) -> None:
        """Asks about captions that are not saved, shows what will be done and does it on a copy; then `then`."""
        from loratui.tui.dataset.changes_screen import UNSAVED, ChangesScreen, UnsavedScreen

        prepared = self.prepared
        assert prepared is not None

        def go_on() -> None:
            now = self.prepared
            assert now is not None
            if now.needs_copy and now.copy is None:
                self.app.push_screen(ChangesScreen(self, then))
            else:
                self.point_to(now)
                then()

        def answered(answer: str | None) -> None:
            if answer == "save":
                self.save_captions(go_on)
            elif answer == "keep":
                go_on()

        if prepared.unsaved:
            self.app.push_screen(UnsavedScreen(prepared.unsaved, UNSAVED), answered)
        else:
            go_on()

    def asks_before_leaving(self, leave: Callable[[], None]) -> bool:
        """Asks about captions that are not saved; those are kept with the draft."""
        from loratui.tui.dataset.changes_screen import UNSAVED_AT_THE_END, UnsavedScreen

        def answered(answer: str | None) -> None:
            if answer == "save":
                self.save_captions(leave)
            elif answer == "keep":
                leave()

        prepared = self.prepared
        if prepared is None or not prepared.unsaved:
            return False
        self.app.push_screen(UnsavedScreen(prepared.unsaved, UNSAVED_AT_THE_END, "leave"), answered)
        return True

    def point_to(self, prepared: DatasetEdits) -> None:
        """The draft trains on this folder, or on the copy of it."""
        trained = prepared.trained
        draft = self.loratui.draft.with_values({"dataset.path": str(trained.root)})
        self.loratui.draft = draft.with_scan(trained)

    # Saving

    def action_save_captions(self) -> None:
        """Writes the edited captions."""
        self.save_captions(None)

    def save_captions(self, then: Callable[[], None] | None) -> None:
        """Writes the edited captions; `then` once they are on the disk."""
        prepared = self.prepared
        if prepared is not None and prepared.unsaved:
            self._after_saving = then
            self._save(prepared)

    @work(thread=True, exclusive=True, group="save", description="save captions")
    def _save(self, prepared: DatasetEdits) -> None:
        try:
            taken_in, words = saved(prepared, self.loratui.home)
        except LoratuiError as error:
            taken_in, words = None, str(error)
        self.post_message(CaptionsSaved(taken_in, words))

    def on_captions_saved(self, message: CaptionsSaved) -> None:
        """Says where they are."""
        message.stop()
        then, self._after_saving = self._after_saving, None
        if message.taken_in is None or self.prepared is None:
            self.loratui.tell(message.words, "error")
            return
        self.choose(message.taken_in(self.prepared))
        self.loratui.tell(message.words)
        if then is not None:
            then()


def saved(prepared: DatasetEdits, home: Path) -> tuple[Callable[[DatasetEdits], DatasetEdits], str]:
    """Writes the edited captions: beside the images, or into the prepared copy where that folder cannot be written.

    Returns what follows for the choices, and what to tell. Raises `LoratuiError`.
    """
    from loratui.engine.dataset import caption_store
    from loratui.engine.dataset.prepared_copy import copy_below
    from loratui.engine.dataset.scan import scan

    texts = dict(prepared.chosen.captions)
    if caption_store.is_writable(prepared.scan):
        written = caption_store.save(prepared.scan, texts)
        found = scan(prepared.root)
        words = f"{text.count(written.written, 'caption')} saved in {prepared.root}; the old ones are kept in {written.kept}."
        return lambda now: now.saved_beside(found), words
    after = prepared.saved_for_copy(texts)
    copy = scan(copy_below(home / "datasets", after.sound, after.chosen.remedies, captions=after.copied_captions))
    words = f"{prepared.root} cannot be written, so {text.count(len(texts), 'caption')} saved in a copy: {copy.root}."
    chosen = prepared.chosen.remedies

    def taken_in(now: DatasetEdits) -> DatasetEdits:
        saved_now = now.saved_for_copy(texts)
        return saved_now.with_copy(copy) if saved_now.chosen.remedies == chosen else saved_now

    return taken_in, words
