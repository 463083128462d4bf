"""The runs that wait for the GPU: their order, and what the queue has done lately."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.logs import log_tail
from loratui.engine.runs.queue import adding, entries
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.queue.start import ensure_watched
from loratui.tui import text
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.tui.messages import RunsListed

_LOOK_EVERY_S = 1.0
_LATELY = 6


@dataclass(frozen=True)
class _Seen:
    queue: Queue
    lately: tuple[str, ...]


class QueueScreen(LoratuiScreen[None]):
    """A list, in order; its process works without it."""

    CONTEXT = "queue"
    PURPOSE = "queue"

    def __init__(self) -> None:
        super().__init__()
        self._seen = _Seen(Queue(), ())
        self._statuses: dict[str, str] = {}
        self._shown = False
        self._moved: tuple[str, str] | None = None
        """The entry that was moved, and is chosen when the list is shown again."""

    def body(self) -> ComposeResult:
        yield Line("Reading the queue …", id="queue-says")
        yield OptionList(id="queue-runs", markup=False)
        yield Line(id="queue-lately")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).focus()
        self._statuses = {run.name: run.status for run in self.loratui.runs}
        self._look()

    @work(thread=True, exclusive=True, group="queue", description="look at the queue")
    def _look(self) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            try:
                queue, trouble = entries.read(self.loratui.home), ""
            except LoratuiError as error:
                queue, trouble = Queue(), str(error)
            lately = (trouble,) if trouble else tuple(log_tail(self.loratui.home / entries.LOG)[-_LATELY:])
            seen = _Seen(queue, lately)
            if seen != self._seen or not self._shown:
                self.app.call_from_thread(self._show, seen)
            self.rest(worker, _LOOK_EVERY_S)

    def runs_listed(self, message: RunsListed) -> None:
        statuses: dict[str, str] = {run.name: run.status for run in message.runs}
        if statuses != self._statuses and self.stands:
            self._statuses = statuses
            self._show(self._seen)

    def _show(self, seen: _Seen) -> None:
        if not self.stands:
            return
        options = self.query_one(OptionList)
        chosen = self._moved or (None if self.entry is None else (self.entry.run, self.entry.job))
        self._shown, self._seen, self._moved = True, seen, None
        rows = [(str(at), clean(one.run), one.job, self._status(one)) for at, one in enumerate(seen.queue.entries, 1)]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        options.clear_options()
        options.add_options([Option(plain(text.columns(row, widths))) for row in rows])
        if rows:
            keys = [(one.run, one.job) for one in seen.queue.entries]
            options.highlighted = keys.index(chosen) if chosen in keys else 0
        self.line("queue-says").say(self._says(seen.queue))
        self.line("queue-lately").say(Content("\n").join([plain(clean(line), "$muted") for line in seen.lately]))
        self.refresh_bindings()

    def _says(self, queue: Queue) -> Content:
        if queue.on_hold:
            return plain(f"On hold: {queue.on_hold} g lets it go on.", "$warning")
        if not queue.entries:
            return plain("No run waits. In the preflight, w puts a run here while another trains.", "$muted")
        return plain("One run after another starts, also without this window.")

    def _status(self, entry: Entry) -> str:
        status = self._statuses.get(entry.run, "queued")
        return status if entry.job == "train" or status in ("running", "starting") else "queued"

    @property
    def entry(self) -> Entry | None:
        """The highlighted run."""
        at = self.query_one(OptionList).highlighted
        rows = self._seen.queue.entries
        return rows[at] if at is not None and at < len(rows) else None

    @property
    def entry_here(self) -> bool:
        return self.entry is not None

    @property
    def on_hold(self) -> bool:
        return bool(self._seen.queue.on_hold)

    @property
    def goes_on(self) -> bool:
        return not self.on_hold

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The list as text."""
        rows = "; ".join(f"{one.run} {one.job}" for one in self._seen.queue.entries)
        return [("the queue, as one line", rows)] if rows else ()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        if self.entry is not None:
            self.loratui.open("validation" if self.entry.job == "validate" else "training", self.entry.run)

    def action_move(self, places: int) -> None:
        """Moves the chosen run up or down, its validation with it."""
        entry = self.entry
        if entry is None:
            return
        order = list(dict.fromkeys(one.run for one in self._seen.queue.entries))
        self._moved = (entry.run, entry.job)
        self._change(lambda queue: entries.moved(queue, entry.run, max(1, order.index(entry.run) + 1 + places)))

    def action_remove(self) -> None:
        entry = self.entry
        if entry is not None:
            self._change(lambda queue: adding.removed(queue, entry.run))

    def action_hold(self) -> None:
        self._change(lambda queue: replace(queue, on_hold=adding.HELD))

    def action_go_on(self) -> None:
        self._change(lambda queue: replace(queue, on_hold=""))

    def action_back(self) -> None:
        self.loratui.open("home")

    @work(exclusive=True, group="change", description="change the queue")
    async def _change(self, do: Callable[[Queue], Queue]) -> None:
        home = self.loratui.home
        try:
            queue = await self.in_thread(entries.change, home, do)
            await self.in_thread(ensure_watched, home)
        except (LoratuiError, OSError) as error:
            self.loratui.tell(str(error), "error")
        else:
            self._show(replace(self._seen, queue=queue))
            self.loratui.look_at_the_runs_again()
