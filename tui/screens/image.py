"""One picture as large as it goes: half blocks here, real pixels or a page in the browser on request, and always its path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from loratui.engine.runs.directory import RunDirectory
from loratui.tui import reach, text
from loratui.tui.bindings import bindings_for
from loratui.tui.gallery import Gallery
from loratui.tui.picture_page import PagePicture, PicturePage
from loratui.tui.run_records import Sample
from loratui.tui.screens.large_picture import LargePicture
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.widgets.thumbnail import ThumbnailView


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in a table of pictures."""

    path: Path
    row: str
    """What its row shows, such as the prompt."""
    column: str
    """What its column shows, such as the step."""
    words: str = ""
    """What else is to say of it."""


class ImageScreen(LargePicture):
    """Shows one of some pictures; the arrows go along its row and its column. Gives the place of the last one shown."""

    INSTEAD = "b opens a page for your browser, or copy the file with scp"
    CONTEXT = "image"
    CSS_PATH = "image.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("image")]

    def __init__(self, title: str, pictures: Sequence[Shown], at: int = 0) -> None:
        super().__init__()
        self._about = title
        self._pictures = list(pictures)
        self._at = at
        self._page: PicturePage | None = None

    def heading(self) -> Content:
        """Program and what the pictures belong to."""
        return Content.assemble(("loratui", "bold $accent"), "  ", plain(self._about, "bold"))

    def body(self) -> ComposeResult:
        """The picture, then words that can be copied."""
        yield ThumbnailView("no picture", id="picture")
        yield Line(id="picture-words")
        yield Line(id="picture-path")
        yield Line(id="picture-scp")
        yield Line(id="picture-page")

    def on_mount(self) -> None:
        """The chosen picture."""
        self._show()

    def on_unmount(self) -> None:
        """Nothing listens any more."""
        self._close_page()

    def available(self, action: str) -> bool:
        """Moving needs more than one picture."""
        return len(self._pictures) > 1 if action in ("along", "across") else bool(self._pictures) or action == "close"

    def action_along(self, by: int) -> None:
        """To the next picture of the row."""
        self._go([n for n, shown in enumerate(self._pictures) if shown.row == self._picture.row], by)

    def action_across(self, by: int) -> None:
        """To the next picture of the column."""
        self._go([n for n, shown in enumerate(self._pictures) if shown.column == self._picture.column], by)

    def action_page(self) -> None:
        """Opens the page for a browser, or closes it."""
        if self._page is not None:
            self._close_page()
        else:
            pictures = [PagePicture(shown.path, shown.row, shown.column) for shown in self._pictures]
            try:
                self._page = PicturePage(self._about, pictures)
            except OSError as error:
                self.loratui.tell(f"The page cannot be opened: {error.strerror}", "error")
        self._show_page()

    def action_close(self) -> None:
        """Back to where the person came from."""
        self.dismiss(None)

    def copyable(self) -> Sequence[tuple[str, str]]:
        """Path and scp line, and with a page its address and the way to it."""
        pairs = [*super().copyable()]
        if self._page is not None:
            pairs += [("ssh line for the page", reach.forward_line(self._page.port)), ("address of the page", self._page.url)]
        return pairs

    @property
    def picture_path(self) -> Path | None:
        """The file that is shown."""
        return self._picture.path if self._pictures else None

    @property
    def picture_title(self) -> str:
        """Step and prompt, or what else its place in the table says."""
        return f"{self._picture.column}  {self._picture.row}"

    @property
    def _picture(self) -> Shown:
        return self._pictures[self._at]

    def _go(self, places: list[int], by: int) -> None:
        at = min(len(places) - 1, max(0, places.index(self._at) + by))
        if places[at] != self._at:
            self._at = places[at]
            self._show()

    def _show(self) -> None:
        if not self._pictures:
            return
        shown = self._picture
        self.query_one(ThumbnailView).show(shown.path)
        self.line("picture-words").say(
            joined(plain(shown.column, "bold"), plain(f"  {shown.words}" if shown.words else "", "$muted"), f"  {shown.row}")
        )
        self.line("picture-path").say(plain(shown.path))
        self.line("picture-scp").say(plain(reach.scp_line(shown.path), "$muted"))
        self._show_page()

    def _show_page(self) -> None:
        page = self.line("picture-page")
        self.present("picture-page", self._page is not None)
        if self._page is not None:
            page.say(
                plain("page on  ", "bold $success"),
                "On your own computer run  ",
                plain(reach.forward_line(self._page.port), "bold"),
                "  and open  ",
                plain(self._page.url, "bold"),
                plain("  It goes off when you leave this screen, or with b.", "$muted"),
            )

    def _close_page(self) -> None:
        if self._page is not None:
            self._page.close()
            self._page = None


def shown_samples(run: RunDirectory, table: Gallery, chosen: Sample) -> tuple[str, list[Shown], int]:
    """Title, pictures and place of the chosen one, for `ImageScreen`: a row for each prompt, a column for each step."""
    samples = [sample for step in table.steps for sample in table.of_step(step)]
    pictures = [
        Shown(run.path / sample.path, sample.prompt, f"step {text.number(sample.step)}", f"seed {sample.seed}")
        for sample in samples
    ]
    return f"{run.name}, samples", pictures, samples.index(chosen)
