"""The validation: seven parts, each with its purpose and its images, which appear as they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList

from loratui.engine.errors import LoratuiError
from loratui.engine.proof.judgement import Best
from loratui.engine.proof.notes import Checklist
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.terminal import ssh_hints
from loratui.tui.validation import checklist, grid_images, measured, state_words, verdict_words
from loratui.tui.validation.applying import Applying
from loratui.tui.validation.checklist import POINTS, SEEN
from loratui.tui.validation.model import ValidationModel
from loratui.tui.validation.reporting import ReportingScreen
from loratui.tui.widgets.check_list import CheckList, SeenList, explain, stars
from loratui.tui.widgets.image_table import ImageTable
from loratui.tui.widgets.line import Line, joined, plain

_WIDE = 100
"""From this width on, images and parts are side by side."""


class ValidationScreen(Applying, ReportingScreen):
    """The parts and their images; on a narrow window one at a time."""

    CONTEXT = "validation"
    PURPOSE = "validation"
    CSS_PATH = "validation_screen.tcss"
    JOB = "validate"

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self.model = ValidationModel(run)

    def body(self) -> ComposeResult:
        yield Line("Reading the run …", id="grid-status")
        yield Line(id="judged")
        with Horizontal(id="validation-body"):
            with Vertical(id="answers"):
                yield Line(id="question")
                yield Line(id="measured")
                yield ImageTable(self.model.path_of, self.model.words_below, id="images")
                yield SeenList(id="seen")
                yield Line(id="verdict")
                yield Line(id="image-line")
            with VerticalScroll(id="checks", can_focus=False):
                yield Line(id="ticked")
                yield CheckList(id="check-list")
                yield Line(id="point")

    def on_mount(self) -> None:
        """Begins at the first part that is not ticked."""
        checks = self.query_one(CheckList)
        checks.highlighted = next((n for n, p in enumerate(POINTS) if p.id not in self.model.kept.ticked), 0)
        self.query_one(SeenList).highlighted = 0
        self._show_kept()
        checks.focus()
        self.follow()
        self._look()

    # The run

    def events_taken(self) -> None:
        self.model.summary, self.model.state = self.summary, self.state
        if not self.caught_up:
            return
        if not self.active:
            self.model.stopping = False
        self._look()
        self._merge()

    @work(group="look", description="read the list of images")
    async def _look(self) -> None:
        found = await self.in_thread(self.model.read_list)
        if found is not None:
            self.model.take_list(found)
            self._merge()

    def _merge(self) -> None:
        self.model.merge(self.history.grid_images)
        self._show_part()
        self._show_judgement()
        self.line("heading-right").say(state_words.heading(self.model))
        self.line("grid-status").say(state_words.images(self.model))
        self.refresh_bindings()

    # What is shown

    def _show_kept(self) -> None:
        """What the person noted has changed."""
        self.query_one(CheckList).show(self.model.kept)
        numbers = checklist.numbers(self.model.settings)
        self.query_one(SeenList).show(self.model.kept, {seen.id: checklist.advice(seen, **numbers) for seen in SEEN})
        self._show_judgement()
        self.line("ticked").say(plain(f"Checklist, {len(self.model.kept.ticked)} of {len(POINTS)} ticked", "bold"))
        self._show_part()

    def _show_judgement(self) -> None:
        judged = self.model.judgement
        self.present("judged", judged is not None)
        if judged is not None:
            self.line("judged").say(verdict_words.short(judged))

    def _show_part(self, *, anew: bool = False) -> None:
        point = self.query_one(CheckList).point
        dataset = self.model.settings.dataset
        self.line("point").say(explain(point, dataset.trigger, dataset.class_word, self.model.kept.notes.get(point.id, "")))
        at = POINTS.index(point) + 1
        self.line("question").say(plain(f"{at}/{len(POINTS)} {point.title}  ", "bold $accent"), plain(point.look_for, "bold"))
        rows = self.model.measured.get(point.id, ())
        self.present("measured", bool(rows))
        self.line("measured").say(measured.short(rows))
        last = point.id == "next"
        self.query_one("#images").display = not last
        self.query_one("#seen").display = self.query_one("#verdict").display = last
        if last:
            self.line("verdict").say(self._verdict())
        shown = grid_images.table(point.id, self.model.slots, self.model.subject)
        marked = {
            self.model.subject.files.words(file): self.model.mark_of(file)
            for file in {slot.file for slot in self.model.slots if slot.file}
        }
        columns = tuple(f"{column}{marked.get(column, '')}" for column in shown.columns)
        self.query_one(ImageTable).show(replace(shown, columns=columns), anew=anew)
        self._show_image_line()
        self.refresh_bindings()

    def _show_image_line(self) -> None:
        line, table = self.line("image-line"), self.query_one(ImageTable)
        line.display = table.display
        tile = table.tile
        if not table.display:
            return
        if tile is None:
            line.say(plain(self._why_empty() if not table.table.rows else "No image here.", "$muted"))
        else:
            line.say(plain(self.model.title_of(tile), "bold"), "  ", plain(self.model.about(tile), "$muted"))

    def _verdict(self) -> Content:
        kept = self.model.kept
        open_points = [point.title for point in POINTS[:-1] if point.id not in kept.ticked]
        lines = [plain(f"Not ticked: {', '.join(open_points)}." if open_points else "All parts are ticked.", "$muted")]
        if kept.chosen:
            rating = stars(kept.mark(kept.chosen).rating)
            lines.append(joined(plain("◆ chosen  ", "bold $success"), plain(f"{kept.chosen}  {rating}")))
            lines.append(plain("f shows the files; enter there keeps it under a name.", "$muted"))
        else:
            lines.append(plain("No file is chosen yet: f shows them. Rate them, then choose one.", "$muted"))
        return Content("\n").join(lines)

    def _why_empty(self) -> str:
        if not self.model.has_file:
            return "There is no LoRA file yet."
        point = self.query_one(CheckList).point
        if point.id == "trigger_alone" and self.model.slots:
            return "None of the prompts is the trigger alone. g adds one."
        return "No images yet for this part. g makes them."

    # Keys

    @property
    def can_note(self) -> bool:
        return True  # there is always a part to note something on

    @property
    def has_measures(self) -> bool:
        """Whether something was measured for this part, or is told to be unknown."""
        return bool(self.model.measured.get(self.query_one(CheckList).point.id))

    @property
    def file_here(self) -> bool:
        """Whether the image under the cursor was made with a file."""
        return self._file_here() != ""

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if isinstance(event.option_list, CheckList):
            self._show_part(anew=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter and click: a part shows its images, something seen is marked."""
        event.stop()
        if isinstance(event.option_list, SeenList):
            if self.check_action("tick", ()):
                self.action_tick()
        else:
            self.action_look()

    def on_image_table_moved(self, message: ImageTable.Moved) -> None:
        message.stop()
        self._show_image_line()
        self.refresh_bindings()

    def on_image_table_opened(self, message: ImageTable.Opened) -> None:
        """A double click shows the image large."""
        message.stop()
        self.action_look()

    def action_part(self, by: int) -> None:
        checks = self.query_one(CheckList)
        checks.highlighted = ((checks.highlighted or 0) + by) % len(POINTS)
        answers = self.query_one("#seen" if checks.point.id == "next" else "#images")
        if self.focused is not checks:
            self._show_part(anew=True)
            answers.focus()

    def action_look(self) -> None:
        """From the list to the images, then to one image, large."""
        table = self.query_one(ImageTable)
        if not table.has_focus:
            self.action_panel()
            return
        from loratui.tui.validation.image_screen import ValidationImage

        if table.tile is not None and self.model.path_of(table.tile) is not None:
            screen = ValidationImage(self.model, table.table, table.tile)
            self.app.push_screen(screen, lambda _: table.go_to(screen.tile))

    def action_tick(self) -> None:
        """Ticks the part, or marks what was seen."""
        seen = self.query_one(SeenList)
        if seen.has_focus:
            self._keep(lambda kept: kept.toggle_seen(seen.seen))
        else:
            point = self.query_one(CheckList).point.id
            self._keep(lambda kept: kept.toggle(point))

    def use(self, best: Best) -> None:
        """Chooses the file that an advice names, and says at which strength to use it."""
        if self.model.kept.chosen != best.file:
            self._keep(lambda kept: kept.choose(best.file))
        self.loratui.tell(
            f"{self.model.subject.files.words(best.file)} is chosen. Use it at strength {best.strength:g}; f keeps it."
        )

    def _keep(self, change: Callable[[Checklist], Checklist]) -> None:
        """Changes what the person noted, and writes it."""
        if problem := self.model.keep(change):
            self.loratui.tell(problem, "error")
        self._show_kept()

    def action_note(self) -> None:
        from loratui.tui.validation.note_screen import NoteScreen

        point = self.query_one(CheckList).point

        def written(note: str | None) -> None:
            if note is not None:
                self._keep(lambda kept: kept.note(point.id, note))

        self.app.push_screen(NoteScreen(f"Note on “{point.title}”", self.model.kept.notes.get(point.id, "")), written)

    def action_rate(self, stars: int) -> None:
        """Stars for the file of the image under the cursor."""
        file = self._file_here()
        self._keep(lambda kept: kept.rate(file, stars))
        self.loratui.tell(f"{self.model.subject.files.words(file)}: {'★' * stars or 'no stars'}")

    def action_files(self) -> None:
        from loratui.tui.validation.files_screen import FilesScreen

        def closed(file: str | None) -> None:
            self._show_kept()
            if file:
                self.action_make_grid(file)

        self.app.push_screen(FilesScreen(self.model), closed)

    def action_measures(self) -> None:
        from loratui.tui.validation.measures_screen import MeasuresScreen

        self.app.push_screen(MeasuresScreen(self.model, self.query_one(CheckList).point))

    def action_panel(self) -> None:
        """Focuses the other panel; a narrow window then shows only that one."""
        checks = self.query_one(CheckList)
        to_answers = checks.has_focus
        self.set_class(to_answers, "-answers")
        (self.query_one("#seen" if checks.point.id == "next" else "#images") if to_answers else checks).focus()
        self.refresh_bindings()

    def action_make_grid(self, file: str = "") -> None:
        """Chooses what to make; `file` is the file whose strengths are wanted, if any."""
        from loratui.tui.validation.make_screen import MakeScreen

        def closed(make: bool | None) -> None:
            if make:
                self.loratui.tell("Making the images. It continues if you leave.")
                self.launch("validate")

        self.app.push_screen(MakeScreen(self.model, file, self.query_one(CheckList).point.id), closed)

    @work(exclusive=True, group="newest", description="validate the newest file")
    async def action_validate_newest(self) -> None:
        """Makes a run of the newest file, starts its validation and shows it."""
        from loratui.tui.validation import newest

        self.loratui.tell("Looking for room beside the training …")
        try:
            run, words = await self.in_thread(newest.begin, self.run_directory, self.loratui.home)
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
            return
        self.loratui.tell(words)
        self.loratui.open("validation", run.name)

    def action_go_on(self) -> None:
        """Starts the job again with the same request."""
        self.loratui.tell("Making the rest of the images. It continues if you leave.")
        self.launch("validate")

    @work(group="stop", description="ask the job to stop")
    async def action_stop(self) -> None:
        """Asks the job to stop after its current step."""
        from loratui.engine.runs import control

        self.model.stopping = True
        try:
            await self.in_thread(control.send, self.run_directory, "stop")
        except LoratuiError as error:
            self.model.stopping = False
            self.loratui.tell(str(error), "error")
        self._merge()

    def action_training(self) -> None:
        self.loratui.open("training", self.run_directory.name)

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The image under the cursor and its scp line, and the folder of the images."""
        tile = self.query_one(ImageTable).tile
        path = self.model.path_of(tile) if tile is not None else None
        pairs = [("path of the image", str(path)), ("its scp line", ssh_hints.scp_line(path))] if path is not None else []
        pairs += self.report_to_copy
        folder = self.run_directory.validation
        return [*pairs, ("folder of the images", str(folder)), ("scp line of the folder", ssh_hints.scp_line(folder))]

    def _file_here(self) -> str:
        table = self.query_one(ImageTable)
        tile = table.tile if table.display else None
        return tile.slot.file if tile is not None and not tile.training else ""
