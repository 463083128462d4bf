"""What the app and the command line want of images, read in a process of its own: no file can harm them or slow them.

Headers alone are read on the spot, for their number, but for those of HEIC.
"""

from __future__ import annotations

import atexit
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from loratui.engine.dataset.decoding import Header, ImageError, Traits, check_decodes, read_header
from loratui.engine.dataset.worker_limits import why_no_answer
from loratui.engine.job_child import Content
from loratui.engine.jobs import JobDied, JobFailed, Process


@dataclass(frozen=True, slots=True)
class Room:
    """Where an image is to fit: `width` × `height` px, each `shape` as wide as it is high."""

    width: int
    height: int
    shape: float = 1.0
    even: bool = False
    """Whether the height must be even, since a cell shows two pixels, one above the other."""
    enlarge: bool = True

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The largest size in px that keeps the look of an image of `width` × `height` px."""
        scale = min(self.width * self.shape / width, self.height / height)
        scale = scale if self.enlarge else min(1.0, scale)
        step = 2 if self.even else 1
        fitted_width = min(self.width, max(1, round(width * scale / self.shape)))
        return fitted_width, min(self.height // step, max(1, round(height * scale / step))) * step


@dataclass(frozen=True, slots=True)
class Shown:
    """An upright image of 8-bit RGB."""

    width: int
    height: int
    rgb: bytes
    """Three bytes a pixel, row by row."""
    source_width: int
    """px of the file's image, upright; so is `source_height`."""
    source_height: int


@dataclass(frozen=True, slots=True)
class Grey:
    """A small grey image, such as a mask."""

    width: int
    height: int
    levels: bytes
    """One byte a pixel, row by row."""


class NoProcessError(ImageError):
    """No process could be started: not the image's fault."""


class Display:
    """Reads one image after the other. The process is started when it is first needed, and anew after one that it died of."""

    def __init__(self, job: str = "display") -> None:
        self._process = Process(job)
        self._one_at_a_time = threading.Lock()
        atexit.register(self.end)

    def shown(self, path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
        """The image at `path` as it fits into `room`, transparency laid on `ground`.

        Blocks until it is there. Raises `ImageError`.
        """
        answer, rgb = self._asked("show", path, **asdict(room), ground=ground)
        (width, height), (source_width, source_height) = answer["size"], answer["source"]
        return Shown(width, height, rgb, source_width, source_height)

    def mask(self, path: Path, *, alpha: bool) -> Grey:
        """A mask as `masks.read` has it, small. Blocks until it is there. Raises `ImageError`."""
        answer, levels = self._asked("mask", path, alpha=alpha)
        width, height = answer["size"]
        return Grey(width, height, levels)

    def header(self, path: Path) -> Header:
        """As `images.read_header`. Raises `ImageError`."""
        try:
            header = self._asked("header", path).value
        except NoProcessError:
            return read_header(path)
        return Header(**{**header, "traits": Traits(**header["traits"])})

    def check(self, path: Path) -> None:
        """As `images.check_decodes`. Raises `ImageError`."""
        try:
            self._asked("check", path)
        except NoProcessError:
            check_decodes(path)

    def end(self) -> None:
        """Ends the process."""
        self._process.end()

    def _asked(self, what: str, path: Path, **more: object) -> Content:
        with self._one_at_a_time:
            try:
                if not self._process.runs:
                    self._process.begin()
            except JobDied as error:
                raise NoProcessError(f"cannot be read: the process for it {error.why}") from None
            try:
                self._process.ask({"what": what, "path": str(path), **more})
                return self._process.answer()
            except JobFailed as error:
                raise ImageError(error.message) from None
            except JobDied as error:
                self._process.end()
                raise ImageError(why_no_answer(error)) from None


DISPLAY = Display()
"""The one of this process."""
