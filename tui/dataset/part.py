"""What the screens over the dataset step share: the step's model, and the keys that change it."""

from __future__ import annotations

from collections.abc import Callable

from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.screens.base import LoratuiScreen


class DatasetPart(LoratuiScreen[None]):
    """A screen over the dataset step: it shows and changes the same choices."""

    def __init__(self, model: DatasetModel) -> None:
        super().__init__()
        self.model = model
        self._unwatch: Callable[[], None] | None = None

    @property
    def edits(self) -> DatasetEdits:
        """The folder and what was chosen for it."""
        edits = self.model.edits
        assert edits is not None
        return edits

    @property
    def not_writing(self) -> bool:
        """Whether letters are keys rather than text."""
        return True

    def on_mount(self) -> None:
        self._unwatch = self.model.watch(self._follow)

    def on_unmount(self) -> None:
        if self._unwatch is not None:
            self._unwatch()

    def _follow(self) -> None:
        if self.stands:
            self.edits_changed()
            self.refresh_bindings()

    def edits_changed(self) -> None:
        """The choices, the findings or the measures are others."""

    def action_undo(self) -> None:
        self._say(self.model.undo())

    def action_redo(self) -> None:
        self._say(self.model.redo())

    def action_save_captions(self) -> None:
        self.model.save_captions()

    def action_back(self) -> None:
        self.dismiss()

    def _say(self, words: str) -> None:
        if words:
            self.loratui.tell(words)
