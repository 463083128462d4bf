"""A download in the background of the app: one at a time, cancelled by key or with the app."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loratui.engine.errors import LoratuiError
from loratui.tui.app_words import in_keys
from loratui.tui.messages import DownloadEnded, DownloadWent

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

    from loratui.engine.machine.hub import DownloadPlan, Progress
    from loratui.tui.terminal.terminal_app import Severity


class Download:
    """Carries out one plan in a thread and posts `DownloadWent` and `DownloadEnded` to `owner`."""

    def __init__(self, owner: MessagePump, plan: DownloadPlan) -> None:
        self.plan = plan
        self.words = "starting"
        self._owner = owner
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._work, name="download", daemon=True)

    @property
    def repo(self) -> str:
        return self.plan.repo

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Ends it soon; the next download continues from the data kept."""
        self._cancel.set()

    def finish(self, timeout_s: float = 6.0) -> None:
        """Ends it and waits, so none of its processes outlives the app."""
        self._cancel.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        from loratui.engine.machine import hub

        try:
            hub.check_space(self.plan)
            folder = hub.download(self.plan, progress=self._went, cancelled=self._cancel.is_set)
        except (LoratuiError, OSError) as error:
            self._owner.post_message(DownloadEnded(self.repo, str(error)))
        else:
            self._owner.post_message(DownloadEnded(self.repo, cancelled=folder is None))

    def _went(self, progress: Progress) -> None:
        from loratui.tui.commands.download import progress_text

        words = progress_text(progress)
        if words != self.words:
            self.words = words
            self._owner.post_message(DownloadWent(self.repo, words))


def outcome(ended: DownloadEnded) -> tuple[str, Severity]:
    """The notice at the end of a download."""
    if ended.problem:
        return f"{ended.repo} was not downloaded: {in_keys(ended.problem)}", "error"
    if ended.cancelled:
        return f"The download of {ended.repo} is cancelled; the next one continues from here.", "information"
    return f"✔ {ended.repo} is here.", "information"
