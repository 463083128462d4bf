"""The runs on this machine, and the way to a new one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.worker import get_current_worker

from loratui.tui.bindings import bindings_for
from loratui.tui.messages import RunDeleted, RunsListed
from loratui.tui.screens.base import LoratuiScreen, rest
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.run_list import RunList

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

_LOOK_EVERY_S = 2.0


class HomeScreen(LoratuiScreen[None]):
    """The list of runs, looked at anew every two seconds."""

    CONTEXT = "home"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("home")]

    def __init__(self) -> None:
        super().__init__()
        self._runs: tuple[RunSummary, ...] = ()
        self._looked = False

    def heading(self) -> Content:
        """Program and place."""
        return Content.assemble(("loratui", "bold $accent"), ("  runs", "$muted"))

    def heading_right(self) -> Content:
        """Where the runs lie."""
        return plain(self.loratui.home, "$muted")

    def body(self) -> ComposeResult:
        """Column titles, the list, and a word for who has no runs yet."""
        yield Line(id="columns")
        yield RunList(id="runs")
        yield Line(_WELCOME, id="welcome")
        yield Line(id="reason")

    def on_mount(self) -> None:
        """Starts looking."""
        self.query_one("#welcome").display = False
        self.query_one(RunList).focus()
        self._look()

    @work(thread=True, exclusive=True, group="look", description="look at the runs")
    def _look(self) -> None:
        from loratui.engine.runs.summary import summarise_all

        worker = get_current_worker()
        while not worker.is_cancelled:
            try:
                listed = RunsListed(tuple(summarise_all(self.loratui.home)))
            except OSError as error:
                listed = RunsListed((), str(error))
            self.post_message(listed)
            rest(worker, _LOOK_EVERY_S)

    def on_runs_listed(self, message: RunsListed) -> None:
        """Shows what was found."""
        first = not self._looked
        self._looked, self._runs = True, message.runs
        runs = self.query_one(RunList)
        runs.show(message.runs, time.time())
        self.line("columns").say(plain(runs.titles, "$muted"))
        empty = not message.runs
        self.query_one("#welcome").display = empty
        runs.display = not empty
        self.line("columns").display = not empty
        if message.problem:
            self.line("reason").say(plain(message.problem, "$error"))
        elif first or empty:
            self._explain()
        if not empty and first:
            runs.focus()
        self.refresh_bindings()

    def on_option_list_option_highlighted(self) -> None:
        """Says why the chosen run stands as it does."""
        self._explain()
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: RunList.OptionSelected) -> None:
        """Enter or a click opens the run."""
        event.stop()
        self.action_open()

    def available(self, action: str) -> bool:
        """Keys that need a run are hidden without one."""
        run = self._chosen()
        if action in ("open", "delete"):
            return run is not None
        if action == "validate":
            return run is not None and bool(run.state.output)
        return True

    def action_open(self) -> None:
        """To the training of the chosen run, or to its validation if it is done."""
        run = self._chosen()
        if run is not None:
            validating = run.status == "done" or run.job == "validate"
            self.loratui.open("validation" if validating else "training", run.name)

    def action_validate(self) -> None:
        """To the strength grid of the chosen run."""
        run = self._chosen()
        if run is not None:
            self.loratui.open("validation", run.name)

    def action_new_run(self) -> None:
        """To the wizard."""
        self.loratui.open("preset")

    def action_demo(self) -> None:
        """To the plan of the demo."""
        self.loratui.plan_demo()

    @work(exclusive=True, group="delete")
    async def action_delete(self) -> None:
        """Deletes the chosen run after a question."""
        from loratui.tui.screens.confirm import ConfirmScreen

        run = self._chosen()
        if run is None:
            return
        if run.active:
            self.loratui.tell(f"{run.name} is at work; stop it first (enter, then x).", "warning")
            return
        question = f"Delete {run.name}?"
        details = "Its LoRA files, checkpoints, samples and log go with it. Your pictures stay."
        if await self.app.push_screen_wait(ConfirmScreen(question, details, "delete")):
            self._delete(run.name)

    @work(thread=True, group="delete files", description="delete a run")
    def _delete(self, name: str) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.runs.directory import delete_run, open_run

        try:
            delete_run(open_run(self.loratui.home, name))
        except LoratuiError as error:
            self.post_message(RunDeleted(name, str(error)))
        else:
            self.post_message(RunDeleted(name))

    def on_run_deleted(self, message: RunDeleted) -> None:
        """Says so, and looks again."""
        self.loratui.tell(message.problem or f"{message.name} is deleted.", "error" if message.problem else "information")
        self._look()

    def on_resize(self, event: object) -> None:
        """Lays the columns out anew."""
        super().on_resize(event)  # type: ignore[arg-type]
        if self._looked:
            self.call_after_refresh(self.on_runs_listed, RunsListed(self._runs))

    def farewell(self) -> Iterator[str]:
        """What to say when the person leaves the app from here."""
        active = [run.name for run in self._runs if run.active]
        if active:
            more = f" ({len(active) - 1} more at work)" if len(active) > 1 else ""
            yield f"Training goes on; come back with: loratui attach {active[0]}{more}"

    def _chosen(self) -> RunSummary | None:
        at = self.query_one(RunList).highlighted if self.is_mounted else None
        return self._runs[at] if at is not None and at < len(self._runs) else None

    def _explain(self) -> None:
        run = self._chosen()
        words = ""
        if run is not None:
            resumable = run.status in ("paused", "stopped", "interrupted")
            words = f"{run.reason} {'enter opens it; r resumes there.' if resumable else run.advice}".strip()
        self.line("reason").say(plain(words, "$muted"))


_WELCOME = Content("\n").join(
    [
        plain("No runs yet.", "bold"),
        Content(""),
        Content.assemble(("n", "bold $accent"), "  trains a LoRA on your own pictures: preset, data set, plan, checks, start."),
        Content.assemble(
            ("t", "bold $accent"), "  tries it out: an invented person, a few minutes on any machine, no download."
        ),
        Content(""),
        plain("Runs go on when you leave or the connection drops; loratui brings you back to them.", "$muted"),
    ]
)
