"""A run in training: how far it is, what the loss does, the newest sample, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.summary import RunSummary
from loratui.tui import text
from loratui.tui.bindings import bindings_for
from loratui.tui.screens.run_screen import RunScreen
from loratui.tui.store import RunState
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.log_tail import LogTail
from loratui.tui.widgets.loss_plot import LossPlot
from loratui.tui.widgets.progress import Progress
from loratui.tui.widgets.thumbnail import ThumbnailView

_NUMBERS_EVERY_S = 0.5
_PLOT_EVERY_S = 1.0

_NUMBERS = {
    "smoothed": "loss, smoothed",
    "rate": "rate",
    "left": "time left",
    "lr": "learning rate",
    "norm": "gradient",
    "memory": "GPU memory",
}
"""Id and title of each number."""

_ASKED = {
    "sample": "Samples are asked for; they come after this step.",
    "checkpoint": "A checkpoint is asked for; it comes after this step.",
    "pause": "Pause is asked for: a checkpoint, then the run ends and can be resumed.",
    "stop": "Stop is asked for: a checkpoint and the LoRA file, then the run ends.",
}


class TrainingScreen(RunScreen):
    """Numbers twice a second, the plot once, and nothing at all while nothing changes."""

    CONTEXT = "training"
    JOB = "train"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("training")]

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self._numbers_due = True
        self._plot_due = True
        self._asked: dict[str, str] = {}
        """Id of each command that nobody has acknowledged yet -> the command."""
        self._rang = False

    def heading(self) -> Content:
        """Program and run."""
        return Content.assemble(("loratui", "bold $accent"), "  ", plain(self.run_directory.name, "bold"))

    def body(self) -> ComposeResult:
        """Progress, numbers, plot and sample, verdict, log."""
        yield Line("Reading the run …", id="steps")
        with Horizontal(id="progress-row"):
            yield Progress(id="progress")
        with Horizontal(id="numbers"):
            for name, title in _NUMBERS.items():
                yield Line(_number(title, "–"), id=f"number-{name}", classes="number")
        with Horizontal(id="middle"):
            with Vertical(id="plot-panel", classes="panel") as panel:
                panel.border_title = Content("loss")
                yield LossPlot(id="plot")
            with Vertical(id="sample-panel", classes="panel") as panel:
                panel.border_title = Content("newest sample")
                yield ThumbnailView("no sample yet", id="sample")
                yield Line(id="sample-prompt")
                yield Line(id="sample-path")
        yield Line(id="verdict")
        with Vertical(id="log-panel", classes="panel") as panel:
            panel.border_title = Content("log")
            yield LogTail(id="log")

    def on_mount(self) -> None:
        """Starts to read and to show."""
        self.query_one("#verdict").display = False
        self.set_interval(_NUMBERS_EVERY_S, self._show_numbers)
        self.set_interval(_PLOT_EVERY_S, self._show_plot)
        self.follow()

    def events_taken(self) -> None:
        """Something is new; it is shown when its time comes, the first time at once."""
        first = not self._plot_due and self.state.events == 0
        self._numbers_due = self._plot_due = True
        if first or self.query_one("#steps", Line).said.startswith("Reading"):
            self._show_numbers()
            self._show_plot()
        self._notice_acknowledgements()
        self._ring_at_the_end()

    def available(self, action: str) -> bool:
        """Commands need a run that lives, resuming one that does not."""
        if self.summary is None:
            return action not in ("command", "stop", "resume", "validate")
        training = self.summary.active and self.summary.job == "train"
        if action in ("command", "stop"):
            return training
        if action == "resume":
            return not self.summary.active and self.summary.status != "done"
        if action == "validate":
            return bool(self.state.outputs) and not training
        return True

    def action_command(self, command: str) -> None:
        """Asks the trainer for something."""
        from loratui.engine.errors import LoratuiError
        from loratui.engine.runs import control

        if command in self._asked.values():
            self.loratui.tell(f"{command} is asked for already.")
            return
        try:
            self._asked[control.send(self.run_directory, command)] = command
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
        else:
            self.loratui.tell(_ASKED[command])
        self._numbers_due = True

    @work(exclusive=True, group="stop")
    async def action_stop(self) -> None:
        """Asks the person, then the trainer."""
        from loratui.tui.screens.confirm import ConfirmScreen

        details = "It saves a checkpoint and the LoRA file as far as it is. resume goes on from there."
        if await self.app.push_screen_wait(ConfirmScreen(f"Stop {self.run_directory.name}?", details, "stop")):
            self.action_command("stop")

    def action_resume(self) -> None:
        """Starts the trainer again."""
        self.loratui.tell("Starting from the last checkpoint …")
        self._rang = False
        self.launch("train")

    def action_validate(self) -> None:
        """To the strength grid."""
        self.loratui.open("validation", self.run_directory.name)

    def farewell(self) -> Iterator[str]:
        """As for every run; of one that ended, where the file is."""
        yield from super().farewell()
        output = self.state.newest_output
        if not self.active and output is not None and self.file(output.path):
            yield f"LoRA file: {clean(self.file(output.path))}"

    def _show_numbers(self) -> None:
        if not (self._numbers_due and self.caught_up):
            return
        self._numbers_due = False
        state = self.state
        self.line("heading-right").say(self._status())
        self.line("steps").say(steps_words(state))
        self.query_one(Progress).show(1.0 if state.finished and state.status == "done" else _fraction(state))
        values = {
            "smoothed": text.loss(state.smoothed_loss),
            "rate": text.rate(state.steps_per_s) if self.active else "–",
            "left": text.time_left(state.eta_s) if self.active else "–",
            "lr": text.learning_rate(state.learning_rate),
            "norm": text.loss(state.grad_norm),
            "memory": f"{state.memory_gib:.1f} GiB" if state.memory_gib else "–",
        }
        for name, value in values.items():
            self.line(f"number-{name}").say(_number(_NUMBERS[name], value))
        memory = self.query_one("#number-memory")
        memory.display = state.memory_gib is not None
        self._show_sample()
        self._show_verdict()
        self.query_one(LogTail).show(state.log, state.log_count)
        self.refresh_bindings()

    def _show_plot(self) -> None:
        if self._plot_due and self.caught_up:
            self._plot_due = False
            self.query_one(LossPlot).show(self.state.losses, self.state.optimizer_steps)

    def _show_sample(self) -> None:
        sample = self.state.newest_sample
        path = self.file(sample.path) if sample else None
        if sample is None or path is None:
            return
        self.query_one(ThumbnailView).show(path)
        self.line("sample-prompt").say(f"step {text.number(sample.step)}: {sample.prompt}")
        self.line("sample-path").say(plain(sample.path, "$muted"))

    def _status(self) -> Content:
        if self.summary is None:
            return Content("")
        status = self.summary.status
        words: str = status
        if status == "running":
            words = "validating" if self.summary.job == "validate" else self.state.status
        elif status == "starting":
            words = "starting"
        asked = f", {' and '.join(sorted(set(self._asked.values())))} asked for" if self._asked else ""
        return plain(f"{text.STATUS_SIGNS[status]} {words}{asked}", f"bold {text.STATUS_TONES[status]}")

    def _show_verdict(self) -> None:
        words = self._verdict()
        verdict = self.query_one("#verdict", Line)
        verdict.say(words)
        if verdict.display != bool(words.plain):
            verdict.display = bool(words.plain)

    def _verdict(self) -> Content:
        summary, state = self.summary, self.state
        if summary is None or (summary.active and summary.status != "stalled"):
            return Content("")
        parts = [plain(f"{text.STATUS_SIGNS[summary.status]} {summary.status}. ", f"bold {text.STATUS_TONES[summary.status]}")]
        if summary.status == "done":
            parts.append(plain("All steps are made."))
        else:
            parts.append(plain(f"{summary.reason} {what_to_do(summary)}".strip()))
        output = state.newest_output
        if output and summary.status in ("done", "stopped"):
            where = self.file(output.path) or output.path
            parts += [Content("\n"), plain(f"LoRA file ({text.size(output.bytes)}): {where}")]
        if summary.status == "done":
            parts += [Content("\n"), plain("v", "bold $accent"), plain("  is it any good? The strength grid and the checklist")]
        return Content("").join(parts)

    def _notice_acknowledgements(self) -> None:
        for identity in [known for known in self._asked if known in self.state.acknowledged]:
            answer = self.state.acknowledged[identity]
            command = self._asked.pop(identity)
            words = answer.message or ("done" if answer.ok else "refused")
            self.loratui.tell(f"{command}: {words}", "information" if answer.ok else "warning")
        if self.summary is not None and not self.summary.active:
            self._asked.clear()

    def _ring_at_the_end(self) -> None:
        ended = self.summary is not None and not self.summary.active
        if ended and not self._rang and self._was_active:
            self.app.bell()
        self._rang = self._rang or ended
        self._was_active = self._was_active or self.active

    _was_active = False


def what_to_do(summary: RunSummary) -> str:
    """What the person can do about a run that ended, here by a key where that is enough."""
    if summary.status in ("paused", "stopped", "interrupted"):
        return "r resumes from the last checkpoint."
    return summary.advice


def _number(title: str, value: str) -> Content:
    """A number under its title."""
    return Content("\n").join([plain(title, "$muted"), plain(value, "bold")])


def _fraction(state: RunState) -> float:
    """Of training, or of the phase before it."""
    if state.progress and state.progress.total and not state.image_step:
        return state.progress.done / state.progress.total
    return state.fraction


def steps_words(state: RunState) -> Content:
    """Where the run is, with both kinds of steps under their names."""
    progress = state.progress
    if not state.image_step and progress is not None and progress.total:
        return plain(f"{state.status}: {text.number(progress.done)} of {text.number(progress.total)} {progress.text}".rstrip())
    if not state.started:
        return plain(state.status)
    image_steps = f"{text.number(state.image_step)} of {text.number(state.image_steps)} image-steps"
    steps = f"{text.number(state.step)} of {text.number(state.optimizer_steps)} optimizer steps"
    epoch = f"epoch {max(1, state.epoch)} of {state.epochs}"
    return plain(f"{epoch} · {image_steps} · {steps}")
