"""What widgets with many images share: a thread decodes the images in view, and a limited number is kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.worker import get_current_worker

from loratui.tui.terminal import thumbnails
from loratui.tui.terminal.canvas import Canvas, FewColoursSeen, canvas_of
from loratui.tui.terminal.thumbnails import Thumbnail, ThumbnailError
from loratui.tui.widgets.thumbnail import half_blocks

KEPT = 400
"""Thumbnails that are kept; others are decoded again when they come into view."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thumbnail of at most so many cells."""

    path: Path
    width: int
    rows: int
    shape: float = 1.0
    """Width of a cell divided by half its height."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A thumbnail as the segments of its lines: made once, since each move of the cursor draws its row again."""

    width: int
    lines: tuple[list[Segment], ...]

    @classmethod
    def of(cls, image: Thumbnail) -> Drawn:
        return cls(image.width, tuple(half_blocks(image, y) for y in range(image.height // 2)))


class ImageScroll(ScrollView, can_focus=True):
    """A scrolled widget that shows images. Subclasses add `action_move` and the methods that raise NotImplementedError."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1, 0)", show=False),
        Binding("right,l", "move(1, 0)", show=False),
        Binding("up,k", "move(0, -1)", show=False),
        Binding("down,j", "move(0, 1)", show=False),
    ]

    @dataclass
    class Decoded(Message):
        """A thumbnail is ready, None if the file cannot be shown; without `wanted`, the thread has finished."""

        wanted: Wanted | None = None
        drawn: Drawn | None = None

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.images: dict[Wanted, Drawn | None] = {}
        """Decoded thumbnails; None if a file cannot be shown."""
        self._queue: Sequence[Wanted] = ()
        self._queueing = threading.Lock()
        self._decoding = False

    def in_view(self) -> Sequence[Wanted]:
        """The thumbnails to decode, in order."""
        raise NotImplementedError

    def lay_out(self) -> None:
        """Fits the tiles into the current size."""
        raise NotImplementedError

    def follow_cursor(self) -> None:
        raise NotImplementedError

    def arrived(self, wanted: Wanted) -> None:
        """Repaints a decoded image."""
        raise NotImplementedError

    @property
    def canvas(self) -> Canvas:
        return canvas_of(self.app)

    @property
    def shown_images(self) -> Mapping[Path, bool]:
        """The decoded files, and whether they can be shown."""
        return {wanted.path: drawn is not None for wanted, drawn in self.images.items()}

    def on_resize(self) -> None:
        self.lay_out()
        self.follow_cursor()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.decode_what_is_in_view()

    def decode_what_is_in_view(self) -> None:
        """Queues the images in view, in place of those still waiting."""
        if self.canvas.only_words or not self.size.width:
            return
        wanted = [want for want in self.in_view() if want not in self.images]
        with self._queueing:
            self._queue = wanted
        if wanted and not self._decoding:
            self._decoding = True
            self._decode(self.canvas.few_colours)

    @work(thread=True, group="tiles", description="decode thumbnails")
    def _decode(self, few_colours: bool) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            with self._queueing:
                want, self._queue = (self._queue[0], self._queue[1:]) if self._queue else (None, ())
            if want is None:
                break
            try:
                drawn = Drawn.of(thumbnails.load(want.path, want.width, want.rows, few_colours=few_colours, shape=want.shape))
            except ThumbnailError:
                drawn = None
            self.post_message(self.Decoded(want, drawn))
        self.post_message(self.Decoded())

    def on_image_scroll_decoded(self, message: Decoded) -> None:
        message.stop()
        if message.wanted is None:
            self._decoding = False
            self.decode_what_is_in_view()
            return
        self.images[message.wanted] = message.drawn
        if len(self.images) > KEPT:
            del self.images[next(iter(self.images))]
        self.arrived(message.wanted)
        if message.drawn is not None and self.canvas.few_colours:
            self.post_message(FewColoursSeen())
