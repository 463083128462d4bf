"""A large image with marks drawn onto it."""

from __future__ import annotations

from collections.abc import Callable

from loratui.tui.terminal.thumbnails import Thumbnail
from loratui.tui.widgets.thumbnail import ThumbnailView


class ImageView(ThumbnailView):
    """Shows one file as it will be after the chosen edits."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id)
        self._bare: Thumbnail | None = None
        self._change: Callable[[Thumbnail], Thumbnail] = lambda image: image

    def mark(self, change: Callable[[Thumbnail], Thumbnail]) -> None:
        self._change = change
        self._take(self._bare)

    def on_thumbnail_view_decoded(self, message: ThumbnailView.Decoded) -> None:
        """Takes the image with its marks, unless another file is wanted now."""
        message.stop()
        message.prevent_default()  # this replaces the handler of the base class
        if message.path == self.path:
            self._problem = message.problem
            self._bare = message.image
            self._take(message.image)

    def _take(self, image: Thumbnail | None) -> None:
        self._image = self._change(image) if image is not None else None
        self.refresh()
