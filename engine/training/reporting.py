"""What the trainer reports: events, and a heartbeat while it is busy."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratui.engine.disk_errors import at_once
from loratui.engine.findings import Finding
from loratui.engine.limits import disk_is_low
from loratui.engine.machine.telemetry import MachineMonitor, TelemetrySample, worth_telling
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import finite_fields
from loratui.engine.runs.fence import LostError
from loratui.engine.words import GIB, size

HEARTBEAT_AFTER_S = 5.0
STEPS_A_SECOND = 10.0
PROGRESS_A_SECOND = 4.0
MEASURE_EVERY_S = 5.0


class Told:
    """In place of an event log: sends the events of a job to the process that started it."""

    def __init__(self, path: Path, tell: Callable[[Any], None]) -> None:
        """`path` is that of the log, which is not written."""
        self.path = path
        self.last: dict[str, Any] = {}
        """The fields of the last event of each type."""
        self._tell = tell
        self._last = time.monotonic()

    def append(self, type: str, *, durable: bool = False, **fields: Any) -> int:
        """Sends one event, its fields beside its `type`."""
        del durable
        self.last[type] = finite_fields(fields)
        self._tell({"type": type, **self.last[type]})
        self._last = time.monotonic()
        return 0

    @property
    def quiet_s(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self._last


class Reporter:
    """The only writer of the event log in the trainer."""

    def __init__(self, log: EventLog | Told) -> None:
        self.log = log
        self.next_bytes = 0
        """What the next checkpoint, LoRA file and samples take; 0 while that is unknown."""
        self._phase = self._text = ""
        self._last_step = self._last_progress = float("-inf")
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        # Never joined: a broken driver may block it for minutes, and nothing is lost with it.
        self._sampler = MachineMonitor(log.path.parent)
        threading.Thread(target=self._measure, name="telemetry", daemon=True).start()

    def close(self) -> None:
        """Ends the heartbeat."""
        self._ended.set()
        self._heart.join()

    def event(self, type: str, *, durable: bool = False, **fields: Any) -> None:
        self.log.append(type, durable=durable, **fields)

    def phase(self, phase: str, text: str) -> None:
        """A new phase begins."""
        self._phase, self._text = phase, text
        self._last_progress = float("-inf")
        self.event("phase_changed", phase=phase, text=text)

    @contextlib.contextmanager
    def meanwhile(self, phase: str, text: str) -> Iterator[None]:
        """Something that takes long within another phase, which goes on after the block: a trainer that says so has not stalled."""
        before = self._phase, self._text
        if phase == self._phase:
            yield
            return
        self.phase(phase, text)
        yield
        self.phase(*before)

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Progress of the phase; thinned, but its end is always written."""
        now = time.monotonic()
        if done >= total or now - self._last_progress >= 1 / PROGRESS_A_SECOND:
            self._last_progress = now
            self.event("progress", phase=self._phase, done=done, total=total, text=text)

    def step(self, *, always: bool, **fields: Any) -> None:
        """One optimizer step; thinned above ten a second, unless `always`."""
        now = time.monotonic()
        if always or now - self._last_step >= 1 / STEPS_A_SECOND:
            self._last_step = now
            self.event("step", **fields)

    def warn(self, key: str, **figures: Any) -> None:
        """A warning from the table of findings."""
        self.warn_of(Finding.of(key, **figures))

    def warn_of(self, found: Finding) -> None:
        """A warning with the words of a finding."""
        self.event("warning", code=found.code, message=found.message, remedy=found.remedy)

    def watch(self, uuid: str) -> None:
        """Takes the telemetry from the GPU with this UUID."""
        self._sampler.watch(uuid)

    def _measure(self) -> None:
        """Reports the machine's telemetry: every few seconds while it changes, else every half minute."""
        sampler = self._sampler
        told: TelemetrySample | None = None
        told_at = 0.0
        low = False
        wait_s = 1.0
        while not self._ended.wait(wait_s):
            wait_s = MEASURE_EVERY_S
            reading, now = sampler.read(), time.monotonic()
            if self._ended.is_set():
                break
            free, needs = reading.disk_free_gib, self.next_bytes
            # What the training is told of at its next event, this thread leaves to it; nor does it wait for a disk.
            with contextlib.suppress(LostError), at_once():
                if worth_telling(told, reading, now - told_at):
                    told, told_at = reading, now
                    needed: dict[str, Any] = {"disk_needed_gib": round(needs / GIB, 3)} if needs else {}
                    self.log.append("telemetry", **reading.to_fields(), **needed)
                if free is not None and needs:
                    was_low, low = low, disk_is_low(free * GIB, needs, low)
                    if low and not was_low:
                        self.warn("disk_low", free=size(free * GIB), needed=size(needs))
        sampler.close()

    def _beat(self) -> None:
        while not self._ended.wait(1.0):
            if self.log.quiet_s >= HEARTBEAT_AFTER_S:
                with contextlib.suppress(LostError):
                    self.log.append("heartbeat", phase=self._phase)


def first_line(error: Exception) -> str:
    """The first line of what an error says, else its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]
