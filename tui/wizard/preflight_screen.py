"""The last step: the checks with their fixes, one real step to measure, and the start."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui import text
from loratui.tui.findings import SIGNS, TONES
from loratui.tui.keymap import bindings_for
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.preflight_rows import Row, base_row, cost_words, probed_row, rows
from loratui.tui.wizard.steps import StepScreen

if TYPE_CHECKING:
    from loratui.engine.dataset.facts import ImageFacts
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.planning.recipe import Recipe
    from loratui.engine.runs.directory import RunDirectory
    from loratui.engine.runs.probe import BaseRead

_NOT_PROBED = Row(
    "info",
    "The real step has not run yet.",
    "It measures memory and speed at full size, and tests that the base is what it should be.",
)


@dataclass
class PreflightFinished(Message):
    """The checks are done, or failed."""

    prepared: Prepared | None
    problem: str = ""
    costs: str = ""
    """The run's time and cost, as far as known."""


@dataclass
class ProbeWent(Message):
    """The real step made progress."""

    words: str


@dataclass
class ProbeEnded(Message):
    """The real step ended, failed or was cancelled, as the row says."""

    row: Row
    costs: str = ""
    """The run's time and cost by the measurement; empty without one."""
    base: BaseRead | None = None
    """How the base judged the images, if it was read."""


@dataclass
class RunStarted(Message):
    """A run was started, or could not be."""

    run: RunDirectory | None
    problem: str = ""


