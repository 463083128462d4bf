"""What screens with one large image share: a key for real pixels, and the scp line of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import SuspendNotSupported

from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import ssh_hints
from loratui.tui.terminal.thumbnails import ThumbnailError


class LargeImage(LoratuiScreen[None]):
    """Subclasses define `image_path` and `image_title`."""

    INSTEAD: ClassVar[str] = "y copies the file's scp command"
    """What to do without real pixels."""

    @property
    def image_path(self) -> Path | None:
        raise NotImplementedError

    @property
    def image_title(self) -> str:
        """The line below the image in real pixels."""
        raise NotImplementedError

    def action_pixels(self) -> None:
        from loratui.tui.terminal import full_image

        path = self.image_path
        if path is None:
            return
        try:
            with self.app.suspend():
                problem = full_image.show(path, self.image_title)
        except SuspendNotSupported:
            problem = "the app cannot be suspended here"
        except (ThumbnailError, OSError) as error:
            problem = f"{path.name} {error}"
        if problem:
            self.loratui.tell(f"No real pixels: {problem}. {self.INSTEAD}.", "warning")

    def copyable(self) -> Sequence[tuple[str, str]]:
        path = self.image_path
        return [("path", str(path)), ("scp line", ssh_hints.scp_line(path))] if path is not None else []
