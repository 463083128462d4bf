"""Changes the sample prompts and their interval while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.changes import ChangeError, Changes, with_samples
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.state import RunState
from loratui.presets.schema import SchemaError
from loratui.tui.validation.request import prompt_problem
from loratui.tui.widgets.line import Line, plain


@dataclass(frozen=True)
class SamplesNow:
    """What is in force."""

    prompts: tuple[str, ...]
    every_image_steps: int
    """0: once an epoch."""


def samples_now(run: RunDirectory, state: RunState) -> SamplesNow:
    """The changes of the run, else its recipe; empty if that cannot be read."""
    try:
        samples = read_recipe(run.effective).settings.samples
    except SchemaError:
        samples = None
    prompts = state.changes.prompts or (samples.prompts if samples else ())
    every = state.changes.every_image_steps
    return SamplesNow(prompts, (samples.every_image_steps if samples else 0) if every is None else every)


class LiveSamplesScreen(ModalScreen[dict[str, Any] | None]):
    """Gives the arguments of the command `set_samples`; None if nothing changes."""

    DEFAULT_CSS = """
    LiveSamplesScreen {
        align: center middle;
        background: $background 60%;
        #live-prompts { height: 4; margin-bottom: 1; background: $panel; }
        #live-label { margin-bottom: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_it", priority=True)]

    def __init__(self, now: SamplesNow) -> None:
        super().__init__()
        self._now = now

    def compose(self) -> ComposeResult:
        """Prompts, interval, keys."""
        with Vertical(classes="dialog"):
            yield Line(plain("Samples during training", "bold $accent"))
            yield Line("One prompt a line, used from the next samples on. {trigger}, {class} and {subject} become your words.")
            yield TextArea("\n".join(self._now.prompts), id="live-prompts", tab_behavior="focus", compact=True)
            yield Line("Image-steps between samples; 0 for once an epoch:", id="live-label")
            yield Input(str(self._now.every_image_steps), id="live-every", type="integer", max_length=10, compact=True)
            yield Line(plain("tab: to the number · enter there: send · esc: change nothing", "$muted"))

    def on_mount(self) -> None:
        """The prompts first."""
        self.query_one(TextArea).focus()

    def action_leave_it(self) -> None:
        """Nothing changes."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        prompts = [line.strip() for line in self.query_one(TextArea).text.splitlines() if line.strip()]
        every = int(text) if text.isdecimal() else -1
        # Only what changed: the recipe's prompts may be longer than a command may carry.
        args: dict[str, Any] = {} if tuple(prompts) == self._now.prompts else {"prompts": prompts}
        if every != self._now.every_image_steps:
            args["every_image_steps"] = every
        try:
            with_samples(Changes(), args)
            problem = next((problem for prompt in args.get("prompts", ()) if (problem := prompt_problem(prompt))), "")
        except ChangeError as error:
            problem = str(error)
        if problem:
            self.query_one("#live-label", Line).say(plain(problem, "$error"))
            return
        self.dismiss(args or None)
