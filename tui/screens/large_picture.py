"""What the screens with one large picture share: real pixels by a key, and the way to the file for the person's own computer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import SuspendNotSupported

from loratui.tui import reach
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.thumbnails import ThumbnailError


class LargePicture(LoratuiScreen[None]):
    """Subclasses give `picture_path` and `picture_title`."""

    INSTEAD: ClassVar[str] = "y copies the scp line of the file"
    """What helps where there are no real pixels."""

    @property
    def picture_path(self) -> Path | None:
        """The file that is shown."""
        raise NotImplementedError

    @property
    def picture_title(self) -> str:
        """What stands below the picture in real pixels."""
        raise NotImplementedError

    def action_pixels(self) -> None:
        """The picture in real pixels, if this terminal has them."""
        from loratui.tui import full_picture

        path = self.picture_path
        if path is None:
            return
        try:
            with self.app.suspend():
                problem = full_picture.show(path, self.picture_title)
        except SuspendNotSupported:
            problem = "the app cannot step aside here"
        except (ThumbnailError, OSError) as error:
            problem = f"{path.name} {error}"
        if problem:
            self.loratui.tell(f"No real pixels: {problem}. {self.INSTEAD}.", "warning")

    def copyable(self) -> Sequence[tuple[str, str]]:
        """Path and scp line."""
        path = self.picture_path
        return [("path", str(path)), ("scp line", reach.scp_line(path))] if path is not None else []
