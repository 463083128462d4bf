"""Opens the app in this terminal, and says what there is to say once it has given the terminal back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.runs.directory import RunDirectory, loratui_home, open_run
from loratui.tui.app import LoratuiApp
from loratui.tui.terminal import crash_marker, use_utf8
from loratui.tui.wizard.draft import Draft

if TYPE_CHECKING:
    from loratui.engine.planning.recipe import Recipe
    from loratui.tui.screens.base import LoratuiScreen


def run_app(
    *,
    screen: str = "home",
    run: RunDirectory | str | None = None,
    recipe: Recipe | None = None,
    first: Callable[[], LoratuiScreen[Any]] | None = None,
    view_only: bool = False,
) -> int:
    """Runs the app in this terminal until the person leaves, and returns the exit code.

    `run` is for the screens `training` and `validation`; `recipe` opens the wizard at its plan, or at the folder if it
    names none that can be read; `first` makes a first screen that has no name; `view_only` shows everything and starts, commands or deletes nothing.
    Raises `UsageError` for an unknown run.
    """
    home = loratui_home()
    chosen = open_run(home, run, to_read=view_only) if isinstance(run, str) else run
    draft = None
    if recipe is not None:
        draft, screen = _draft_of(recipe)
    use_utf8()
    app = LoratuiApp(home, screen, chosen, draft, first=first, view_only=view_only)
    with crash_marker.watched(home) as was_killed, _threads_tell(app):
        farewell = app.run()
        app.close()
    if sys.__stderr__ is not None:
        sys.__stderr__.write(app.window_title.farewell)
        sys.__stderr__.flush()
    if app.crash:
        from loratui.tui.crash import start_again_if_wanted

        sys.stderr.write(f"{app.crash}\n")
        start_again_if_wanted()
        return int(ExitCode.CRASHED)
    from loratui.tui.plain import say

    for line in (*(farewell or ()), *([crash_marker.HINT] if was_killed else [])):
        say(line)
    return app.return_code or 0


@contextmanager
def _threads_tell(app: LoratuiApp) -> Iterator[None]:
    """Meanwhile a fault in any thread ends the app with a report, instead of a traceback across the screen."""
    before = threading.excepthook

    def tell(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            app.fail_from_thread(args.exc_value)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _draft_of(recipe: Recipe) -> tuple[Draft, str]:
    from loratui.engine.dataset.scan import scan

    draft = Draft(recipe)
    try:
        return draft.with_scan(scan(Path(recipe.settings.dataset.path))), "plan"
    except LoratuiError:
        return draft, "dataset"
