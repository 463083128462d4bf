"""The app: settings, the draft, the look at all runs, and the way from screen to screen. Everything else is in the screens."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.color import ColorSystem
from textual import events, work
from textual.app import App
from textual.binding import BindingType
from textual.geometry import Size
from textual.screen import ModalScreen, Screen
from textual.worker import get_current_worker

from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.runs.directory import RunDirectory, open_run
from loratui.tui import settings, themes
from loratui.tui.app_words import in_keys
from loratui.tui.bindings import Key, bindings_anywhere, keys_of
from loratui.tui.messages import DownloadEnded, DownloadWent, DraftOpened, RunsListed
from loratui.tui.runs import watch
from loratui.tui.screens.base import LoratuiScreen, is_too_small
from loratui.tui.terminal import clean, hangup, has_256_colours, has_shell, output_flow
from loratui.tui.terminal.canvas import TO_TRUE_COLOUR, Canvas
from loratui.tui.terminal.diff_renderer import SentScreen
from loratui.tui.terminal.kept_focus import KeptFocus
from loratui.tui.terminal.key_queue import KeysInTurn
from loratui.tui.terminal.window_title import WindowTitle
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.drafts import DraftSaver, new_id

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver

    from loratui.engine.machine.hub import DownloadPlan
    from loratui.engine.runs.summary import RunSummary
    from loratui.tui.wizard.downloading import Download
    from loratui.tui.wizard.drafts import SavedDraft

Severity = Literal["information", "warning", "error"]

WIZARD = ("preset", "base", "dataset", "plan", "samples", "preflight")
"""The screens of the wizard, in order."""

_SCREENS = {
    "home": ("runs.home_screen", "HomeScreen"),
    "preset": ("wizard.preset_screen", "PresetScreen"),
    "base": ("wizard.base_screen", "BaseModelScreen"),
    "dataset": ("dataset.overview_screen", "DatasetScreen"),
    "plan": ("wizard.plan_screen", "PlanScreen"),
    "samples": ("wizard.samples_screen", "SamplesScreen"),
    "preflight": ("wizard.preflight_screen", "PreflightScreen"),
    "training": ("runs.training_screen", "TrainingScreen"),
    "validation": ("validation.validation_screen", "ValidationScreen"),
}
"""Name of a screen -> its module and class."""
_OF_A_RUN = ("training", "validation")

_AS_WE_DRAW = "\x0f\x1b(B\x1b[r\x1b[?6l\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J"
"""Letters instead of line drawing, no scrolling part, no wrapping, no cursor, no colour, nothing on the screen."""

_LOOK_EVERY_S, _LOOK_ELSEWHERE_EVERY_S = 2.0, 5.0
_WAKE_S = 0.5
"""How often a thread that rests looks whether it is still wanted."""
"""How often the runs are looked at while their list is shown, and while it is not."""
_KEYS_WHERE_NOTHING_IS_SEEN = ("q", "escape", "ctrl+c", "ctrl+l")
"""What still works in a window that is too small: to leave, and to draw it again."""

_ERRORS_KEPT = 20
_TOLD_S, _GRAVE_S = 6.0, 12.0
"""How long a notice stays, and one of something that went wrong."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """What is printed after the app has given the terminal back."""

    lines: tuple[str, ...] = ()


class LoratuiApp(App[Farewell]):
    """The full-screen app. Nothing that matters lives here: runs are processes of their own."""

    TITLE = "loratui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False  # ours is made from the table of keys
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_anywhere()]

    def __init__(
        self,
        home: Path,
        screen: str = "home",
        run: RunDirectory | None = None,
        draft: Draft | None = None,
        *,
        view_only: bool = False,
    ) -> None:
        # Without colours the terminal's own ones are kept, rather than shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        if self.console.color_system == "standard" and "TEXTUAL_COLOR_SYSTEM" not in os.environ and has_256_colours(os.environ):
            self.console._color_system = ColorSystem.EIGHT_BIT
        self.home = home
        self.view_only = view_only
        """Whether nothing may be started, commanded or deleted from here."""
        loaded = settings.load()
        self.settings = loaded.settings
        self.key_table: tuple[Key, ...] = loaded.keys
        self.set_keymap(dict(loaded.keymap))
        self._told_at_start = loaded.problems
        self.runs: tuple[RunSummary, ...] = ()
        """All runs as they were last looked at."""
        self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        """What went wrong in this app, for bug reports."""
        self.downloading: Download | None = None
        """The base that is being fetched."""
        self.crash = ""
        """What to tell of a fault of the app itself; empty while there was none."""
        self._planned = draft or Draft()
        self._saver = DraftSaver(home)
        self._draft_id = ""
        self._step = screen
        self._first = (screen, run)
        self._look_again = threading.Event()
        self.ending = threading.Event()
        """Set when the app ends, for threads that rest."""
        self._disk_low = False
        self._grave_until = 0.0
        """Until when (monotonic, s) a notice of something that went wrong is shown."""
        self._sent = SentScreen()
        self.arrival = output_flow.Arrival()
        """Whether what was painted has come to the person's screen."""
        self.canvas: Canvas | None = None
        """What images are drawn on; not known before the app runs."""
        self.window_title = WindowTitle(self)
        self._keys = KeysInTurn(self, super().on_event)
        self._focus_kept = KeptFocus()
        self._sizes_told: deque[Size] = deque(maxlen=3)
        self.animation_level = "none"
        self.HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (60, "-narrow"), (100, "-wide"), (160, "-very-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-short"), (32, "-tall")]
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.full(self.settings.theme)

    def on_mount(self) -> None:
        """The first screen. Ends with the terminal, and gives it back on SIGTERM and SIGHUP."""
        self.canvas = Canvas.of(self)
        screen, run = self._first
        self.push_screen(self._make(screen, run))
        for problem in self._told_at_start:
            self.tell(problem, "warning")
        self._look_at_the_runs()
        self.app_resume_signal.subscribe(self, lambda _: self._sent.forget(), immediate=True)
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                    asyncio.get_running_loop().add_signal_handler(number, self.action_help_quit)
            hangup.watch(sys.__stdin__.fileno() if sys.__stdin__ else 0)

    def on_ready(self) -> None:
        """From here on only what is new is searched for garbage: a search through all that was loaded holds the screen up."""
        gc.freeze()

    def on_terminal_supports_synchronized_output(self) -> None:
        """The terminal's answer, which has passed everything that was painted before the question."""
        self.arrival.answered()

    def on_resize(self, event: events.Resize) -> None:
        """Terminals move and drop lines when their size changes, even if it is the old one again by the time we look."""
        self.canvas = Canvas.of(self)
        self._sent.forget()
        self.refresh()
        if is_too_small(event.size):
            self._focus_kept.take(self.screen_stack)
        else:
            self._focus_kept.give_back()

    async def on_event(self, event: events.Event) -> None:
        """Keys in their turn, everything else at once."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if isinstance(event, events.Key) and event.key == "ctrl+c" and isinstance(self.screen, ModalScreen):
                self.action_help_quit()  # Textual keeps it from the app while a question is open
            elif not self._too_small or (isinstance(event, events.Key) and event.key in _KEYS_WHERE_NOTHING_IS_SEEN):
                await self._keys.take(event)
        elif not (isinstance(event, events.Resize) and self._was_told_at_start(event)):
            await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        """Ours where Textual would take its own for Linux; tests and TEXTUAL_DRIVER bring others."""
        from textual.drivers.linux_driver import LinuxDriver

        from loratui.tui.terminal.driver import TerminalDriver

        chosen = super().get_driver_class()
        return TerminalDriver if chosen is LinuxDriver else chosen

    @property
    def _too_small(self) -> bool:
        """Whether nothing but a notice is shown: then no key may do what nobody sees."""
        return is_too_small(self.size)

    def _was_told_at_start(self, event: events.Resize) -> bool:
        """Whether it is the second word on the size with which the app begins: Textual says it itself, and then so does its
        driver. To lay out and paint the first screen once more would take a tenth of the time in which it appears."""
        self._sizes_told.append(event.size)
        return not self.is_headless and len(self._sizes_told) == 2 and self._sizes_told[0] == self._sizes_told[1]

    @property
    def draft(self) -> Draft:
        """The run that is being planned."""
        return self._planned

    @draft.setter
    def draft(self, draft: Draft) -> None:
        # Screens that only fill themselves in must not make a draft of what nobody has touched.
        if draft == self._planned:
            return
        self._planned = draft
        self._save_draft()

    def open(self, screen: str, run_name: str = "") -> None:
        """Shows a screen instead of the present one."""
        try:
            run = open_run(self.home, run_name, to_read=self.view_only) if run_name else None
        except LoratuiError as error:
            self.tell(str(error), "error")
            self.look_at_the_runs_again()
            return
        self._step = screen
        if screen in WIZARD and self._draft_id:
            self._save_draft()
        self.switch_screen(self._make(screen, run))

    def plan_new(self, draft: Draft | None = None, screen: str = "preset") -> None:
        """The wizard for another run. What is given is not kept as a draft before something is changed."""
        self._planned, self._draft_id = draft or Draft(), ""
        self.open(screen)

    def plan_demo(self) -> None:
        """The plan of the demo, with everything chosen."""
        from loratui.tui.commands.demo import demo_draft

        self.plan_new(demo_draft(), "plan")

    @work(thread=True, exclusive=True, group="draft", description="open a draft")
    def continue_draft(self, saved: SavedDraft) -> None:
        """Goes on with a draft where it was left; its folder is read first."""
        from loratui.engine.dataset.scan import scan
        from loratui.presets.schema import SchemaError

        try:
            draft = saved.open()
        except (SchemaError, TypeError) as error:
            self.post_message(DraftOpened(saved.id, None, "", f"The draft cannot be used by this version: {error}"))
            return
        step = saved.step if saved.step in WIZARD else "preset"
        try:
            draft = draft.with_scan(scan(Path(str(draft.value("dataset.path")))))
        except (LoratuiError, OSError):
            step = "dataset" if WIZARD.index(step) > WIZARD.index("dataset") else step
        self.post_message(DraftOpened(saved.id, draft, step))

    def on_draft_opened(self, message: DraftOpened) -> None:
        """To the step at which the draft was left."""
        if message.draft is None:
            self.tell(message.problem, "error")
            return
        self._planned, self._draft_id = message.draft, message.id
        self.open(message.step)

    def download(self, offer: DownloadPlan) -> None:
        """Fetches a base in the background; the person has said yes."""
        from loratui.tui.wizard.downloading import Download

        self.downloading = Download(self, offer)
        self.downloading.start()

    def on_download_went(self, message: DownloadWent) -> None:
        """The screen of the bases shows how far it is."""
        for screen in self.screen_stack:
            if isinstance(screen, LoratuiScreen):
                screen.download_went(message.repo, message.words)

    def on_download_ended(self, message: DownloadEnded) -> None:
        """Told wherever the person is by now."""
        self.downloading = None
        if message.problem:
            self.tell(f"{message.repo} was not fetched: {in_keys(message.problem)}", "error")
        elif message.cancelled:
            self.tell(f"The download of {message.repo} is cancelled; what has arrived is kept for the next time.")
        else:
            self.tell(f"✔ {message.repo} is here.")
        if not message.cancelled:
            self.ring()
        for screen in self.screen_stack:
            if isinstance(screen, LoratuiScreen):
                screen.download_went(message.repo, "")

    def on_few_colours_seen(self) -> None:
        """Tells once, for good, how images get all colours."""
        if not self.settings.told_of_colours:
            self.change_settings(replace(self.settings, told_of_colours=True))
            self.tell(f"Images are drawn in 256 colours. If your terminal has more: {TO_TRUE_COLOUR}", "warning")

    def forget_draft(self) -> None:
        """The planned run was started."""
        if self._draft_id:
            try:
                self._saver.forget(self._draft_id)
            except LoratuiError as error:
                self.tell(str(error), "warning")
        self._planned, self._draft_id = Draft(), ""

    def tell(self, words: str, severity: Severity = "information") -> None:
        """A notice that goes by itself; errors are kept for the debug screen."""
        if severity == "error":
            self.errors.append(clean(words, 500))
        now = time.monotonic()
        if severity == "information" and now > self._grave_until:
            # Answers come in quick succession; on 24 rows a pile of them would hide what they are about.
            self.clear_notifications()
        elif severity != "information":
            self._grave_until = now + _GRAVE_S
        self.notify(clean(words), severity=severity, markup=False, timeout=_TOLD_S if severity == "information" else _GRAVE_S)

    def ring(self) -> None:
        """The terminal's bell, unless the person has switched it off."""
        if self.settings.bell:
            self.bell()

    def copy(self, text: str, what: str) -> None:
        """Puts text into the clipboard of the person's own terminal (OSC 52), and shows it: not every terminal allows that."""
        self.copy_to_clipboard(clean(text, 100_000))
        self.tell(f"{what} sent to your clipboard: {clean(text, 400)}")

    def change_settings(self, changed: settings.AppSettings) -> None:
        """Takes other settings into use and keeps them."""
        self.settings = changed
        self.theme = themes.full(changed.theme)
        if not changed.title:
            self.window_title.say("")
        try:
            settings.save(changed)
        except LoratuiError as error:
            self.tell(f"Not kept for next time: {error}", "warning")

    def keys_now(self, context: str) -> tuple[Key, ...]:
        """The keys of a screen, with the person's own; where one only looks, those that change nothing."""
        return tuple(key for key in keys_of(context, self.key_table) if not (self.view_only and key.changes))

    def look_at_the_runs_again(self) -> None:
        """Has the runs looked at now rather than in a while."""
        self._look_again.set()

    @work(thread=True, exclusive=True, group="look", description="look at the runs")
    def _look_at_the_runs(self) -> None:
        from loratui.engine.runs.summary import summarise_all

        worker = get_current_worker()
        while not worker.is_cancelled:
            self._look_again.clear()
            try:
                listed = RunsListed(tuple(summarise_all(self.home)), free_bytes=_free_bytes(self.home))
            except OSError as error:
                listed = RunsListed((), str(error))
            self.post_message(listed)
            waited = 0.0
            while not (worker.is_cancelled or self._look_again.wait(_WAKE_S) or waited >= self._look_every_s()):
                waited += _WAKE_S

    def on_unmount(self) -> None:
        """Wakes the threads that rest, so that nobody waits for them."""
        self.ending.set()
        self._look_again.set()

    def _look_every_s(self) -> float:
        return _LOOK_EVERY_S if self._step == "home" else _LOOK_ELSEWHERE_EVERY_S

    def _news(self, runs: Sequence[RunSummary]) -> list[watch.Notice]:
        from loratui.engine.runs.summary import how_the_check_ended

        return watch.notices(
            {run.name: run for run in self.runs}, runs, lambda run: how_the_check_ended(RunDirectory(Path(run.path)))
        )

    def on_runs_listed(self, message: RunsListed) -> None:
        """Tells what is news, keeps the window's title right, and hands the list to whoever shows it."""
        found = [] if message.problem else self._news(message.runs)
        if not message.problem:
            self.runs = message.runs
        active = any(run.active for run in message.runs)
        low, self._disk_low = watch.disk_notice(message.free_bytes, self._disk_low, active)
        shown = self._shown_run()
        for notice in [*found, *([low] if low else [])]:
            # Whoever looks at a run is told by its own screen.
            if notice.run and notice.run == shown:
                continue
            self.tell(notice.words, notice.severity)
            self.ring()
        self.window_title.say(watch.window_title(message.runs, shown) if self.settings.title else "")
        for screen in self.screen_stack:
            if isinstance(screen, LoratuiScreen):
                screen.runs_listed(message)

    def action_help(self) -> None:
        """Help for the present screen and the widget that has the focus."""
        from loratui.tui.screens.help import HelpScreen

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(HelpScreen(self.screen.CONTEXT, self.screen.focused))

    def action_palette(self) -> None:
        """Every command of the screen, found by typing."""
        from textual.command import CommandPalette

        from loratui.tui.screens.palette import KeyCommands

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(CommandPalette(providers=[KeyCommands], placeholder="What do you want to do?"))

    def action_jump(self) -> None:
        """Letters on everything that can have the focus."""
        from loratui.tui.screens.jump import JumpScreen

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(JumpScreen(self.screen))

    def action_preferences(self) -> None:
        """Theme, bell, title, price."""
        from loratui.tui.screens.preferences import PreferencesScreen

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(PreferencesScreen())

    def action_repaint(self) -> None:
        """Everything again, and the terminal put back into the state that it is drawn in: others may have written to it."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(_AS_WE_DRAW)
        self._sent.forget()
        self.refresh()

    def action_suspend_process(self) -> None:
        """To the shell, where there is one to come back from; without one the app would stand still for ever."""
        if has_shell():
            super().action_suspend_process()
        else:
            self.tell("There is no shell here that could bring loratui back; q leaves, and runs go on.")

    def action_debug(self) -> None:
        """Versions, terminal and errors for a bug report."""
        from loratui.tui.screens.debug import DebugScreen

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(DebugScreen())

    def action_copy(self) -> None:
        """What the screen has to copy."""
        from loratui.tui.screens.copying import CopyScreen

        items = self.screen.copyable() if isinstance(self.screen, LoratuiScreen) else ()
        if items:
            self.push_screen(CopyScreen(items))
        elif isinstance(self.screen, LoratuiScreen):
            self.tell("There is nothing to copy here.")

    def action_leave(self) -> None:
        """Ends the app, unless a screen has to ask something first; runs go on."""
        screens = [screen for screen in self.screen_stack if isinstance(screen, LoratuiScreen)]
        if not any(screen.asks_before_leaving(self.action_help_quit) for screen in screens):
            self.action_help_quit()

    def action_help_quit(self) -> None:
        """Ctrl-C leaves at once: nothing can be lost by it, since what is not saved is kept with the draft."""
        self.exit(self._farewell())

    def close(self) -> None:
        """Has the last state of the draft on disk, and no download going on, before the process ends."""
        self._saver.flush()
        if self.downloading is not None:
            self.downloading.finish()

    def _save_draft(self) -> None:
        if self._planned.recipe is None:
            return
        self._draft_id = self._draft_id or new_id()
        step = self._step if self._step in WIZARD else WIZARD[0]
        self._saver.save(self._draft_id, self._planned, step)

    def _shown_run(self) -> str:
        runs = (getattr(screen, "run_directory", None) for screen in self.screen_stack)
        return next((run.name for run in runs if isinstance(run, RunDirectory)), "")

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, self._sent.only_new(renderable))
        if renderable is not None and self._driver is not None and self.arrival.painted():
            self._driver.write(output_flow.QUESTION)

    def _handle_exception(self, error: Exception) -> None:
        from loratui.tui.crash import crash_message, write_crash_report

        if not self.crash:
            self.crash = crash_message(error, write_crash_report(error, self.home, self.errors))
        super()._handle_exception(error)
        self._exit_renderables.clear()
        self._return_code = int(ExitCode.CRASHED)

    def failed_in_a_thread(self, error: BaseException) -> None:
        """A fault of a thread that is no worker of Textual's ends the app like any other. To be called in that thread."""
        if self._loop is not None and not self._loop.is_closed():
            # Not by a message: the app does not look at those before it has a screen.
            fault = error if isinstance(error, Exception) else RuntimeError(f"a thread ended with {error!r}")
            self._loop.call_soon_threadsafe(self._handle_exception, fault)

    def panic(self, *renderables: RenderableType) -> None:
        """What Textual would print in place of the app, and end with 0, is a fault like any other."""
        if self.crash:
            self._close_messages_no_wait()
        else:
            self._handle_exception(RuntimeError("Textual gave up: " + " ".join(str(part) for part in renderables)))

    def _fatal_error(self) -> None:
        # A traceback with the values of all variables is for the report's reader, not for the person's terminal.
        self._close_messages_no_wait()

    def _make(self, screen: str, run: RunDirectory | None) -> Screen[None]:
        # Each screen is imported when it is first shown, so that the first one is there at once.
        if screen in _OF_A_RUN and run is None:
            screen = "home"
        module, name = _SCREENS.get(screen, _SCREENS["home"])
        cls = getattr(importlib.import_module(f"loratui.tui.{module}"), name)
        made: Screen[None] = cls(run) if screen in _OF_A_RUN else cls()
        return made

    def _farewell(self) -> Farewell:
        from loratui.tui.runs.run_screen import RunScreen

        below = next((screen for screen in self.screen_stack if isinstance(screen, RunScreen)), None)
        if below is not None:
            return Farewell(tuple(below.farewell()))
        lines: list[str] = []
        if self._draft_id and self._step in WIZARD:
            self._saver.flush()
            problem = self._saver.problem
            kept = "Your draft is kept; loratui offers it again."
            lines.append(f"Your draft could not be kept: {clean(problem, 300)}" if problem else kept)
        active = [run.name for run in self.runs if run.active]
        if active:
            more = f" ({len(active) - 1} more at work)" if len(active) > 1 else ""
            lines.append(f"Training goes on; come back with: loratui attach {clean(active[0])}{more}")
        return Farewell(tuple(lines))


def _free_bytes(home: Path) -> int | None:
    from loratui.engine.machine.hardware import GIB, disk_free_gib

    free = disk_free_gib(home)
    return None if free is None else int(free * GIB)
