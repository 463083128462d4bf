"""Changes the sample prompts and their interval while a run trains."""

from __future__ import annotations

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


def samples_now(run: RunDirectory, state: RunState) -> tuple[tuple[str, ...], int]:
    """Prompts and image-steps between samples (0: once an epoch), as changed, else from the recipe; empty if unreadable."""
    try:
        samples = read_recipe(run.effective).settings.samples
        prompts, every = samples.prompts, samples.every_image_steps
    except SchemaError:
        prompts, every = (), 0
    changed = state.changes.every_image_steps
    return state.changes.prompts or prompts, every if changed is None else changed


class LiveSamplesScreen(ModalScreen[dict[str, Any] | None]):
    """Gives the arguments of the command `set_samples`; None if nothing changes."""

    DEFAULT_CSS = """
    LiveSamplesScreen #live-prompts { height: 4; margin-bottom: 1; background: $panel; }
    LiveSamplesScreen #live-label { margin-bottom: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_it", priority=True)]

    def __init__(self, prompts: tuple[str, ...], every_image_steps: int) -> None:
        super().__init__()
        self._prompts, self._every = prompts, every_image_steps

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("Samples during training", "bold $accent"))
            yield Line("One prompt a line, used from the next samples on. {trigger}, {class} and {subject} become your words.")
            yield TextArea("\n".join(self._prompts), id="live-prompts", tab_behavior="focus", compact=True)
            yield Line("Image-steps between samples; 0 for once an epoch:", id="live-label")
            yield Input(str(self._every), id="live-every", type="integer", max_length=10, compact=True)
            yield Line(plain("tab goes to the number · enter there sends · esc changes nothing", "$muted"))

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()

    def action_leave_it(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        prompts = [line.strip() for line in self.query_one(TextArea).text.splitlines() if line.strip()]
        every = int(text) if text.isdecimal() else -1
        # Only what changed: the recipe's prompts may be longer than a command may carry.
        args: dict[str, Any] = {} if tuple(prompts) == self._prompts else {"prompts": prompts}
        if every != self._every:
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
