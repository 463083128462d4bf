"""One image as large as it goes: half blocks here, real pixels or a page in the browser on request, and always its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.records import Sample
from loratui.tui import text
from loratui.tui.runs.gallery import Gallery
from loratui.tui.runs.image_page import ImagePage, Shown
from loratui.tui.screens.large_image import LargeImage
from loratui.tui.terminal import ssh_hints
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.widgets.thumbnail import ThumbnailView


class ImageScreen(LargeImage):
    """Shows one image of a table; the arrows go along its row and its column."""

    INSTEAD = "b opens a page for your browser, or copy the file with scp"
    CONTEXT = "image"
    CSS_PATH = "image_screen.tcss"

    def __init__(self, title: str, images: Sequence[Shown], at: int = 0) -> None:
        super().__init__()
        self._about = title
        self._images = list(images)
        self._at = at
        self._page: ImagePage | None = None

    def heading(self) -> Content:
        return Content.assemble(("loratui", "bold $accent"), "  ", plain(self._about, "bold"))

    def body(self) -> ComposeResult:
        yield ThumbnailView("no image", id="image")
        yield Line(id="image-words")
        yield Line(id="image-path")
        yield Line(id="image-scp")
        yield Line(id="image-page")

    def on_mount(self) -> None:
        self._show()

    def on_unmount(self) -> None:
        self._close_page()

    @property
    def several_images(self) -> bool:
        return len(self._images) > 1

    @property
    def image_here(self) -> bool:
        return bool(self._images)

    def action_along(self, by: int) -> None:
        """To the next image of the row."""
        self._go([n for n, shown in enumerate(self._images) if shown.row == self._image.row], by)

    def action_across(self, by: int) -> None:
        """To the next image of the column."""
        self._go([n for n, shown in enumerate(self._images) if shown.column == self._image.column], by)

    def action_page(self) -> None:
        """Opens the page for a browser, or closes it."""
        if self._page is not None:
            self._close_page()
        else:
            try:
                self._page = ImagePage(self._about, self._images)
            except OSError as error:
                self.loratui.tell(f"The page cannot be opened: {error.strerror}", "error")
        self._show_page()

    def action_close(self) -> None:
        self.dismiss(None)

    def copyable(self) -> Sequence[tuple[str, str]]:
        """Path and scp line; for an open page its address and ssh line."""
        pairs = [*super().copyable()]
        if self._page is not None:
            pairs += [
                ("ssh line for the page", ssh_hints.forward_line(self._page.port)),
                ("address of the page", self._page.url),
            ]
        return pairs

    @property
    def image_path(self) -> Path | None:
        return self._image.path if self._images else None

    @property
    def image_title(self) -> str:
        """Its place in the table, such as step and prompt."""
        return f"{self._image.column}  {self._image.row}"

    @property
    def _image(self) -> Shown:
        return self._images[self._at]

    def _go(self, places: list[int], by: int) -> None:
        at = min(len(places) - 1, max(0, places.index(self._at) + by))
        if places[at] != self._at:
            self._at = places[at]
            self._show()

    def _show(self) -> None:
        if not self._images:
            return
        shown = self._image
        self.query_one(ThumbnailView).show(shown.path, shown.sha256)
        self.line("image-words").say(
            joined(plain(shown.column, "bold"), plain(f"  {shown.words}" if shown.words else "", "$muted"), f"  {shown.row}")
        )
        self.line("image-path").say(plain(shown.path))
        self.line("image-scp").say(plain(ssh_hints.scp_line(shown.path), "$muted"))
        self._show_page()

    def _show_page(self) -> None:
        page = self.line("image-page")
        self.present("image-page", self._page is not None)
        if self._page is not None:
            page.say(
                plain("Page open.  ", "bold $success"),
                "On your own computer run  ",
                plain(ssh_hints.forward_line(self._page.port), "bold"),
                "  and open  ",
                plain(self._page.url, "bold"),
                plain("  It closes when you leave this screen, or with b.", "$muted"),
            )

    def _close_page(self) -> None:
        if self._page is not None:
            self._page.close()
            self._page = None


def shown_samples(run: RunDirectory, table: Gallery, chosen: Sample) -> tuple[str, list[Shown], int]:
    """Title, images and place of the chosen one, for `ImageScreen`: a row for each prompt, a column for each step."""
    samples = [sample for step in table.steps for sample in table.of_step(step)]
    images = [
        Shown(run.path / sample.path, sample.prompt, f"step {text.number(sample.step)}", f"seed {sample.seed}", sample.sha256)
        for sample in samples
    ]
    return f"{run.name}, samples", images, samples.index(chosen)
