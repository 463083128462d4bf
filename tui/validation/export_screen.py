"""Keeps a LoRA file under a name with its settings, and says where to put it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList

from loratui.engine.errors import LoratuiError
from loratui.engine.handover import keep
from loratui.engine.handover.keep import DTYPES, LAYOUTS, Keep, Kept
from loratui.engine.runs.lora_files import chosen_name, file_name
from loratui.tui.paths import path_from_text
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean, ssh_hints
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.field import Field, PathSuggester
from loratui.tui.widgets.line import Line, joined, plain


class ExportScreen(LoratuiScreen[None]):
    """A form of four fields, with the result below."""

    CONTEXT = "validation_export"
    PANE = "export-words"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel, file: str, words: str) -> None:
        """`words` is what `file` is called on the screens."""
        super().__init__()
        self.model = model
        self._file, self._words_of_file = file, words
        self._busy = False
        self._written: Kept | None = None

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain(f"  keep {self._words_of_file}", "$muted"))

    def body(self) -> ComposeResult:
        run, name = self.model.run, Path(self._file).stem
        layouts = "as it is, kohya (FLUX in Forge) or peft (diffusers)"
        formats = "as it is, fp16, bf16 or fp32"
        with VerticalScroll(id="export-form", can_focus=False):
            yield Field("name", "Name", "of the file and of those beside it, without an ending", name)
            folders = PathSuggester()
            yield Field("folder", "Folder", "created if missing", str(run.path / "export"), suggester=folders)
            yield Field("layout", "Layout", layouts, LAYOUTS[0], suggester=SuggestFromList(LAYOUTS))
            yield Field("dtype", "Number format", formats, DTYPES[0], suggester=SuggestFromList(DTYPES))
        with VerticalScroll(id="export-words", can_focus=False):
            yield Line(plain(keep.licence_note(self.model.settings), "$muted"), id="export-said")

    def on_mount(self) -> None:
        self.query(Field).first().enter()

    def on_field_edited(self, event: Field.Edited) -> None:
        """Shows the name of the file if it cannot have every character typed."""
        event.stop()
        typed = event.text.strip()
        name = chosen_name(typed)
        if event.field.key != "name" or name == typed:
            event.field.explain()
        else:
            event.field.note(f"will be written as {file_name(name)}", "$warning")

    @property
    def can_write(self) -> bool:
        """One file at a time, and the next one only from the fields."""
        return not self._busy and (self._written is None or self.focused is not None)

    def action_next(self) -> None:
        typed = {field.key: field.text.strip() for field in self.query(Field)}
        wrong = {"layout": LAYOUTS, "dtype": DTYPES}
        for field in self.query(Field):
            known = wrong.get(field.key)
            bad = known is not None and typed[field.key] not in known
            field.explain(f"Choose one of: {', '.join(known)}." if known and bad else "")
            if bad:
                field.enter()
                return
        folder = path_from_text(typed["folder"]) or self.model.run.path / "export"
        if not folder.is_absolute():
            folder = Path.cwd() / folder
        self._busy = True
        self.line("export-said").wait("Writing the file and reading it back")
        self.refresh_bindings()
        self._write(Keep(self._file, typed["name"], folder, typed["layout"], typed["dtype"]))

    @work(exclusive=True, group="export", description="keep a LoRA file")
    async def _write(self, wanted: Keep) -> None:
        """Says what was written and where to put it, or what failed."""
        said = self.line("export-said")
        try:
            self._written = await self.in_thread(keep.keep, self.model.run, self.model.settings, wanted)
        except (LoratuiError, OSError) as error:
            self._written = None
            said.say(plain(f"✖ {error}", "$error"))
        else:
            said.say(self._words(self._written))
            # Out of the fields, so y copies and is not typed.
            self.set_focus(None)
            self.query_one("#export-words").scroll_home(animate=False)
        self._busy = False
        self.refresh_bindings()

    def _words(self, kept: Kept) -> Content:
        lines = [joined(plain("✔ ", "bold $success"), plain(kept.path, "bold"))]
        lines += [plain(f"  beside it {', '.join(path.name.removeprefix(kept.path.stem) for path in kept.beside)}", "$muted")]
        lines += [plain(kept.no_preview, "$warning")] if kept.no_preview else []
        lines += [plain(f"  {clean(line)}") for line in keep.place_lines(kept)]
        lines += [joined(plain("To your own computer: ", "$muted"), plain(ssh_hints.scp_line(keep.all_of(kept)), "bold"))]
        lines += [plain(keep.licence_note(self.model.settings), "$warning")]
        lines += [
            plain("y copies the scp line or the path. esc: back to the files. tab: to the fields for another.", "$accent")
        ]
        return Content("\n").join(lines)

    def copyable(self) -> Sequence[tuple[str, str]]:
        if self._written is None:
            return ()
        path = self._written.path
        every = ssh_hints.scp_line(keep.all_of(self._written))
        return [("scp line of all", every), ("scp line of the LoRA alone", ssh_hints.scp_line(path)), ("path", str(path))]

    def action_back(self) -> None:
        self.dismiss(None)