class PreflightScreen(StepScreen):
    """The list of checks; without errors, enter runs the last one, a real step, and then starts the run."""

    CONTEXT = "preflight"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("preflight")]

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
        """The run, the checks, and a verdict."""
        yield Line(id="preflight-run")
        yield OptionList(id="preflight-list", markup=False)
        yield Line(id="preflight-verdict")

    def on_mount(self) -> None:
        """Checks at once."""
        self.query_one("#preflight-list").focus()
        self.action_check_again()

    def on_unmount(self) -> None:
        """Cancels a real step that nobody waits for any more."""
        self._cancel.set()

    def action_check_again(self) -> None:
        """Runs the checks."""
        if self._starting:
            return
        self._prepared = None
        self.line("preflight-verdict").wait("Checking images, captions, base model, GPU and disk")
        self.refresh_bindings()
        edits = self.loratui.draft.edits
        self._check(self.loratui.draft.named(), edits.trained_facts if edits else {})

    @work(thread=True, exclusive=True, group="check", description="check before the start")
    def _check(self, recipe: Recipe, facts: Mapping[str, ImageFacts]) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.machine.accelerator import accelerator
        from loratui.engine.planning.prepare import prepare

        try:
            self._machine = accelerator()
            prepared = prepare(recipe, self.loratui.home, machine=self._machine, facts=facts)
            self.post_message(PreflightFinished(prepared, costs=self._costs(prepared, self._machine)))
        except (LoratuiError, OSError) as error:
            self.post_message(PreflightFinished(None, str(error)))

    def _costs(self, prepared: Prepared, machine: Accelerator) -> str:
        from loratui.engine.planning.estimate import estimate
        from loratui.engine.planning.measured import read_all

        price = self.loratui.settings.price_per_hour or None
        here = estimate(prepared.recipe, prepared.plan, machine, price_per_hour=price, measurements=read_all()).here
        return cost_words(here, measured=here.time_source.startswith("time measured:"))

    def _others_at_work(self) -> list[Row]:
        names = [run.name for run in self.loratui.runs if run.active]
        remedy = "Both runs would share its memory and speed: wait for that run to end, or pause it."
        return [Row("warning", f"{clean(name)} is running on this machine.", remedy) for name in names]

    def on_preflight_finished(self, message: PreflightFinished) -> None:
        """Shows the list and whether the run can start."""
        self._prepared = message.prepared
        if message.prepared is None:
            self._rows = [Row("error", message.problem, "", "dataset")]
        else:
            self.line("preflight-run").say(plain(message.prepared.plan.formula, "$muted"))
            self._costs_now = message.costs
            self._rows = [*rows(message.prepared, self.loratui.home), *self._others_at_work()]
        self._show()

    @property
    def at_rest(self) -> bool:
        """Whether no start and no real step is in progress."""
        return not (self._starting or self._probing)

    @property
    def probing(self) -> bool:
        """Whether a real step is in progress."""
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
    def step_here(self) -> bool:
        """Whether a step of the wizard can fix the selected finding."""
        row = self._chosen()
        return row is not None and bool(row.step)

    @property
    def _ready(self) -> bool:
        """Whether the checks found no error, and nothing is in progress."""
        return self._prepared is not None and not self._prepared.errors and self.at_rest

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The checks as text."""
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
            self.line("preflight-verdict").wait("One real step: starting the trainer", "p cancels.", style="$accent")
            self.refresh_bindings()
            self._probe(self._prepared, self._cancel)

    def action_probe_again(self) -> None:
        """Measures again."""
        self.action_next()

    def action_cancel_probe(self) -> None:
        """Cancels the real step."""
        self._cancel.set()
        self.line("preflight-verdict").wait("Cancelling")

    @work(thread=True, exclusive=True, group="probe", description="measure one real step")
    def _probe(self, prepared: Prepared, cancel: threading.Event) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.planning.estimate import estimate
        from loratui.engine.planning.measured import read_all
        from loratui.engine.runs.probe import probe

        machine, price = self._machine, self.loratui.settings.price_per_hour or None
        assert machine is not None, "a step is measured after the checks"
        before = estimate(prepared.recipe, prepared.plan, machine, price_per_hour=price, measurements=read_all())
        try:
            probed = probe(prepared, self.loratui.home, tell=self._tell_probe, cancelled=cancel.is_set)
        except (LoratuiError, OSError) as error:
            remedy = getattr(error, "remedy", "")
            self.post_message(
                ProbeEnded(Row("error", f"One real step failed: {getattr(error, 'message', error)}", remedy, "plan"))
            )
            return
        if probed is None:
            self.post_message(ProbeEnded(_NOT_PROBED))
            return
        after = estimate(prepared.recipe, prepared.plan, machine, price_per_hour=price, measurements=read_all())
        row = probed_row(probed, before.here, after.here, machine.vram_gib)
        self.post_message(ProbeEnded(row, cost_words(after.here, measured=True), probed.base))

    def _tell_probe(self, words: str) -> None:
        self.post_message(ProbeWent(words))

    def on_probe_went(self, message: ProbeWent) -> None:
        """Shows the progress."""
        if self._probing and not self._cancel.is_set():
            what = f"One real step: {message.words[:1].lower()}{message.words[1:]}"
            self.line("preflight-verdict").wait(what, "p cancels.", style="$accent")

    def on_probe_ended(self, message: ProbeEnded) -> None:
        """Shows the measurement and the new estimate."""
        self._probing = False
        if message.row is _NOT_PROBED:
            self.loratui.tell("The real step was cancelled; nothing was measured.")
        self._costs_now = message.costs or self._costs_now
        self._probed, self._base = message.row, message.base
        check = self._prepared.recipe.settings.base.check if self._prepared else "on"
        self._base_row = base_row(message.base, check) if message.base else None
        self._show()
        self.query_one(OptionList).highlighted = len(self._all_rows()) - 1

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
        """Starts the run without the real step."""
        self.action_start()

    def action_start(self) -> None:
        """Starts the run."""
        if self._prepared is None or self._starting:
            return
        self._starting = True
        self.line("preflight-verdict").wait("Starting the run", style="$accent")
        self.refresh_bindings()
        self._start(self._prepared, self._base)

    @work(thread=True, exclusive=True, group="start", description="start the run")
    def _start(self, prepared: Prepared, base: BaseRead | None) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.tui.commands.common import start_prepared

        try:
            self.post_message(RunStarted(start_prepared(prepared, self.loratui.home, base=base)))
        except (LoratuiError, OSError) as error:
            self.post_message(RunStarted(None, str(error)))

    def on_run_started(self, message: RunStarted) -> None:
        """To the training, or shows the error."""
        self._starting = False
        if message.run is None:
            self.loratui.tell(message.problem, "error")
            self.line("preflight-verdict").say(plain(f"✖ {message.problem}", "$error"))
            self.refresh_bindings()
            return
        self.loratui.forget_draft()
        self.loratui.open("training", message.run.name)

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
            words = "enter runs one real step, the last check, and then asks. s starts without it."
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
