"""Small upright pictures for the screen. They are decoded in a process of their own: no file can harm the app or slow it."""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.dataset.pictures import PictureError
from loratui.engine.dataset.worker_process import WorkerDiedError, WorkerProcess
from loratui.engine.untrusted import parse_json

SECONDS_A_PICTURE = 60.0
"""Whatever the machine is busy with, an answer that takes longer is not waited for."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a picture is to fit: `width` × `height` px, each `shape` as wide as it is high."""

    width: int
    height: int
    shape: float = 1.0
    even: bool = False
    """Whether the height must be even, since a cell shows two pixels, one above the other."""
    enlarge: bool = True

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The largest size in px that keeps the look of a picture of `width` × `height` px."""
        scale = min(self.width * self.shape / width, self.height / height)
        scale = scale if self.enlarge else min(1.0, scale)
        step = 2 if self.even else 1
        fitted_width = min(self.width, max(1, round(width * scale / self.shape)))
        return fitted_width, min(self.height // step, max(1, round(height * scale / step))) * step


@dataclass(frozen=True, slots=True)
class Shown:
    """An upright picture of 8-bit RGB."""

    width: int
    height: int
    rgb: bytes
    """Three bytes a pixel, row by row."""
    source_width: int
    """px of the file's picture, upright; so is `source_height`."""
    source_height: int


class Display:
    """Decodes one picture after the other. The process is started when it is first needed, and anew after one that it died of."""

    def __init__(self) -> None:
        self._worker = WorkerProcess("loratui.engine.dataset.display_worker")
        self._one_at_a_time = threading.Lock()
        atexit.register(self.end)

    def shown(self, path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
        """The picture at `path` as it fits into `room`, transparency laid on `ground`.

        Blocks until it is there. Raises `PictureError`.
        """
        request = [str(path), room.width, room.height, room.shape, room.even, room.enlarge, ground]
        with self._one_at_a_time:
            if not self._worker.runs and not self._worker.begin():
                raise PictureError(f"cannot be shown: no process for it can be started ({self._worker.failure})")
            try:
                self._worker.send(request)
                answer = parse_json(self._worker.line(SECONDS_A_PICTURE))
                if "error" in answer:
                    raise PictureError(answer["error"])
                width, height, source_width, source_height = answer["size"]
                rgb = self._worker.content(3 * width * height, SECONDS_A_PICTURE)
            except WorkerDiedError as error:
                self._worker.end()
                raise PictureError(str(error)) from None
        return Shown(width, height, rgb, source_width, source_height)

    def end(self) -> None:
        """Ends the process."""
        self._worker.end()
