"""The run being planned, and its copy on disk, which follows each change."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.errors import LoratuiError
from loratui.tui.bindings import WIZARD
from loratui.tui.messages import DraftOpened
from loratui.tui.terminal import clean
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.drafts import DraftSaver, SavedDraft, new_id


class CurrentDraft:
    """The draft that the wizard's steps read and change, saved from its first change on."""

    def __init__(self, home: Path, draft: Draft | None = None) -> None:
        self._saver = DraftSaver(home)
        self._draft = draft or Draft()
        self._id = ""
        """Its name on disk; empty before the first change."""
        self._step = WIZARD[0]

    @property
    def draft(self) -> Draft:
        return self._draft

    def change(self, draft: Draft) -> None:
        """Takes a change. An equal draft is no change: a screen that only fills itself must not save one."""
        if draft != self._draft:
            self._draft = draft
            self._save()

    def begin(self, draft: Draft | None = None, id: str = "") -> None:
        """Begins another draft: a new one, or with its `id` one from disk."""
        self._draft, self._id = draft or Draft(), id

    def at(self, step: str) -> None:
        """Notes the step that the person is at."""
        self._step = step
        if self._id:
            self._save()

    def forget(self) -> None:
        """Deletes the draft of a started run. Raises `DiskError`."""
        id, self._draft, self._id = self._id, Draft(), ""
        if id:
            self._saver.forget(id)

    def flush(self) -> None:
        """Waits until the last state is on disk, or gives up after a moment."""
        self._saver.flush()

    def farewell(self) -> str:
        """What to say of it when the app ends; empty if nothing is saved."""
        if not self._id:
            return ""
        self._saver.flush()
        problem = clean(self._saver.problem, 300)
        return f"Your draft could not be saved: {problem}" if problem else "Your draft is saved; loratui offers it again."

    def _save(self) -> None:
        if self._draft.recipe is not None:
            self._id = self._id or new_id()
            self._saver.save(self._id, self._draft, self._step)


def read_saved(saved: SavedDraft) -> DraftOpened:
    """A draft from disk with its folder read, and the step at which to go on."""
    from loratui.engine.dataset.scan import scan
    from loratui.presets.schema import SchemaError

    try:
        draft = saved.open()
    except (SchemaError, TypeError) as error:
        return DraftOpened(saved.id, None, "", f"This version cannot read the draft: {error}")
    step = saved.step if saved.step in WIZARD else WIZARD[0]
    try:
        draft = draft.with_scan(scan(Path(str(draft.value("dataset.path")))))
    except (LoratuiError, OSError):
        step = WIZARD[min(WIZARD.index(step), WIZARD.index("dataset"))]
    return DraftOpened(saved.id, draft, step)
