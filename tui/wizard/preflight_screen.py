"""The last step: the checks with their fixes, one real step to measure, and the start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.findings import SIGNS, TONES
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.preflight_rows import Row, base_row, cost_words, probed_row, rows
from loratui.tui.wizard.steps import StepScreen

if TYPE_CHECKING:
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.estimate import Cost
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.runs.probe import BaseRead, Probed

_NOT_PROBED = Row(
    "info",
    "The real step has not run yet.",
    "It measures memory and speed at full size, and tests the base.",
)


@dataclass
class ProbeWent(Message):
    """The real step made progress."""

    words: str


class PreflightScreen(StepScreen):
    """The list of checks; without errors, enter runs the last one, a real step, and then starts the run."""

    CONTEXT = "preflight"

    def __init__(self) -> None:
        super().__init__()
        self._prepared: Prepared | None = None
        self._machine: Accelerator | None = None
        self._starting = False
        self._rows: list[Row] = []
        self._probed = _NOT_PROBED
        self._base: BaseRead | None = None
        self._base_row: Row | None = None
        """A fault of the base, found by the real step."""
        self._probing = False
        self._cancel = threading.Event()
        self._costs_now = ""
        """The run's time and cost."""

    def body(self) -> ComposeResult:
        yield Line(id="preflight-run")
        yield OptionList(id="preflight-list", markup=False)
        yield Line(id="preflight-verdict")

    def on_mount(self) -> None:
        self.query_one("#preflight-list").focus()
        self.action_check_again()

    def on_unmount(self) -> None:
        """Cancels a real step that nobody waits for any more."""
        self._cancel.set()

    def action_check_again(self) -> None:
        if not self._starting:
            self._prepared = None
            self.line("preflight-verdict").wait("Checking images, captions, base model, GPU and disk")
            self.refresh_bindings()
            self._check()

    @work(exclusive=True, group="check", description="check before the start")
    async def _check(self) -> None:
        """Shows the list and whether the run can start."""
        edits = self.loratui.draft.edits
        facts = edits.trained_facts if edits else {}
        recipe, home = self.loratui.draft.named(), self.loratui.home

        def check() -> tuple[Prepared, Accelerator, Cost]:
            from loratui.engine.machine.accelerator import accelerator
            from loratui.engine.runs.continuing import prepare

            machine = accelerator()
            prepared = prepare(recipe, home, machine=machine, facts=facts)
            return prepared, machine, self._estimate(prepared, machine)

        try:
            prepared, self._machine, here = await self.in_thread(check)
        except (LoratuiError, OSError) as error:
            self._rows = [Row("error", str(error), "", "dataset")]
        else:
            self._costs_now = cost_words(here, measured=here.time_source.startswith("time measured in "))
            self.line("preflight-run").say(plain(prepared.plan.formula, "$muted"))
            self._prepared = prepared
            self._rows = [*rows(prepared, home), *self._others_at_work()]
        self._show()

    def _estimate(self, prepared: Prepared, machine: Accelerator) -> Cost:
        from loratui.engine.planning.estimate import estimate
        from loratui.engine.planning.measured import read_all

        price = self.loratui.settings.price_per_hour or None
        return estimate(prepared.recipe, prepared.plan, machine, price_per_hour=price, measurements=read_all()).here

    def _others_at_work(self) -> list[Row]:
        names = [run.name for run in self.loratui.runs if run.active]
        remedy = "Both would share its memory and speed: w starts this run after it, or pause that one."
        return [Row("warning", f"{clean(name)} is running on this machine.", remedy) for name in names]

    @property
    def at_rest(self) -> bool:
        """Whether no start and no real step is in progress."""
        return not (self._starting or self._probing)

    @property
    def probing(self) -> bool:
        return self._probing

    @property
    def unmeasured(self) -> bool:
        """Whether the run may start, without a measurement yet."""
        return self._ready and self._probed is _NOT_PROBED

    @property
    def measured(self) -> bool:
        """Whether the run may start, with a measurement."""
        return self._ready and self._probed is not _NOT_PROBED

    @property
    def can_start(self) -> bool:
        """Whether every check is done and the base is not refused."""
        return self.measured and not (self._base_row is not None and self._base_row.mark == "error")

    @property
    def can_enqueue(self) -> bool:
        """Whether the run can wait for others: some train, or wait already."""
        if not (self._ready and not self._starting):
            return False
        return any(run.active or run.status == "queued" for run in self.loratui.runs)

    @property
    def can_sweep(self) -> bool:
        return self._ready and not self._starting

    @property
    def step_here(self) -> bool:
        """Whether a step of the wizard can fix the selected finding."""
        row = self._chosen()
        return row is not None and bool(row.step)

    @property
    def _ready(self) -> bool:
        """Whether the checks found no error, and nothing is in progress."""
        return self._prepared is not None and not self._prepared.errors and self.at_rest

    def copyable(self) -> Sequence[tuple[str, str]]:
        found = [f"{SIGNS[row.mark]} {row.message} {row.remedy}".rstrip() for row in self._all_rows()]
        return [(f"check {at}", words) for at, words in enumerate(found, 1)]

    def action_mend(self) -> None:
        """To the step that can fix the selected finding."""
        row = self._chosen()
        if row is not None and row.step:
            self.loratui.open(row.step)

    def action_next(self) -> None:
        """The last check: one real step."""
        if self._prepared is not None and not self._prepared.errors and not self._probing:
            self._probing = True
            self._cancel = threading.Event()
            self.line("preflight-verdict").wait("One real step: starting the trainer", "· p cancels", style="$accent")
            self.refresh_bindings()
            self._probe(self._prepared, self._cancel)

    def action_probe_again(self) -> None:
        self.action_next()

    def action_cancel_probe(self) -> None:
        self._cancel.set()
        self.line("preflight-verdict").wait("Cancelling")

    @work(exclusive=True, group="probe", description="measure one real step")
    async def _probe(self, prepared: Prepared, cancel: threading.Event) -> None:
        """Shows the measurement and the new estimate."""
        from loratui.engine.runs.probe import probe

        machine, home = self._machine, self.loratui.home
        assert machine is not None, "a step is measured after the checks"

        def tell(words: str) -> None:
            self.post_message(ProbeWent(words))

        def measure() -> tuple[Cost, Probed | None, Cost]:
            before = self._estimate(prepared, machine)
            probed = probe(prepared, home, tell=tell, cancelled=cancel.is_set)
            return before, probed, self._estimate(prepared, machine)

        probed, row = None, _NOT_PROBED
        try:
            before, probed, after = await self.in_thread(measure)
        except (LoratuiError, OSError) as error:
            problem, remedy = getattr(error, "message", error), getattr(error, "remedy", "")
            row = Row("error", f"One real step failed: {problem}", remedy, "plan")
        else:
            if probed is None:
                self.loratui.tell("The real step was cancelled; nothing was measured.")
            else:
                row = probed_row(probed, before, after, machine.vram_gib)
                self._costs_now = cost_words(after, measured=True)
        self._probed, self._base = row, probed.base if probed else None
        self._base_row = base_row(self._base, prepared.recipe.settings.base.check) if self._base else None
        self._probing = False
        self._show()
        self.query_one(OptionList).highlighted = len(self._all_rows()) - 1

    def on_probe_went(self, message: ProbeWent) -> None:
        if self._probing and not self._cancel.is_set():
            what = f"One real step: {message.words[:1].lower()}{message.words[1:]}"
            self.line("preflight-verdict").wait(what, "· p cancels", style="$accent")

    def on_option_list_option_highlighted(self) -> None:
        """Refreshes the keys: others may work on this line."""
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter takes the next step, on any line."""
        event.stop()
        if self.check_action("next", ()):
            self.action_next()
        elif self.check_action("start", ()):
            self.action_start()

    def action_start_unmeasured(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        from loratui.tui.commands.common import start_prepared

        if (prepared := self._prepared) is not None and not self._starting:
            self._begin(
                "Starting the run", lambda: start_prepared(prepared, self.loratui.home, base=self._base).name, "training"
            )

    def action_enqueue(self) -> None:
        """The real step is left to the person: the GPU is at work."""
        from loratui.tui.commands.common import queue_prepared

        if (prepared := self._prepared) is not None and not self._starting:
            self._begin(
                "Queueing the run", lambda: queue_prepared(prepared, self.loratui.home, base=self._base)[0].name, "queue"
            )

    @work(exclusive=True, group="sweep", description="make the runs of a sweep")
    async def action_sweep(self) -> None:
        """Asks for the settings, and makes a run for each combination."""
        from loratui.tui.wizard.sweep_dialog import SweepDialog, make_sweep

        prepared, machine, home = self._prepared, self._machine, self.loratui.home
        if prepared is None or machine is None or self._starting:
            return
        time_s = self._estimate(prepared, machine).time_s
        overs = await self.app.push_screen_wait(SweepDialog(prepared.recipe, time_s[1] if time_s else None))
        if overs is not None:
            self._begin("Making the runs", lambda: make_sweep(prepared.recipe, overs, home, machine), "sweep")

    @work(exclusive=True, group="start", description="start the run")
    async def _begin(self, words: str, make: Callable[[], str], screen: str) -> None:
        """Opens a screen for what `make` has made, by its name, or shows the error."""
        self._starting = True
        self.line("preflight-verdict").wait(words, style="$accent")
        self.refresh_bindings()
        try:
            name = await self.in_thread(make)
        except (LoratuiError, OSError) as error:
            self.loratui.tell(str(error), "error")
            self.line("preflight-verdict").say(plain(f"✖ {error}", "$error"))
        else:
            self.loratui.forget_draft()
            self.loratui.open(screen, name if screen == "training" else "")
        self._starting = False
        self.refresh_bindings()

    def _all_rows(self) -> list[Row]:
        if self._prepared is None:
            return self._rows
        return [*self._rows, self._probed, *([self._base_row] if self._base_row else [])]

    def _chosen(self) -> Row | None:
        at = self.query_one(OptionList).highlighted
        found = self._all_rows()
        return found[at] if at is not None and at < len(found) else None

    def _show(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(_option(row)) for row in self._all_rows()])
        options.highlighted = min(at, max(0, len(self._all_rows()) - 1))
        self._say_verdict()
        self.refresh_bindings()

    def _say_verdict(self) -> None:
        verdict = self.line("preflight-verdict")
        if self._prepared is None:
            verdict.say(plain("The run cannot start. esc goes back to fix it.", "$error"))
            return
        errors = len(self._prepared.errors)
        warnings = sum(row.mark == "warning" for row in self._all_rows())
        if self.loratui.view_only:
            verdict.say(plain("This window is view-only: it starts nothing.", "$muted"))
            return
        if errors:
            words = f"{text.count(errors, 'error')}: m goes to the fix, then r checks again. esc goes back."
            verdict.say(plain(words, "bold $error"))
            return
        tone = "bold $warning" if warnings else "bold $success"
        told = f"{self._costs_now}; {text.count(warnings, 'warning') if warnings else 'no warnings'}."
        if self._probed is _NOT_PROBED:
            words = "enter runs one real step, the last check, then asks. s starts without it."
            verdict.say(plain(f"Ready: {told}", tone), Content("\n"), plain(words))
        elif self._base_row is not None and self._base_row.mark == "error":
            words = "This base is not what it was taken for: m goes to the fix. base.check off, in all settings, starts anyway."
            verdict.say(plain(words, "bold $error"))
        elif self._probed.mark == "error":
            verdict.say(plain("The real step failed. m goes to the fix; enter starts the training anyway.", "bold $error"))
        else:
            verdict.say(plain(f"Start the training? {told}", tone), Content("\n"), plain("enter starts it, esc goes back."))


def _option(row: Row) -> Content:
    lines = [plain(f"{SIGNS[row.mark]} {row.message}", TONES[row.mark])]
    if row.remedy:
        lines.append(plain(f"  {row.remedy}"))
    return Content("\n").join(lines)
