"""Uploads a LoRA file to the Hugging Face hub: a form, then what would be uploaded, then the upload."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList

from loratui.engine.errors import LoratuiError
from loratui.engine.handover import publish
from loratui.engine.handover.keep import licence_note
from loratui.engine.handover.publish import Prepared
from loratui.tui import text
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, joined, plain

SEEN_BY = ("only you", "everybody")


class UploadScreen(LoratuiScreen[None]):
    """Nothing is sent before the person has seen it."""

    CONTEXT = "validation_upload"
    PANE = "upload-words"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel, file: str, words: str) -> None:
        """`words` is what `file` is called on the screens."""
        super().__init__()
        self.model = model
        self._file, self._words_of_file = file, words
        self._busy = False
        self._staging: tempfile.TemporaryDirectory[str] | None = None
        self._prepared: Prepared | None = None
        self._uploaded = ""
        """The page of the repository."""

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain(f"  upload {self._words_of_file}", "$muted"))

    def body(self) -> ComposeResult:
        with VerticalScroll(id="upload-form", can_focus=False):
            yield Field("repo", "Repository", "owner/name on the hub; a missing one is made", "")
            yield Field("name", "Name", "of the file there, without its ending", Path(self._file).stem)
            seen = f"{SEEN_BY[0]} or {SEEN_BY[1]}"
            yield Field("seen", "Who sees it", seen, SEEN_BY[0], suggester=SuggestFromList(SEEN_BY))
        with VerticalScroll(id="upload-words", can_focus=False):
            yield Line(plain(licence_note(self.model.settings), "$muted"), id="upload-said")

    def on_mount(self) -> None:
        self.query(Field).first().enter()

    def on_unmount(self) -> None:
        self._forget()

    def on_field_edited(self, event: Field.Edited) -> None:
        """What was prepared belongs to what was typed before."""
        event.stop()
        event.field.explain()
        if self._prepared is not None:
            self._forget()
            self.line("upload-said").say(plain("enter shows what would be uploaded.", "$muted"))
            self.refresh_bindings()

    @property
    def can_show(self) -> bool:
        """Whether enter prepares an upload."""
        return not self._busy and self._prepared is None

    @property
    def can_upload(self) -> bool:
        """Whether an upload was shown."""
        return not self._busy and self._prepared is not None and not self._uploaded

    def action_show(self) -> None:
        """Prepares the upload and shows it."""
        typed = {field.key: field.text.strip() for field in self.query(Field)}
        seen = next(field for field in self.query(Field) if field.key == "seen")
        if typed["seen"] not in SEEN_BY:
            seen.explain(f"Choose one of: {', '.join(SEEN_BY)}.")
            seen.enter()
            return
        self._begin("Preparing the card, and asking the hub for the repository")
        self._prepare(typed["repo"], typed["name"], typed["seen"] == SEEN_BY[1])

    def action_upload(self) -> None:
        """Sends what was shown."""
        assert self._prepared is not None
        self._begin(f"Uploading to {self._prepared.page}")
        self._upload(self._prepared)

    @work(exclusive=True, group="upload", description="prepare an upload")
    async def _prepare(self, repo: str, name: str, public: bool) -> None:
        self._staging = tempfile.TemporaryDirectory(prefix="loratui-")
        folder = Path(self._staging.name)
        try:
            found = await self.in_thread(lambda: publish.prepare(self.model.run, self._file, name, repo, folder, public=public))
        except (LoratuiError, OSError) as error:
            self._forget()
            self._end(plain(f"✖ {error}", "$error"))
        else:
            self._prepared, self._uploaded = found, ""
            self.set_focus(None)
            self._end(_shown(found))
            self.query_one("#upload-words").scroll_home(animate=False)

    @work(exclusive=True, group="upload", description="upload a LoRA file")
    async def _upload(self, prepared: Prepared) -> None:
        try:
            await self.in_thread(publish.upload, prepared)
        except (LoratuiError, OSError) as error:
            self._end(joined(plain(f"✖ {error}", "$error"), "\n", plain("u tries again.", "$accent")))
        else:
            self._uploaded = prepared.page
            self._end(
                joined(
                    plain("✔ ", "bold $success"), plain(prepared.page, "bold"), "\n", plain("y copies the address.", "$accent")
                )
            )

    def _begin(self, words: str) -> None:
        self._busy = True
        self.line("upload-said").wait(words)
        self.refresh_bindings()

    def _end(self, words: Content) -> None:
        self._busy = False
        self.line("upload-said").say(words)
        self.refresh_bindings()

    def _forget(self) -> None:
        if self._staging is not None:
            self._staging.cleanup()
        self._staging = self._prepared = None

    def copyable(self) -> Sequence[tuple[str, str]]:
        if self._prepared is None:
            return ()
        return [("address", self._prepared.page), ("model card", self._prepared.card)]

    def action_back(self) -> None:
        self.dismiss(None)


def _shown(prepared: Prepared) -> Content:
    """What would be uploaded."""
    lines = [joined(plain(f"To {prepared.page}, ", "bold"), plain(prepared.becomes, "bold $warning"))]
    lines += [plain(f"  {name}  {text.size(path.stat().st_size)}") for name, path in prepared.files.items()]
    lines += [plain("u uploads this. tab: to the fields.", "$accent"), plain("")]
    lines += [plain(line, "$muted") for line in prepared.card.splitlines()]
    return Content("\n").join(lines)
