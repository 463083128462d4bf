"""The app: which screen has which name, what concerns all of them, and the keys that work everywhere. The rest is in its rooms."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import BindingType
from textual.worker import get_current_worker

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory, open_run
from loratui.engine.runs.queue.entries import FILE as QUEUE
from loratui.tui import settings, themes
from loratui.tui.bindings import WIZARD, Key
from loratui.tui.keymap import bindings_anywhere
from loratui.tui.messages import DownloadEnded, DownloadWent, DraftOpened, RunsListed
from loratui.tui.runs import watch
from loratui.tui.runs.run_watch import RunWatch
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.screens.by_name import make_screen
from loratui.tui.terminal.canvas import TO_TRUE_COLOUR
from loratui.tui.terminal.terminal_app import TerminalApp
from loratui.tui.wizard.current_draft import CurrentDraft, read_saved
from loratui.tui.wizard.draft import Draft

if TYPE_CHECKING:
    from loratui.engine.machine.hub import DownloadPlan
    from loratui.engine.runs.summary import RunSummary
    from loratui.tui.services import Services
    from loratui.tui.wizard.downloading import Download
    from loratui.tui.wizard.drafts import SavedDraft


class LoratuiApp(TerminalApp[tuple[str, ...]]):
    """The full-screen app. Nothing that matters lives here: runs are processes of their own. Gives what to say at the end."""

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
        first: Callable[[], LoratuiScreen[Any]] | None = None,
        view_only: bool = False,
    ) -> None:
        """`first` makes the first screen, where that has no name."""
        super().__init__(home)
        self.view_only = view_only
        loaded = settings.load()
        self.settings = loaded.settings
        self.key_table: tuple[Key, ...] = loaded.keys
        self.set_keymap(dict(loaded.keymap))
        self._told_at_start = loaded.problems
        self.downloading: Download | None = None
        self.ending = threading.Event()
        self._first_screen = first or partial(make_screen, screen, run)
        self._run_watch = RunWatch(home)
        self._planned = CurrentDraft(home, draft)
        self._go_to(screen)
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.full(self.settings.theme)

    def on_mount(self) -> None:
        """The first screen."""
        self.push_screen(self._first_screen())
        for problem in self._told_at_start:
            self.tell(problem, "warning")
        self._look_at_the_runs()
        if not self.view_only and (self.home / QUEUE).is_file():
            self._go_on_with_the_queue()

    @work(thread=True, group="queue", description="start the queue")
    def _go_on_with_the_queue(self) -> None:
        """Its process may be gone, as after a reboot."""
        from loratui.engine.runs.queue.start import ensure_watched

        try:
            ensure_watched(self.home)
        except (LoratuiError, OSError) as error:
            self.call_from_thread(self.tell, f"The queue does not go on: {error}", "warning")

    def on_unmount(self) -> None:
        """Wakes the threads that rest, so that nobody waits for them."""
        self.ending.set()
        self._run_watch.look_again()

    # From screen to screen

    def open(self, screen: str, run_name: str = "") -> None:
        """Shows a screen instead of the present one."""
        try:
            run = open_run(self.home, run_name, to_read=self.view_only) if run_name else None
        except LoratuiError as error:
            self.tell(str(error), "error")
            self.look_at_the_runs_again()
            return
        self._go_to(screen)
        self.switch_screen(make_screen(screen, run))

    def _go_to(self, screen: str) -> None:
        self._screen_name = screen
        self._run_watch.list_is_shown = screen == "home"
        if screen in WIZARD:
            self._planned.at(screen)

    @property
    def _screens(self) -> list[LoratuiScreen[Any]]:
        return [screen for screen in self.screen_stack if isinstance(screen, LoratuiScreen)]

    # The draft

    @property
    def draft(self) -> Draft:
        """The run that is being planned."""
        return self._planned.draft

    @draft.setter
    def draft(self, draft: Draft) -> None:
        self._planned.change(draft)

    def plan_new(self, draft: Draft | None = None, screen: str = "preset") -> None:
        """The wizard for another run. What is given is not kept as a draft before something is changed."""
        self._planned.begin(draft)
        self.open(screen)

    @work(thread=True, exclusive=True, group="draft", description="open a draft")
    def continue_draft(self, saved: SavedDraft) -> None:
        """Goes on with a draft where it was left; its folder is read first."""
        self.post_message(read_saved(saved))

    def on_draft_opened(self, message: DraftOpened) -> None:
        """To the step at which the draft was left."""
        if message.draft is None:
            self.tell(message.problem, "error")
            return
        self._planned.begin(message.draft, message.id)
        self.open(message.step)

    def forget_draft(self) -> None:
        """The planned run was started."""
        try:
            self._planned.forget()
        except LoratuiError as error:
            self.tell(str(error), "warning")

    # Downloads

    def download(self, plan: DownloadPlan) -> None:
        """Fetches a base in the background; the person has said yes."""
        from loratui.tui.wizard.downloading import Download

        self.downloading = Download(self, plan)
        self.downloading.start()

    def on_download_went(self, message: DownloadWent) -> None:
        """The screen of the bases shows how far it is."""
        for screen in self._screens:
            screen.download_went(message.repo, message.words)

    def on_download_ended(self, message: DownloadEnded) -> None:
        """Told wherever the person is by now."""
        from loratui.tui.wizard.downloading import outcome

        self.downloading = None
        self.tell(*outcome(message))
        if not message.cancelled:
            self.ring()
        for screen in self._screens:
            screen.download_went(message.repo, "")

    # The runs

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """All runs as they were last looked at."""
        return self._run_watch.runs

    def look_at_the_runs_again(self) -> None:
        """Has the runs looked at now rather than in a while."""
        self._run_watch.look_again()

    @work(thread=True, exclusive=True, group="look", description="look at the runs")
    def _look_at_the_runs(self) -> None:
        self._run_watch.follow(get_current_worker(), self.post_message)

    def on_runs_listed(self, message: RunsListed) -> None:
        """Tells what is news, keeps the window's title right, and hands the list to whoever shows it."""
        shown = next((screen.run_name for screen in self._screens if screen.run_name), "")
        for notice in self._run_watch.take(message):
            # Whoever looks at a run is told by its own screen.
            if not notice.run or notice.run != shown:
                self.tell(notice.words, notice.severity)
                self.ring()
        self.window_title.say(watch.window_title(message.runs, shown) if self.settings.title else "")
        for screen in self._screens:
            screen.runs_listed(message)

    # Settings

    def ring(self) -> None:
        """The terminal's bell, unless the person has switched it off."""
        if self.settings.bell:
            self.bell()

    def on_few_colours_seen(self) -> None:
        """Tells once, for good, how images get all colours."""
        if not self.settings.told_of_colours:
            self.change_settings(replace(self.settings, told_of_colours=True))
            self.tell(f"Images are drawn in 256 colours. If your terminal has more: {TO_TRUE_COLOUR}", "warning")

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

    # The end

    def action_leave(self) -> None:
        """Ends the app, unless a screen has to ask something first; runs go on."""
        if not any(screen.asks_before_leaving(self.action_help_quit) for screen in self._screens):
            self.action_help_quit()

    def action_help_quit(self) -> None:
        """Ctrl-C leaves at once: nothing can be lost by it, since what is not saved is kept with the draft."""
        self.exit(tuple(self._farewell()))

    def close(self) -> None:
        """Has the last state of the draft on disk, and no download going on, before the process ends."""
        self._planned.flush()
        if self.downloading is not None:
            self.downloading.finish()

    def _farewell(self) -> Iterator[str]:
        of_a_run = next((screen for screen in self._screens if screen.run_name), None)
        if of_a_run is not None:
            yield from of_a_run.farewell()
            return
        if self._screen_name in WIZARD and (words := self._planned.farewell()):
            yield words
        yield from self._run_watch.farewell()


if TYPE_CHECKING:
    _: type[Services] = LoratuiApp  # as which the screens know it
