"""What a view of a run holds: the history of its log, and the last lines of that log in words."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from loratui.engine.runs.eta import LONGEST_SILENCE_S
from loratui.engine.runs.history import RunHistory
from loratui.tui.runs.log_lines import LogLine, damage, line

if TYPE_CHECKING:
    from loratui.engine.runs.events import Event, EventBatch


class RunStore(RunHistory):
    """A history that also keeps the log lines of its events."""

    def __init__(self) -> None:
        super().__init__()
        self.log: deque[LogLine] = deque(maxlen=500)
        self.log_count = 0
        """Lines ever logged, so a view knows which of `log` are new."""
        self._skipped_told = 0

    def apply_batch(self, batch: EventBatch, keep_every: int = 1) -> None:
        """Takes in one read of the log, and logs a line about damaged ones."""
        super().apply_batch(batch, keep_every)
        # Again only when there are twice as many: else a damaged log would fill every line.
        skipped = self.state.skipped
        if skipped >= max(1, 2 * self._skipped_told):
            self._skipped_told = skipped
            self._say(LogLine(self.state.last_ts, damage(skipped), "warning"))

    def apply(self, event: Event, longest_silence_s: float = LONGEST_SILENCE_S) -> bool:
        """Takes in one event; True if it was new."""
        said = line(event, self.state)
        new = super().apply(event, longest_silence_s)
        # The supervisor's last words often repeat the trainer's.
        again = said is not None and event.type == "run_finished" and bool(self.log) and self.log[-1].text == said.text
        if new and said and not again:
            self._say(said)
        return new

    def _say(self, said: LogLine) -> None:
        self.log.append(said)
        self.log_count += 1
