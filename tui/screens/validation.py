"""Is it any good? The strength grid, filled as its pictures are made, and the checklist to tick."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import SchemaError, Settings
from loratui.tui import checklist, text
from loratui.tui.bindings import bindings_for
from loratui.tui.screens.run_screen import RunScreen
from loratui.tui.widgets.check_list import CheckList, explain
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.strength_grid import StrengthGrid

_WIDE = 100
"""From this width on grid and checklist stand side by side."""


class ValidationScreen(RunScreen):
    """Grid and checklist; on a narrow window one at a time."""

    CONTEXT = "validation"
    JOB = "validate"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("validation")]

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self._settings = _read_settings(run)
        self._ticks = checklist.read_ticks(self._ticks_path)
        self._pictures_shown = -1

    def heading(self) -> Content:
        """Program and run."""
        return Content.assemble(
            ("loratui", "bold $accent"), "  ", plain(self.run_directory.name, "bold"), ("  validation", "$muted")
        )

    def body(self) -> ComposeResult:
        """A line on how far the grid is, the grid, the checklist."""
        yield Line("Reading the run …", id="grid-status")
        with Horizontal(id="validation-body"):
            with StrengthGrid(id="grid") as grid:
                grid.can_focus = True
            with VerticalScroll(id="checks", can_focus=False):
                yield Line(id="ticked")
                yield CheckList(id="check-list")
                yield Line(id="point")

    def on_mount(self) -> None:
        """Starts to read; the checklist has the keys where both are to be seen."""
        self.set_class(True, "-grid")
        self._show_ticks()
        checks = self.query_one(CheckList)
        checks.highlighted = next((n for n, p in enumerate(checklist.POINTS) if p.id not in self._ticks), 0)
        (checks if self.app.size.width >= _WIDE else self.query_one("#grid")).focus()
        self.follow()

    def events_taken(self) -> None:
        """Shows new pictures and how far it is."""
        if not self.caught_up:
            return
        self.line("heading-right").say(self._status())
        self.line("grid-status").say(self._grid_status())
        self._fill()
        self.refresh_bindings()

    def available(self, action: str) -> bool:
        """A grid is made from a file, and by one job at a time."""
        if action == "tick":
            return self.query_one("#checks").display if self.is_mounted else True
        if action == "make_grid":
            return self.summary is not None and not self.summary.active and self._has_file()
        return True

    def on_option_list_option_highlighted(self) -> None:
        """Explains the point."""
        dataset = self._settings.dataset
        self.line("point").say(explain(self.query_one(CheckList).point, dataset.trigger, dataset.class_word))

    def on_option_list_option_selected(self, event: CheckList.OptionSelected) -> None:
        """Enter and click tick."""
        event.stop()
        self.action_tick()

    def action_tick(self) -> None:
        """Ticks the point, and keeps that."""
        self._ticks = checklist.toggled(self._ticks, self.query_one(CheckList).point.id)
        try:
            checklist.write_ticks(self._ticks_path, self._ticks)
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
        self._show_ticks()

    def action_panel(self) -> None:
        """The other panel gets the keys, and on a narrow window the place."""
        to_grid = not self.query_one("#grid").has_focus
        self.set_class(to_grid, "-grid")
        self.query_one("#grid" if to_grid else "#check-list").focus()

    def action_make_grid(self) -> None:
        """Starts the job."""
        self.loratui.tell("Making the grid; it goes on if you leave.")
        self._pictures_shown = -1
        self.launch("validate")

    def action_training(self) -> None:
        """To the course of the training."""
        self.loratui.open("training", self.run_directory.name)

    @work(exclusive=True, group="fill")
    async def _fill(self) -> None:
        if len(self.state.pictures) == self._pictures_shown:
            return
        self._pictures_shown = len(self.state.pictures)
        pictures = [p for p in self.state.pictures if self.file(p.path)]
        grid = self.query_one(StrengthGrid)
        await grid.show(pictures, self._settings.validation.strengths, self.run_directory.path)

    def _status(self) -> Content:
        if self.summary is None:
            return Content("")
        status = self.summary.status
        words = {"train": "training", "validate": "making the grid"}.get(self.summary.job, status)
        return plain(f"{text.STATUS_SIGNS[status]} {words}", f"bold {text.STATUS_TONES[status]}")

    def _grid_status(self) -> Content:
        state = self.state
        made = len({(p.prompt, p.strength, p.seed) for p in state.pictures if p.grid == "strengths"})
        planned = self._planned()
        if self.summary is not None and self.summary.active and self.summary.job == "validate":
            progress = state.progress
            share = f" ({progress.done * 100 // progress.total} %)" if progress and progress.total else ""
            return plain(f"Making the pictures{share}: {made} of {text.number(planned)} so far. It goes on if you leave.")
        if state.ending and state.ending.status == "failed":
            return plain(f"✖ The grid could not be made: {state.ending.reason} {state.ending.advice}", "$error")
        if made:
            again = "g makes the rest." if made < planned else "g makes them anew."
            return plain(f"{made} of {text.count(planned, 'picture')}. {again}", "$muted")
        if not self._has_file():
            return plain("There is no LoRA file yet: the first one comes after the first epoch.", "$warning")
        if self.active:
            return plain("The training is at work; the grid can be made when it has ended.", "$muted")
        return Content.assemble(
            "No pictures yet. ", ("g", "bold $accent"), f"  makes the grid: {text.count(planned, 'picture')}."
        )

    def _planned(self) -> int:
        validation = self._settings.validation
        return len(validation.prompts) * len(validation.strengths) * validation.seeds

    def _has_file(self) -> bool:
        return any(self.run_directory.output.glob("*.safetensors"))

    def _show_ticks(self) -> None:
        self.query_one(CheckList).show(self._ticks)
        done = len(self._ticks)
        self.line("ticked").say(plain(f"Checklist, {done} of {len(checklist.POINTS)} ticked", "bold"))

    @property
    def _ticks_path(self) -> Path:
        return self.run_directory.validation / "checklist.json"


def _read_settings(run: RunDirectory) -> Settings:
    from loratui.engine.planning.recipe import read_recipe

    try:
        return read_recipe(run.effective).settings
    except SchemaError:
        return Settings()
