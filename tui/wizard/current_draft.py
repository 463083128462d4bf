"""The run that is being planned, and its copy on disk, which follows each change."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.errors import LoratuiError
from loratui.tui.bindings import WIZARD
from loratui.tui.messages import DraftOpened
from loratui.tui.terminal import clean
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.drafts import DraftSaver, SavedDraft, new_id


class CurrentDraft:
    """What the steps of the wizard read and change. It is kept on disk from the first change on, not before."""

    def __init__(self, home: Path, draft: Draft | None = None) -> None:
        self._saver = DraftSaver(home)
        self._draft = draft or Draft()
        self._id = ""
        """Its name on disk; empty while it is not kept."""
        self._step = WIZARD[0]

    @property
    def draft(self) -> Draft:
        """As it stands."""
        return self._draft

    def change(self, draft: Draft) -> None:
        """Takes a change in. Screens that only fill themselves in must not make a draft of what nobody has touched."""
        if draft != self._draft:
            self._draft = draft
            self._save()

    def begin(self, draft: Draft | None = None, id: str = "") -> None:
        """Another draft: a new one, or with its `id` one that lies on disk."""
        self._draft, self._id = draft or Draft(), id

    def at(self, step: str) -> None:
        """The person is at this step now."""
        self._step = step
        if self._id:
            self._save()

    def forget(self) -> None:
        """The planned run was started. Raises `DiskError`."""
        id, self._draft, self._id = self._id, Draft(), ""
        if id:
            self._saver.forget(id)

    def flush(self) -> None:
        """Has the last state on disk, or gives up after a moment."""
        self._saver.flush()

    def farewell(self) -> str:
        """What to tell of it when the app ends; empty where nothing is kept."""
        if not self._id:
            return ""
        self._saver.flush()
        problem = clean(self._saver.problem, 300)
        return f"Your draft could not be kept: {problem}" if problem else "Your draft is kept; loratui offers it again."

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
        return DraftOpened(saved.id, None, "", f"The draft cannot be used by this version: {error}")
    step = saved.step if saved.step in WIZARD else WIZARD[0]
    try:
        draft = draft.with_scan(scan(Path(str(draft.value("dataset.path")))))
    except (LoratuiError, OSError):
        step = WIZARD[min(WIZARD.index(step), WIZARD.index("dataset"))]
    return DraftOpened(saved.id, draft, step)
