"""The app: themes, the way from screen to screen, and what is said on leaving. Everything else is in the screens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from loratui.engine.runs.directory import RunDirectory, loratui_home, open_run
from loratui.tui import hangup, themes
from loratui.tui.draft import Draft
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.planning.recipe import Recipe

ScreenName = Literal["home", "preset", "dataset", "plan", "preflight", "training", "validation"]
Severity = Literal["information", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Farewell:
    """What is printed after the app has given the terminal back."""

    lines: tuple[str, ...] = ()


class LoratuiApp(App[Farewell]):
    """The full-screen app. Nothing that matters lives here: runs are processes of their own."""

    TITLE = "loratui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, home: Path, screen: str = "home", run: RunDirectory | None = None, draft: Draft | None = None) -> None:
        # Without colours the terminal's own ones are kept, rather than shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.home = home
        self.draft = draft or Draft()
        """The run that is being planned."""
        self._first = (screen, run)
        self.animation_level = "none"
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]
        for theme in themes.THEMES:
            self.register_theme(theme)
        self.theme = themes.DEFAULT

    def on_mount(self) -> None:
        """The first screen. Ends with the terminal, and cleanly on SIGTERM."""
        screen, run = self._first
        self.push_screen(self._make(screen, run))
        if not self.is_headless:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
            hangup.watch(sys.__stdin__.fileno() if sys.__stdin__ else 0)

    def open(self, screen: str, run_name: str = "") -> None:
        """Shows a screen instead of the present one."""
        run = open_run(self.home, run_name) if run_name else None
        self.switch_screen(self._make(screen, run))

    def plan_demo(self) -> None:
        """The plan of the demo, with everything chosen."""
        from loratui.tui.commands.demo import demo_draft

        self.draft = demo_draft()
        self.open("plan")

    def forget_draft(self) -> None:
        """The planned run was started."""
        self.draft = Draft()

    def tell(self, words: str, severity: Severity = "information") -> None:
        """A notice that goes by itself."""
        self.notify(clean(words), severity=severity, markup=False, timeout=6.0 if severity == "information" else 12.0)

    def action_help(self) -> None:
        """Help for the present screen."""
        from loratui.tui.screens.help import HelpScreen

        if isinstance(self.screen, LoratuiScreen):
            self.push_screen(HelpScreen(self.screen.CONTEXT))

    def action_next_theme(self) -> None:
        """The next theme."""
        self.theme = themes.after(self.theme)
        self.tell(f"Theme: {self.theme.removeprefix('loratui-')}")

    def action_leave(self) -> None:
        """Ends the app; runs go on."""
        self.exit(self._farewell())

    def action_help_quit(self) -> None:
        """Ctrl-C leaves too: nothing can be lost by it."""
        self.action_leave()

    def _make(self, screen: str, run: RunDirectory | None) -> Screen[None]:
        # Each screen is imported when it is first shown, so that the first one is there at once.
        match screen:
            case "preset":
                from loratui.tui.screens.preset import PresetScreen

                return PresetScreen()
            case "dataset":
                from loratui.tui.screens.dataset import DatasetScreen

                return DatasetScreen()
            case "plan":
                from loratui.tui.screens.plan import PlanScreen

                return PlanScreen()
            case "preflight":
                from loratui.tui.screens.preflight import PreflightScreen

                return PreflightScreen()
            case "training" if run is not None:
                from loratui.tui.screens.training import TrainingScreen

                return TrainingScreen(run)
            case "validation" if run is not None:
                from loratui.tui.screens.validation import ValidationScreen

                return ValidationScreen(run)
            case _:
                from loratui.tui.screens.home import HomeScreen

                return HomeScreen()

    def _farewell(self) -> Farewell:
        from loratui.tui.screens.run_screen import RunScreen

        if isinstance(self.screen, RunScreen):
            return Farewell(tuple(self.screen.farewell()))
        from loratui.tui.screens.home import HomeScreen

        if isinstance(self.screen, HomeScreen):
            return Farewell(tuple(self.screen.farewell()))
        return Farewell()


def run_app(*, screen: str = "home", run: RunDirectory | str | None = None, recipe: Recipe | None = None) -> int:
    """Runs the app in this terminal until the person leaves, and returns the exit code.

    `run` is for the screens `training` and `validation`; `recipe` opens the wizard at its plan, or at the folder if it
    names none that can be read. Raises `UsageError` for an unknown run.
    """
    home = loratui_home()
    chosen = open_run(home, run) if isinstance(run, str) else run
    draft = None
    if recipe is not None:
        draft, screen = _draft_of(recipe)
    app = LoratuiApp(home, screen, chosen, draft)
    farewell = app.run()
    for line in farewell.lines if farewell else ():
        sys.stdout.write(f"{line}\n")
    return app.return_code or 0


def _draft_of(recipe: Recipe) -> tuple[Draft, str]:
    from loratui.engine.dataset.scan import scan
    from loratui.engine.errors import LoratuiError

    draft = Draft(recipe)
    try:
        return draft.with_scan(scan(Path(recipe.settings.dataset.path))), "plan"
    except LoratuiError:
        return draft, "dataset"
