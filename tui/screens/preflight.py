"""The last step: what could go wrong, and the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from loratui.tui.bindings import bindings_for
from loratui.tui.messages import PreflightFinished, RunStarted
from loratui.tui.preflight_rows import SIGNS, TONES, rows
from loratui.tui.screens.steps import StepScreen
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.planning.recipe import Recipe


class PreflightScreen(StepScreen):
    """The list of checks; enter starts where none is an error."""

    CONTEXT = "preflight"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("preflight")]

    def __init__(self) -> None:
        super().__init__()
        self._prepared: Prepared | None = None
        self._starting = False

    def body(self) -> ComposeResult:
        """What is about to start, the checks, and a verdict."""
        yield Line(id="preflight-run")
        with VerticalScroll(id="preflight-list"):
            yield Line(id="preflight-text")
        yield Line(id="preflight-verdict")

    def on_mount(self) -> None:
        """Checks at once."""
        self.query_one("#preflight-list").focus()
        self.action_check_again()

    def action_check_again(self) -> None:
        """Runs the checks."""
        if self._starting:
            return
        self._prepared = None
        self.line("preflight-verdict").say(plain("Checking: pictures, captions, base model, disk …", "$muted"))
        self.refresh_bindings()
        self._check(self.loratui.draft.named())

    @work(thread=True, exclusive=True, group="check", description="check before the start")
    def _check(self, recipe: Recipe) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.planning.prepare import prepare

        try:
            self.post_message(PreflightFinished(prepare(recipe, self.loratui.home)))
        except (LoratuiError, OSError) as error:
            self.post_message(PreflightFinished(None, str(error)))

    def on_preflight_finished(self, message: PreflightFinished) -> None:
        """Shows the list and says whether the run can start."""
        self._prepared = message.prepared
        if message.prepared is None:
            self.line("preflight-text").say(plain(f"✖ {message.problem}", "$error"))
            self.line("preflight-verdict").say(plain("This cannot start. esc goes back to mend it.", "$error"))
            return
        plan = message.prepared.plan
        self.line("preflight-run").say(plain(plan.formula, "$muted"))
        lines: list[Content] = []
        for row in rows(message.prepared, self.loratui.home):
            lines.append(plain(f"{SIGNS[row.mark]} {row.message}", TONES[row.mark]))
            if row.remedy:
                lines.append(plain(f"  {row.remedy}"))
        self.line("preflight-text").say(Content("\n").join(lines))
        self._say_verdict(message.prepared)
        self.refresh_bindings()

    def available(self, action: str) -> bool:
        """Nothing starts before the checks are through without an error."""
        if action == "next":
            return self._prepared is not None and not self._prepared.errors and not self._starting
        return True

    def action_next(self) -> None:
        """Starts the run."""
        if self._prepared is None or self._prepared.errors or self._starting:
            return
        self._starting = True
        self.line("preflight-verdict").say(plain("Starting …", "$accent"))
        self.refresh_bindings()
        self._start(self._prepared)

    @work(thread=True, exclusive=True, group="start", description="start the run")
    def _start(self, prepared: Prepared) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.tui.commands.common import start_prepared

        try:
            self.post_message(RunStarted(start_prepared(prepared, self.loratui.home)))
        except (LoratuiError, OSError) as error:
            self.post_message(RunStarted(None, str(error)))

    def on_run_started(self, message: RunStarted) -> None:
        """To the training, or what went wrong."""
        self._starting = False
        if message.run is None:
            self.line("preflight-verdict").say(plain(f"✖ {message.problem}", "$error"))
            self.refresh_bindings()
            return
        self.loratui.forget_draft()
        self.loratui.open("training", message.run.name)

    def _say_verdict(self, prepared: Prepared) -> None:
        errors = len(prepared.errors)
        warnings = sum(finding.severity == "warning" for finding in prepared.findings)
        if errors:
            words = f"{errors} error{'s' if errors > 1 else ''}: mend {'them' if errors > 1 else 'it'}, then r checks again. esc goes back."
            self.line("preflight-verdict").say(plain(words, "bold $error"))
        elif warnings:
            words = f"Ready, with {warnings} warning{'s' if warnings > 1 else ''}. enter starts the training."
            self.line("preflight-verdict").say(plain(words, "bold $warning"))
        else:
            self.line("preflight-verdict").say(plain("Ready. enter starts the training.", "bold $success"))
