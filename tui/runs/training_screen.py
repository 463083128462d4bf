"""A run in training: progress, loss, samples, machine and log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from loratui.engine.runs.directory import RunDirectory
from loratui.tui.runs import figures, run_words
from loratui.tui.runs.after_the_end import AfterTheEnd
from loratui.tui.runs.gallery import Gallery, Look, gallery
from loratui.tui.terminal import clean, ssh_hints
from loratui.tui.widgets import braille
from loratui.tui.widgets.gpu_panel import GpuPanel
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.log_panel import LogPanel
from loratui.tui.widgets.log_tail import LogTail
from loratui.tui.widgets.loss_plot import LossPlot
from loratui.tui.widgets.progress import Progress
from loratui.tui.widgets.samples_panel import SamplesPanel

_SHOWN_EVERY_S = 1.0
"""All at once: the cost of a paint hardly depends on how much of the screen is new."""
_MOST_LEFT_OUT = 3
"""Paints in a row that may be left out while the connection is behind: the numbers must get their turn between images."""
_ROOM_FOR_ALL = 76
"""Columns for all figures; in fewer, the learning rate gives way to the cost."""
_PANELS = ("plot", "samples", "machine", "log")


class TrainingScreen(AfterTheEnd):
    """Paints news once a second, the effect of a key at once, and nothing while nothing changes."""

    CONTEXT = "training"
    JOB = "train"
    CSS_PATH = "training_screen.tcss"
    AUTO_FOCUS = ""  # the log's filter would take the keys

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self._numbers_due = self._plot_due = True
        self._asked: dict[str, str] = {}
        """Id of each command not yet acknowledged -> the command."""
        self._left_out = 0
        self._plot_rested = False
        self._log_scale = False
        self._table, self._table_of = Gallery(), -1
        self._look = Look()
        self._large = ""
        """The panel that fills the screen; empty if none does."""

    def body(self) -> ComposeResult:
        yield Line("Reading the run …", id="steps")
        with Horizontal(id="progress-row"):
            yield Progress(id="progress")
        with Horizontal(id="numbers"):
            for name, title in run_words.NUMBERS.items():
                yield Line(_number(title, "–"), id=f"number-{name}", classes="number")
        with Horizontal(id="middle"):
            with Vertical(id="plot-panel", classes="panel") as panel:
                panel.border_title = Content("loss")
                yield LossPlot(id="plot")
            samples = SamplesPanel(self.file, id="samples-panel", classes="panel")
            samples.border_title = Content("samples")
            yield samples
        yield Line(id="measured")
        yield Line(id="alert")
        yield Line(id="verdict")
        yield Line(id="machine-line")
        with Horizontal(id="lower"):
            machine = GpuPanel(id="machine-panel", classes="panel")
            machine.border_title = Content("machine")
            yield machine
            yield LogPanel(id="log-panel", classes="panel")

    def on_mount(self) -> None:
        for name in ("measured", "alert", "verdict"):
            self.present(name, False)
        self.set_interval(_SHOWN_EVERY_S, self._show_what_is_new)
        self.follow()

    def on_resize(self, event: events.Resize) -> None:
        """The width decides what is shown. Textual calls the base's handler too."""
        del event
        self._numbers_due = True
        self._show_numbers()

    def events_taken(self) -> None:
        """News waits for its second; the first is shown at once."""
        self._numbers_due = self._plot_due = True
        if self.line("steps").said.startswith("Reading"):
            self._show_all()
        self._notice_acknowledgements()

    # ---- keys

    @property
    def has_samples(self) -> bool:
        return bool(self.history.samples)

    @property
    def can_command(self) -> bool:
        return self._trains and not self.state.leaving

    @property
    def resumable(self) -> bool:
        return self.summary is not None and self.summary.resumable

    @property
    def can_validate(self) -> bool:
        """Whether there is a LoRA file to validate."""
        return self.summary is not None and bool(self.history.outputs) and not (self._trains or self.finishing or self.gone)

    @property
    def _trains(self) -> bool:
        return self.summary is not None and self.summary.active and self.summary.job == "train" and not self.finishing

    def action_command(self, command: str, args: dict[str, Any] | None = None) -> None:
        """Sends the trainer a command."""
        from loratui.engine.errors import LoratuiError
        from loratui.engine.runs import control

        if command in self._asked.values():
            self.loratui.tell(f"{run_words.COMMANDS[command]} is already requested; the trainer has not answered yet.")
            return
        try:
            self._asked[control.send(self.run_directory, command, **(args or {}))] = command
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
        else:
            self.loratui.tell(run_words.ASKED[command])
        self._numbers_due = True
        self._show_numbers()

    def action_after_epoch(self) -> None:
        """Asks the trainer to stop after this epoch, or withdraws that."""
        cancel = self.state.changes.stop_after_epoch is not None
        self.action_command("stop_after_epoch", {"cancel": True} if cancel else None)

    @work(exclusive=True, group="question")
    async def action_stop(self) -> None:
        """Asks the person, then the trainer."""
        from loratui.tui.screens.confirm import ConfirmScreen

        details = "It saves a checkpoint and the LoRA file of this step. You can resume from there."
        if await self.app.push_screen_wait(ConfirmScreen(f"Stop {self.run_directory.name}?", details, "stop")):
            self.action_command("stop")

    @work(exclusive=True, group="question")
    async def action_change_samples(self) -> None:
        """Asks for other prompts and another interval, then sends them."""
        from loratui.tui.runs.live_samples import LiveSamplesScreen, samples_now

        wanted = await self.app.push_screen_wait(LiveSamplesScreen(*samples_now(self.run_directory, self.state)))
        if wanted:
            self.action_command("set_samples", wanted)

    @work(exclusive=True, group="question")
    async def action_resume(self) -> None:
        """Asks about what has changed since, and resumes the run."""
        from loratui.tui.runs.resuming import goes_on

        if not await goes_on(self, self.run_directory):
            return
        if self.summary is not None:
            self.loratui.tell(f"{self.run_name} {self.summary.goes_on} …")
        self.launch("train")

    def action_validate(self) -> None:
        self.loratui.open("validation", self.run_directory.name)

    def parts(self) -> Sequence[tuple[Widget, str]]:
        """The panels; choosing one enlarges it."""
        return [(self.query_one(f"#{name}-panel"), f"enlarge('{name}')") for name in _PANELS]

    def action_log_scale(self) -> None:
        self._log_scale = not self._log_scale
        self._plot_due = True
        self._show_plot()

    def action_filter(self) -> None:
        if self._large not in ("", "log"):
            self.action_enlarge("log")
        self.query_one(LogPanel).ask()

    def action_level(self) -> None:
        """Everything, warnings, errors."""
        self.query_one(LogPanel).next_level()

    def action_scrub(self, by: int) -> None:
        """To the samples of an earlier or a later step; the plot shows the step."""
        self._turn_to(self._look.moved(self._table, by))

    def action_prompt(self, by: int) -> None:
        """To another prompt; in an enlarged log, scrolls."""
        if self._large == "log":
            self.query_one(LogTail).scroll_by(-by * 5)
        else:
            self._turn_to(self._look.turned(self._table, by))

    @work(exclusive=True, group="enlarge")
    async def action_enlarge(self, name: str) -> None:
        """Enlarges a panel, or shows all of them again."""
        self._large = "" if self._large == name else name
        for panel in _PANELS:
            self.set_class(panel == self._large, f"-large-{panel}")
        await self.query_one(SamplesPanel).set_wall(self._large == "samples")
        self._numbers_due = self._plot_due = True
        self._show_all()
        self.call_after_refresh(self._show_title)  # the panel has its new width

    def action_open_image(self) -> None:
        from loratui.tui.runs.image_screen import ImageScreen, shown_samples

        sample = self._look.sample(self._table)
        if sample is not None:
            self.app.push_screen(ImageScreen(*shown_samples(self.run_directory, self._table, sample)))

    @on(SamplesPanel.Chosen)
    def _choose(self, message: SamplesPanel.Chosen) -> None:
        sample = message.sample
        self._turn_to(Look(sample.step, self._table.prompts.index(sample.prompt)))
        self.action_open_image()

    def action_back(self) -> None:
        """From an enlarged panel to all of them, then to the runs."""
        if self._large:
            self.action_enlarge(self._large)
        else:
            super().action_back()

    def copyable(self) -> Sequence[tuple[str, str]]:
        return [*self._copyable(), *self.lineage_words()]

    def _copyable(self) -> Iterator[tuple[str, str]]:
        sample, output = self._look.sample(self._table), self.history.newest_output
        for name, found in (("sample", sample), ("LoRA file", output)):
            path = self.file(found.path) if found is not None else None
            if path is not None:
                yield f"path of the {name}", str(path)
                yield f"scp line for the {name}", ssh_hints.scp_line(path)
        yield "the run's folder", str(self.run_directory.path)
        yield "command to come back", f"loratui attach {self.run_directory.name}"
        if self.summary is not None and self.summary.reason and not self.summary.active:
            yield "why it ended", f"{self.summary.reason} {self.summary.advice}".strip()

    def farewell(self) -> Iterator[str]:
        """As for every run; if it ended, also where the file is."""
        yield from super().farewell()
        output = self.history.newest_output
        if not self.active and output is not None and self.file(output.path):
            yield f"LoRA file: {clean(self.file(output.path))}"

    # ---- what is shown

    def _show_what_is_new(self) -> None:
        # On a connection that is behind, it would only delay the answer to the next key.
        if self.loratui.output_flow.behind and self._left_out < _MOST_LEFT_OUT:
            self._left_out += 1
            return
        self._left_out = 0
        if self.active and (not self.state.stepped or self.finishing):
            self._numbers_due = True  # a wait counts its seconds without news
        self._show_numbers()
        # The curve costs most and moves by one cell: every other time is enough.
        self._plot_rested = not self._plot_rested
        if not self._plot_rested:
            self._show_plot()

    def _show_all(self) -> None:
        self._show_numbers()
        self._show_plot()

    def _show_numbers(self) -> None:
        if not (self._numbers_due and self.caught_up):
            return
        self._numbers_due = False
        state = self.state
        self.line("heading-right").say(run_words.standing(self.summary, state, list(self._asked.values())))
        now = time.time() if self.active else None
        self.line("steps").say(run_words.steps_words(state, now, self.size.width - 2))
        self.query_one(Progress).show(run_words.fraction(state))
        shown = run_words.numbers(state, active=self.active, price_per_hour=self.loratui.settings.price_per_hour)
        no_room = self.size.width < _ROOM_FOR_ALL and bool(shown["money"][1])
        for name, (title, value) in shown.items():
            number = self.line(f"number-{name}")
            number.say(_number(title, value))
            number.set_class(not value or (name == "lr" and no_room), "-empty")
        self._say_or_hide("measured", run_words.measured(state, active=self.active))
        self._say_or_hide("alert", run_words.warning_words(state) if self.active else Content(""))
        verdict = run_words.verdict(self.summary, self.history, self.file)
        actions = run_words.actions_words(state, time.time())
        both = [words for words in (verdict, actions) if words.plain]
        self._say_or_hide("verdict", Content("\n").join(both))
        self.line("machine-line").say(plain(figures.machine(state.machine), "$muted"))
        self.set_class(not self.line("machine-line").said, "-no-machine")
        self.query_one(GpuPanel).show_history(self.history)
        self.query_one(LogPanel).show(self.history)
        self._show_samples()
        self.refresh_bindings()

    def _show_plot(self) -> None:
        if not (self._plot_due and self.caught_up):
            return
        self._plot_due = False
        history = self.history
        pointed = self._look.step
        marks = {
            braille.EPOCH: [epoch.step for epoch in history.epochs],
            braille.CHECKPOINT: [c.step for c in history.checkpoints if c.reason != "time"],
            braille.SAMPLE: self._table.steps,
            braille.UNUSUAL: [mark.step for mark in history.loss_marks],
        }
        plot = self.query_one(LossPlot)
        curves = run_words.curves(history.measured)
        plot.show(history.losses, self.state.optimizer_steps, marks, pointed, self._log_scale, curves)
        panel = self.query_one("#plot-panel")
        self._show_title()
        subtitle = run_words.pointed_words(history, pointed) or plot.legend
        if str(panel.border_subtitle) != subtitle:
            panel.border_subtitle = plain(subtitle)

    def _show_title(self) -> None:
        panel = self.query_one("#plot-panel")
        title = run_words.plot_title(self.history, panel.size.width - 2)
        if str(panel.border_title) != title.plain:
            panel.border_title = title

    def _show_samples(self) -> None:
        written = hash((len(self.history.samples), self.state.sample))
        if written == self._table_of:
            return
        self._table_of = written
        self._table = gallery(s for s in self.history.samples if self.file(s.path) is not None)
        panel = self.query_one(SamplesPanel)
        panel.show(self._table, self._look)
        if panel.needs_refit():
            self.run_worker(panel.refit(), group="refit", exclusive=True)

    def _turn_to(self, look: Look) -> None:
        if look != self._look:
            self._look = look
            self.query_one(SamplesPanel).show(self._table, look)
            self._plot_due = True
            self._show_plot()

    def _say_or_hide(self, name: str, words: Content) -> None:
        self.line(name).say(words)
        self.present(name, bool(words.plain))

    def _notice_acknowledgements(self) -> None:
        for identity in [known for known in self._asked if known in self.history.acknowledged]:
            answer = self.history.acknowledged[identity]
            command = run_words.COMMANDS[self._asked.pop(identity)]
            refused = f"{command}: refused. {answer.message}".rstrip()
            words = (answer.message or f"{command}: done.") if answer.ok else refused
            self.loratui.tell(words, "information" if answer.ok else "warning")
            self._numbers_due = True
        if self.summary is not None and not self.summary.active:
            ended_by = {"paused": ("pause",), "stopped": ("stop", "stop_after_epoch")}.get(self.summary.status, ())
            for command in self._asked.values():
                if command in ended_by:
                    continue  # requested twice, and done
                self.loratui.tell(f"{run_words.COMMANDS[command]}: the run ended first.", "warning")
            self._numbers_due = self._numbers_due or bool(self._asked)
            self._asked.clear()


def _number(title: str, value: str) -> Content:
    return Content("\n").join([plain(title, "$muted"), plain(value, "bold")])
