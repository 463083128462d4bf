"""What the screens with one large image share: real pixels by a key, and the way to the file for the person's own computer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import SuspendNotSupported

from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import ssh_hints
from loratui.tui.terminal.thumbnails import ThumbnailError


class LargeImage(LoratuiScreen[None]):
    """Subclasses give `image_path` and `image_title`."""

    INSTEAD: ClassVar[str] = "y copies the file's scp command"
    """What to do where there are no real pixels."""

    @property
    def image_path(self) -> Path | None:
        """The file shown."""
        raise NotImplementedError

    @property
    def image_title(self) -> str:
        """The caption below the image in real pixels."""
        raise NotImplementedError

    def action_pixels(self) -> None:
        """The image in real pixels, if this terminal has them."""
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
        """Path and scp line."""
        path = self.image_path
        return [("path", str(path)), ("scp line", ssh_hints.scp_line(path))] if path is not None else []
