"""Has the samples measured while the training goes on, and says once which of them are likely the best."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine import jobs
from loratui.engine.disk_errors import at_once
from loratui.engine.errors import LoratuiError
from loratui.engine.proof.live import Made
from loratui.engine.proof.turning import is_news, likely_best
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event
from loratui.engine.runs.fence import LostError
from loratui.engine.runs.measured import LikelyBest, Measured, taken
from loratui.engine.runs.state import MOST_MEASURED, RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.reporting import Reporter, first_line

_MOST_WAITING = 4
"""Where measuring is slower than training, older samples are passed over."""
_LOOK_S = 0.1
LAST_S = 30.0
"""So long the end of a run waits for the measures of its last samples."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of one step."""

    step: int
    epoch: int
    images: Sequence[Made]
    base: Sequence[Made]
    """Those of the base alone, at the same prompts and seeds, as far as there are some."""
    shape: float
    """Width over height."""


class SampleWatch:
    """A thread that asks the job `samples`, one step's samples after the other. It never ends a run: what fails is a warning."""

    def __init__(self, run: RunDirectory, report: Reporter, before: RunState, *, stops: bool) -> None:
        """`before`: what earlier trainers of this run have measured. `stops`: whether the run is to end once it is known."""
        self._run, self._report, self._stops = run, report, stops
        self._points, self._said = before.measured, before.likely_best
        self.found: LikelyBest | None = None
        """What this trainer has said."""
        self._asked: queue.SimpleQueue[Samples | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="samples", daemon=True)
        self._thread.start()

    def is_measured(self, step: int) -> bool:
        """Whether the samples of a step are."""
        return any(point.step == step for point in self._points)

    def take(self, samples: Samples) -> None:
        """Has samples measured, after those before them."""
        self._asked.put(samples)

    def finish(self, may_wait: Callable[[], bool]) -> None:
        """Waits a while for what is still to be measured, as long as `may_wait`, and ends."""
        self._asked.put(None)
        end = time.monotonic() + LAST_S
        while self._thread.is_alive() and may_wait() and time.monotonic() < end:
            self._thread.join(_LOOK_S)
        self.end()

    def end(self) -> None:
        """Ends at once."""
        self._cancelled.set()
        self._asked.put(None)
        self._thread.join()

    def _serve(self) -> None:
        process = jobs.Process("samples", {"run": str(self._run.path)}, cancelled=self._cancelled.is_set)
        try:
            while (samples := self._next()) is not None:
                if not process.runs:
                    process.begin()
                began = time.monotonic()
                process.ask({"images": _rows(samples.images), "base": _rows(samples.base), "shape": samples.shape})
                self._tell(samples, process.answer().value, time.monotonic() - began)
        except jobs.Cancelled:
            pass  # the training has ended
        except Exception as error:
            traceback.print_exc()
            reason = error.message if isinstance(error, LoratuiError) else first_line(error)
            with contextlib.suppress(LostError), at_once():
                self._report.warn("samples_not_measured", reason=reason)
        finally:
            process.end()

    def _next(self) -> Samples | None:
        samples = self._asked.get()
        while samples is not None and self._asked.qsize() >= _MOST_WAITING:
            samples = self._asked.get()
        return None if self._cancelled.is_set() else samples

    def _tell(self, samples: Samples, rows: list[dict[str, Any]], seconds: float) -> None:
        fields: dict[str, Any] = {"step": samples.step, "epoch": samples.epoch, "images": len(samples.images), "measures": rows}
        self._points = taken(self._points, Measured.of(Event("", 0, 0.0, fields)), MOST_MEASURED)
        state = read_state(self._run)
        best = likely_best(self._points, state.held_out, state.held_out_best)
        # What the training is told of at its next event, this thread leaves to it; nor does it wait for a disk.
        with contextlib.suppress(LostError), at_once():
            self._report.event("samples_measured", **fields, seconds=round(seconds, 3))
            if best is not None and is_news(best, self._said, self._points):
                best = dataclasses.replace(best, stops=self._stops)
                self._report.event("likely_best", **dataclasses.asdict(best))
                self._said = self.found = best


def _rows(made: Sequence[Made]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(one) for one in made]
