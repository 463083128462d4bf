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
    """A history that also tells each event, where it has a line."""

    def __init__(self) -> None:
        super().__init__()
        self.log: deque[LogLine] = deque(maxlen=500)
        self.log_count = 0
        """Lines that were ever logged, so that a view knows which of `log` are new."""
        self._skipped_told = 0

    def apply_batch(self, batch: EventBatch, keep_every: int = 1) -> None:
        """Takes in what one read of the log found, and tells of lines that could not be used."""
        super().apply_batch(batch, keep_every)
        # Said again only when there are twice as many: a log that is all damage would else fill every line.
        skipped = self.state.skipped
        if skipped >= max(1, 2 * self._skipped_told):
            self._skipped_told = skipped
            self._say(LogLine(self.state.last_ts, damage(skipped), "warning"))

    def apply(self, event: Event, longest_silence_s: float = LONGEST_SILENCE_S) -> bool:
        """Takes in one event and says whether it was new."""
        said = line(event, self.state)
        new = super().apply(event, longest_silence_s)
        # The last word is often what the trainer said already.
        again = said is not None and event.type == "run_finished" and bool(self.log) and self.log[-1].text == said.text
        if new and said and not again:
            self._say(said)
        return new

    def _say(self, said: LogLine) -> None:
        self.log.append(said)
        self.log_count += 1
