"""The LoRA files of a run: rate, note, choose and keep them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.proof.notes import Checklist
from loratui.engine.runs.lora_files import lora_files
from loratui.tui import text
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import ssh_hints
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.check_list import stars
from loratui.tui.widgets.line import Line, joined, plain


class FilesScreen(LoratuiScreen[str]):
    """One line a file. Gives the file whose strengths the person wants to see, else an empty text."""

    CONTEXT = "validation_files"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel) -> None:
        super().__init__()
        self.model = model
        self._listed = lora_files(model.run, model.settings)
        self._files = self._listed.all
        self._sizes = {file: _size(model, file) for file in self._files}

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain("  LoRA files", "$muted"))

    def body(self) -> ComposeResult:
        yield Line("Rate the files, then choose one. The best is often not the last.", id="files-help")
        yield OptionList(*[Option("") for _ in self._files], id="files", markup=False)
        yield Line(id="file-about")

    def on_mount(self) -> None:
        """At the chosen file, else at the last."""
        files = self.query_one(OptionList)
        chosen = self.model.kept.chosen
        files.highlighted = self._files.index(chosen) if chosen in self._files else len(self._files) - 1
        self._show()
        files.focus()

    @property
    def file(self) -> str:
        """The highlighted file, relative to the run; empty if there is none."""
        at = self.query_one(OptionList).highlighted
        return self._files[at] if at is not None and self._files else ""

    @property
    def file_here(self) -> bool:
        return bool(self._files)

    can_note = file_here

    @property
    def can_make_strengths(self) -> bool:
        """Whether there is a file, and images can be made of it."""
        return self.file_here and self.model.can_make

    @property
    def can_compare(self) -> bool:
        """Whether there are two files."""
        return self.file_here and self._other() != self.file

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._show_about()
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter and double click keep it under a name."""
        event.stop()
        if self.check_action("export", ()):
            self.action_export()

    def action_rate(self, stars: int) -> None:
        file = self.file
        self._keep(lambda kept: kept.rate(file, stars))

    def action_choose(self) -> None:
        """Chooses the file, or none."""
        file = self.file
        self._keep(lambda kept: kept.choose(file))

    def action_note(self) -> None:
        from loratui.tui.validation.note_screen import NoteScreen

        file = self.file

        def written(note: str | None) -> None:
            if note is not None:
                self._keep(lambda kept: kept.note_file(file, note))

        self.app.push_screen(NoteScreen(f"Note on {self._listed.words(file)}", self.model.kept.mark(file).note), written)

    def action_strengths(self) -> None:
        self.dismiss(self.file)

    def action_side_by_side(self) -> None:
        """Opens the file beside the chosen or finished one."""
        from loratui.engine.proof.side_by_side import Side
        from loratui.tui.validation.side_by_side_screen import SideBySideScreen

        run, listed = self.model.run, self._listed
        sides = [Side(run, file, listed.words(file)) for file in (self.file, self._other())]
        self.app.push_screen(SideBySideScreen(*sides, blind=True))

    def _other(self) -> str:
        """What a file is compared with."""
        chosen = self.model.kept.chosen
        return chosen if chosen in self._files and chosen != self.file else self._listed.final

    def action_export(self) -> None:
        from loratui.tui.validation.export_screen import ExportScreen

        self.app.push_screen(ExportScreen(self.model, self.file, self._listed.words(self.file)))

    def action_upload_file(self) -> None:
        from loratui.tui.validation.upload_screen import UploadScreen

        self.app.push_screen(UploadScreen(self.model, self.file, self._listed.words(self.file)))

    def action_back(self) -> None:
        self.dismiss("")

    def copyable(self) -> Sequence[tuple[str, str]]:
        if not self._files:
            return ()
        path = self.model.run.path / self.file
        return [("path", str(path)), ("scp line", ssh_hints.scp_line(path))]

    def _keep(self, change: Callable[[Checklist], Checklist]) -> None:
        if problem := self.model.keep(change):
            self.loratui.tell(problem, "error")
        self._show()

    def _show(self) -> None:
        files, kept = self.query_one(OptionList), self.model.kept
        for at, file in enumerate(self._files):
            mark = kept.mark(file)
            sign = plain("◆ " if file == kept.chosen else "  ", "bold $success")
            name = text.columns([self._listed.words(file), stars(mark.rating), text.size(self._sizes[file])], [28, 5, -9])
            note = plain(f"  {' '.join(mark.note.split())}" if mark.note else "", "$muted")
            files.replace_option_prompt_at_index(at, joined(sign, plain(name), note))
        self._show_about()

    def _show_about(self) -> None:
        if not self._files:
            self.line("file-about").say("There is no LoRA file yet.")
            return
        file, kept = self.file, self.model.kept
        chosen = "  ◆ chosen" if file == kept.chosen else ""
        path = self.model.run.path / file
        self.line("file-about").say(
            Content("\n").join(
                [joined(plain(file, "bold"), plain(chosen, "bold $success")), plain(path), plain(kept.mark(file).note)]
            )
        )


def _size(model: ValidationModel, file: str) -> int:
    try:
        return (model.run.path / file).stat().st_size
    except OSError:
        return 0
