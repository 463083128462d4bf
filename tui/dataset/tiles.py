"""The images of a dataset as tiles, each with what is said of it: all of them, or those of one finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from loratui.engine.dataset.buckets import BucketRule
from loratui.engine.dataset.scan import DatasetScan
from loratui.tui.dataset.image_marks import tile_label
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.widgets.image_grid import ImageGrid, Item, Label


class DatasetTiles(ImageGrid):
    """Lays its tiles out anew only where there are others; else it only says other things of them."""

    DEFAULT_CSS = """
    DatasetTiles { width: 1fr; height: 1fr; border-left: solid $border-blurred; padding: 0 0 0 1; }
    """

    def __init__(self, model: DatasetModel) -> None:
        super().__init__(self._label, id="images")
        self._model = model
        self._only: frozenset[str] = frozenset()
        self._made_of: tuple[DatasetScan, frozenset[str]] | None = None
        self._rule = BucketRule(512)

    @property
    def of_one_finding(self) -> bool:
        """Whether only the images of one finding are shown."""
        return bool(self._only)

    @property
    def meant(self) -> Sequence[str]:
        """The images that a change of captions is made to: those that are marked, else all that are shown."""
        return [name for name in self.names if name in self._model.marked] or self.names

    def only(self, names: Iterable[str] = ()) -> None:
        """From now on only these images are shown, or all of them."""
        self._only = frozenset(names)

    def follow(self) -> None:
        """Shows the set as it is now."""
        edits = self._model.edits
        assert edits is not None
        self._rule = BucketRule.of(self._model.settings.dataset)
        if self._made_of is not None and self._made_of[0] is edits.scan and self._made_of[1] == self._only:
            self.refresh()
            return
        self._made_of = (edits.scan, self._only)
        images = [image for image in edits.scan.images if not self._only or image.relative in self._only]
        others = [] if self._only else list(edits.unusable)
        self.show([*(Item(i.relative, i.path) for i in images), *(Item(o.relative, o.path) for o in others)])

    def _label(self, name: str) -> Label:
        edits, judgement = self._model.edits, self._model.judgement
        if edits is None:
            return Label(" ", "", "")
        label = tile_label(name, edits, judgement.worst if judgement else {}, self._rule)
        return dataclasses.replace(label, sign="●", tone="note") if name in self._model.marked else label
