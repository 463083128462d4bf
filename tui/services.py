"""What screens may ask of the app that shows them. They know this, not the app: it knows the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import threading
    from collections import deque
    from pathlib import Path

    from textual.dom import DOMNode

    from loratui.engine.machine.hub import DownloadPlan
    from loratui.engine.runs.summary import RunSummary
    from loratui.tui.bindings import Key
    from loratui.tui.settings import AppSettings
    from loratui.tui.terminal.output_flow import OutputFlow
    from loratui.tui.terminal.terminal_app import Severity
    from loratui.tui.wizard.downloading import Download
    from loratui.tui.wizard.draft import Draft
    from loratui.tui.wizard.drafts import SavedDraft


class Services(Protocol):
    """The app, as far as screens need it."""

    home: Path
    view_only: bool
    """Whether nothing may be started, commanded or deleted from here."""
    settings: AppSettings
    key_table: tuple[Key, ...]
    """All keys, with the person's own."""
    draft: Draft
    """The run that is being planned; a change is kept on disk."""
    downloading: Download | None
    """The base that is being fetched."""
    errors: deque[str]
    """What went wrong in this app, for bug reports."""
    output_flow: OutputFlow
    """Whether what was painted has come to the person's screen."""
    ending: threading.Event
    """Set when the app ends, for threads that rest."""

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """All runs as they were last looked at."""

    def tell(self, words: str, severity: Severity = "information") -> None:
        """A notice that goes by itself."""

    def copy(self, text: str, what: str) -> None:
        """Puts text into the person's clipboard, and shows it."""

    def open(self, screen: str, run_name: str = "") -> None:
        """Shows a screen instead of the present one."""

    def plan_new(self, draft: Draft | None = None, screen: str = "preset") -> None:
        """The wizard for another run."""

    def continue_draft(self, saved: SavedDraft) -> object:
        """Goes on with a draft where it was left."""

    def forget_draft(self) -> None:
        """The planned run was started."""

    def download(self, plan: DownloadPlan) -> None:
        """Fetches a base in the background."""

    def look_at_the_runs_again(self) -> None:
        """Has the runs looked at now rather than in a while."""

    def change_settings(self, changed: AppSettings) -> None:
        """Takes other settings into use and keeps them."""


def services_of(node: DOMNode) -> Services:
    """The app of a screen or widget."""
    return cast("Services", node.app)
