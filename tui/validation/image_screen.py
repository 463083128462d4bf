"""A validation image beside the base alone, or beside the training image it is most like."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from loratui.tui.runs.image_page import Shown
from loratui.tui.runs.image_screen import ImageScreen
from loratui.tui.validation import grid_images
from loratui.tui.validation.grid_images import Slot, Table, Tile
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.widgets.thumbnail import ThumbnailView

Beside = Literal["base", "training", "nothing"]
_ORDER: tuple[Beside, ...] = ("base", "training", "nothing")


class ValidationImage(ImageScreen):
    """Two images side by side; the arrows go along the table, `c` changes the second image."""

    CONTEXT = "validation_image"
    CSS_PATH = "image_screen.tcss"

    def __init__(self, model: ValidationModel, table: Table, tile: Tile) -> None:
        self.model = model
        self._tiles: list[Tile] = []
        shown: list[Shown] = []
        for row in table.rows:
            for column, here in zip(table.columns, row.tiles, strict=True):
                path = model.path_of(here) if here is not None else None
                if here is not None and path is not None:
                    self._tiles.append(here)
                    shown.append(Shown(path, row.title, column))
        super().__init__(f"{model.run.name}, validation", shown, self._tiles.index(tile))
        self._wanted: Beside = "base" if tile.slot.strength else "training"

    def body(self) -> ComposeResult:
        with Horizontal(id="pair"):
            with Vertical(classes="half"):
                yield Line(id="left-title", classes="half-title")
                yield ThumbnailView("no image", id="image")
            with Vertical(classes="half", id="right"):
                yield Line(id="right-title", classes="half-title")
                yield ThumbnailView("no image", id="beside-image")
        yield Line(id="image-words")
        yield Line(id="image-like")
        yield Line(id="image-path")
        yield Line(id="image-scp")
        yield Line(id="image-page")

    @property
    def tile(self) -> Tile:
        return self._tiles[self._at]

    @property
    def several_beside(self) -> bool:
        return len(self._possible()) > 1

    def action_beside(self) -> None:
        """Compares with the next possible image."""
        possible = self._possible()
        now = self._beside_now()
        self._wanted = possible[(possible.index(now) + 1) % len(possible)]
        self._show()

    @property
    def can_note(self) -> bool:
        """A note is on an image of the validation, not on a photo."""
        return not self.tile.training

    def action_note(self) -> None:
        from loratui.tui.validation.note_screen import NoteScreen

        path = self.tile.slot.path

        def written(note: str | None) -> None:
            if note is None:
                return
            if problem := self.model.keep(lambda kept: kept.note_image(path, note)):
                self.loratui.tell(problem, "error")
            self._show()

        self.app.push_screen(NoteScreen("Note on this image", self.model.kept.images.get(path, "")), written)

    def _show(self) -> None:
        super()._show()
        tile, slot = self.tile, self.tile.slot
        beside = self._beside_now()
        path, title = self._image_beside(beside)
        self.line("left-title").say(plain(self.model.title_of(tile), "bold"))
        self.query_one("#right").display = path is not None
        if path is not None:
            self.line("right-title").say(plain(title, "bold"))
            self.query_one("#beside-image", ThumbnailView).show(path)
        self.line("image-words").say(plain(slot.prompt, "bold"), plain(f"  seed {slot.seed}", "$muted"), self._note())
        word, _, meaning = grid_images.likeness(slot.similarity)
        figure = f" ({slot.similarity:.2f} of 1)" if slot.similarity is not None else ""
        like = self.line("image-like")
        self.present("image-like", bool(slot.nearest))
        tone = "bold $warning" if slot.similarity is not None and slot.similarity >= grid_images.VERY_LIKE else "bold"
        like.say(plain(f"{word} {slot.nearest}{figure}: ", tone), plain(meaning))
        self.refresh_bindings()

    def _note(self) -> Content:
        note = self.model.kept.images.get(self.tile.slot.path, "") if self.can_note else ""
        return joined(plain("  note  ", "$accent"), plain(" ".join(note.split()))) if note else Content("")

    def _possible(self) -> list[Beside]:
        return [beside for beside in _ORDER if beside == "nothing" or self._image_beside(beside)[0] is not None]

    def _beside_now(self) -> Beside:
        possible = self._possible()
        return self._wanted if self._wanted in possible else possible[0]

    def _image_beside(self, beside: Beside) -> tuple[Path | None, str]:
        tile, slot = self.tile, self.tile.slot
        if beside == "base":
            base = None if not slot.strength and not tile.training else self._base_of(slot)
            return (self.model.run.file(base.path) if base else None), "the base alone"
        if beside == "training" and slot.nearest:
            if tile.training:
                return self.model.run.file(slot.path), "the image that resembles it"
            return self.model.training.get(slot.nearest), f"training image {slot.nearest}"
        return None, ""

    def _base_of(self, slot: Slot) -> Slot | None:
        same = (s for s in self.model.slots if s.made and not s.strength)
        return next((s for s in same if (s.prompt, s.seed) == (slot.prompt, slot.seed)), None)
