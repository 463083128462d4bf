"""The runs on this machine, the highlighted run in detail, and the ways to a new run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.worker import get_current_worker

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.queue.entries import FILE as QUEUE
from loratui.engine.runs.sweeps import FOLDER as SWEEPS
from loratui.tui import text
from loratui.tui.messages import RunsListed
from loratui.tui.runs.run_glance import numbers, run_texts
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.run_list import RunList
from loratui.tui.widgets.thumbnail import ThumbnailView

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

_LOOK_AT_BOX_EVERY_S = 4.0
_AFTER_THE_FIRST_PAINT_S = 0.3
"""Drivers are asked later, so the first paint has the processor."""


@dataclass
class BoxSeen(Message):
    """Something about the machine or the drafts has changed."""

    words: str
    drafts: int
    newest: str
    """What the newest draft is about; not yet cleaned."""


class HomeScreen(LoratuiScreen[None]):
    """The list of runs, as the app finds them."""

    CONTEXT = "home"
    PURPOSE = "runs"

    def __init__(self) -> None:
        super().__init__()
        self._runs: tuple[RunSummary, ...] = ()
        self._looked = False
        self._marked: set[str] = set()
        self._drafts = ""

    def heading_right(self) -> Content:
        return plain(self.loratui.home, "$muted")

    def body(self) -> ComposeResult:
        yield Line(id="box")
        yield Line(id="columns")
        yield RunList(id="runs")
        yield Line(_WELCOME, id="welcome")
        yield Line(id="drafts")
        with Horizontal(id="chosen"):
            with Vertical(id="chosen-words"):
                yield Line(id="chosen-name")
                yield Line(id="chosen-numbers")
                yield Line(id="reason")
            yield ThumbnailView("no sample yet", id="chosen-sample")
        yield Line(id="trouble")

    def on_mount(self) -> None:
        for id in ("welcome", "drafts", "chosen", "trouble"):
            self.present(id, False)
        self.query_one(RunList).focus()
        if self.loratui.runs:
            self.runs_listed(RunsListed(self.loratui.runs))
        self.loratui.look_at_the_runs_again()
        self._look_at_the_box()

    @work(thread=True, exclusive=True, group="box", description="look at the machine")
    def _look_at_the_box(self) -> None:
        worker = get_current_worker()
        self.rest(worker, _AFTER_THE_FIRST_PAINT_S)
        from loratui.tui.runs.machine_line import Box
        from loratui.tui.wizard.drafts import list_drafts

        box, said = Box(), BoxSeen("", 0, "")
        while not worker.is_cancelled:
            drafts = list_drafts(self.loratui.home)
            newest = drafts[0].title if drafts else ""
            seen = BoxSeen(box.words(self.loratui.home, self.loratui.settings.price_per_hour), len(drafts), newest)
            if seen != said:
                said = seen
                self.post_message(seen)
            self.rest(worker, _LOOK_AT_BOX_EVERY_S)

    def on_box_seen(self, message: BoxSeen) -> None:
        self.line("box").say(plain(message.words, "$muted"))
        self._drafts = message.newest
        more = f" and {message.drafts - 1} more" if message.drafts > 1 else ""
        self.present("drafts", bool(message.drafts) and not self.loratui.view_only)
        self.line("drafts").say(plain(f"Draft: {clean(message.newest, 60)}{more}. n continues it.", "$accent"))

    def runs_listed(self, message: RunsListed) -> None:
        if not self.stands:
            return
        first = not self._looked
        self._looked = True
        self.present("trouble", bool(message.problem))
        if message.problem:
            self.line("trouble").say(plain(f"✖ {message.problem}", "$error"))
            return
        self._runs = message.runs
        self._marked &= {run.name for run in message.runs}
        empty = not message.runs
        self.present("welcome", empty)
        for id in ("runs", "columns", "chosen"):
            self.present(id, not empty)
        self._show()
        if not empty and first:
            self.query_one(RunList).focus()
        self.refresh_bindings()

    def _show(self) -> None:
        if not self.stands:
            return
        runs = self.query_one(RunList)
        runs.show(self._runs, time.time(), self._marked)
        self.line("columns").say(plain(runs.titles, "$muted"))
        self._explain()

    def on_option_list_option_highlighted(self) -> None:
        self._explain()
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: RunList.OptionSelected) -> None:
        event.stop()
        self.action_open()

    @property
    def run(self) -> RunSummary | None:
        """The highlighted run."""
        at = self.query_one(RunList).highlighted
        return self._runs[at] if at is not None and at < len(self._runs) else None

    @property
    def can_copy(self) -> bool:
        return self.run is not None

    @property
    def several_runs(self) -> bool:
        return len(self._runs) > 1

    @property
    def several_marked(self) -> bool:
        return len(self._marked) > 1

    @property
    def resumable(self) -> bool:
        return self.run is not None and self.run.resumable

    @property
    def has_lora(self) -> bool:
        """Whether the run has written a LoRA file."""
        return self.run is not None and bool(self.run.state.output)

    @property
    def has_queue(self) -> bool:
        """Whether there ever was a queue in this home."""
        return (self.loratui.home / QUEUE).is_file()

    @property
    def has_sweeps(self) -> bool:
        return (self.loratui.home / SWEEPS).is_dir()

    def copyable(self) -> Sequence[tuple[str, str]]:
        """Folder, command to come back, LoRA file, scp line, and error."""
        return run_texts(self.run) if self.run else ()

    def action_open(self) -> None:
        """To the training of the chosen run, or to its validation if it is done."""
        if self.run is not None:
            validating = self.run.status == "done" or self.run.job == "validate"
            self.loratui.open("validation" if validating else "training", self.run.name)

    def action_validate(self) -> None:
        if self.run is not None:
            self.loratui.open("validation", self.run.name)

    @work(exclusive=True, group="new")
    async def action_new_run(self) -> None:
        """To the wizard; if there are drafts, it asks first which one to continue."""
        from loratui.tui.wizard.choose_draft_screen import DraftsScreen
        from loratui.tui.wizard.drafts import list_drafts

        drafts = list_drafts(self.loratui.home)
        if not drafts:
            self.loratui.plan_new()
            return
        chosen = await self.app.push_screen_wait(DraftsScreen(drafts))
        if chosen == "":
            self.loratui.plan_new()
        elif chosen is not None:
            self.loratui.continue_draft(chosen)

    def action_demo(self) -> None:
        from loratui.tui.wizard.demo import demo_draft, shared_by_cores

        self.loratui.plan_new(demo_draft(changes=shared_by_cores({})), "plan")

    @work(exclusive=True, group="resume", description="resume a run")
    async def action_resume(self) -> None:
        """Resumes the chosen run from its last checkpoint, and opens its training."""
        from loratui.engine.runs.directory import open_run
        from loratui.engine.runs.launcher import launch
        from loratui.tui.runs.resuming import goes_on

        run = self.run
        if run is None:
            return
        try:
            opened = await self.in_thread(lambda: open_run(self.loratui.home, run.name))
            if not await goes_on(self, opened):
                return
            await self.in_thread(launch, opened)
        except (LoratuiError, OSError) as error:
            self.loratui.tell(str(error), "error")
        else:
            self.loratui.open("training", run.name)

    def action_duplicate(self) -> None:
        """To the plan of a new run with this run's recipe."""
        from loratui.engine.planning.recipe import read_to_begin
        from loratui.presets.schema import SchemaError
        from loratui.tui.wizard.drafts import saved_from

        run = self.run
        if run is None:
            return
        try:
            recipe = read_to_begin(Path(run.path) / "recipe.toml")
        except SchemaError as error:
            self.loratui.tell(str(error), "error")
            return
        self.loratui.continue_draft(saved_from(recipe, "plan"))

    def action_queue(self) -> None:
        self.loratui.open("queue")

    def action_sweeps(self) -> None:
        self.loratui.open("sweep")

    def action_mark(self) -> None:
        run = self.run
        if run is not None:
            self._marked ^= {run.name}
            self._show()
            self.refresh_bindings()

    def action_compare(self) -> None:
        from loratui.tui.runs.compare_screen import CompareScreen

        self.app.switch_screen(CompareScreen([run for run in self._runs if run.name in self._marked]))

    @work(exclusive=True, group="delete")
    async def action_delete(self) -> None:
        """Deletes the chosen run, after a question that says what this frees."""
        from loratui.tui.runs.machine_line import folder_bytes
        from loratui.tui.screens.confirm import ConfirmScreen

        run, worker = self.run, get_current_worker()
        if run is None:
            return
        if run.active:
            self.loratui.tell(f"{run.name} is running. Stop it first: enter, then x.", "warning")
            return
        taken = await self.in_thread(folder_bytes, Path(run.path), lambda: worker.is_cancelled)
        details = f"This frees {text.size(taken)}: its LoRA files, checkpoints, samples, cache and log. Your images stay."
        if await self.app.push_screen_wait(ConfirmScreen(f"Delete {run.name}?", details, "delete")):
            self._delete(run.name)

    @work(group="delete files", description="delete a run")
    async def _delete(self, name: str) -> None:
        from loratui.engine.runs.directory import delete_run, open_run

        try:
            await self.in_thread(lambda: delete_run(open_run(self.loratui.home, name, to_delete=True)))
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
        else:
            self.loratui.tell(f"{name} is deleted.")
        self.loratui.look_at_the_runs_again()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        if self._looked and self._runs:
            self.call_after_refresh(self._show)

    def _explain(self) -> None:
        run = self.run
        if run is None:
            return
        state = run.state
        preset = f"preset {state.preset}" if state.preset else ""
        images = text.count(state.images, "image") if state.images else ""
        about = " · ".join(words for words in (preset, text.base_name(state.base), images) if words)
        self.line("chosen-name").say(Content.assemble(plain(run.name, "bold"), plain(f"  {about}", "$muted")))
        self.line("chosen-numbers").say(plain(" · ".join(numbers(run, self.loratui.settings.price_per_hour))))
        reason = f"{run.reason} {_advice(run)}".strip()
        self.line("reason").say(plain(reason, "$error" if run.status == "failed" else "$muted"))
        sample = self.query_one(ThumbnailView)
        path = run.file(state.sample)
        sample.display = path is not None
        if path is not None:
            sample.show(path)


def _advice(run: RunSummary) -> str:
    """What to do about a run, with the key for it."""
    if run.resumable:
        return f"r {run.goes_on}."
    return "v opens the validation: is it any good?" if run.status == "done" else run.advice


_WELCOME = Content("\n").join(
    [
        plain("No runs yet.", "bold"),
        Content(""),
        Content.assemble(("n", "bold $accent"), "  trains a LoRA on your own images: preset, base, dataset, plan, preflight."),
        Content.assemble(
            ("t", "bold $accent"), "  runs the demo: an invented person, a few minutes on any machine, no download."
        ),
        Content(""),
        plain("Runs continue when you leave or the connection drops. loratui brings you back.", "$muted"),
    ]
)
