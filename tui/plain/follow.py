"""Follows a run in plain lines, one sentence for each change, until it ends or the person leaves."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

from loratui.engine import children
from loratui.engine.errors import ExitCode
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import how_validation_ended, summarise
from loratui.engine.runs.tail import POLL_S, Tail
from loratui.engine.runs.verdict import Verdict
from loratui.tui import text
from loratui.tui.runs import figures
from loratui.tui.runs.store import RunStore
from loratui.tui.terminal import clean, hangup

STEP_LINE_S = 2.0
"""Step lines are at least so far apart."""
STEP_SHARE = 0.05
"""A step line follows each such share of the steps,"""
STEP_LATEST_S = 30.0
"""and each silence of this length."""
STALL_LOOK_S = 2.0
STALL_AGAIN_S = 60.0
"""A standstill is told again after so long."""
_STANDS = {"stalled": "Stalled.", "waiting": "It still waits for its disk."}


class Narrator:
    """Turns the content of a `RunStore` into lines. Reads no clock: `lines` gets the time."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._told = store.log_count
        self._told_place, self._told_phase = store.state.step, "training"
        self._told_at = float("-inf")
        self._news_at = float("nan")
        """When the last news was printed."""

    def lines(self, now: float) -> Iterator[str]:
        """The new lines at `now` (s on any steady clock): log lines, then progress if a line is due."""
        log = self._store.log
        new = min(self._store.log_count - self._told, len(log))
        for line in list(log)[len(log) - new :]:
            yield f"{text.clock_with_zone(line.ts)}  {clean(_sentence(line.text))}"
            self._told_at = self._news_at = now
        self._told = self._store.log_count
        progress = self._progress(now)
        if progress:
            self._news_at = now
        progress = progress or self._wait(now)
        if progress:
            self._told_at = now
            yield f"{text.clock_with_zone(time.time())}  {clean(_sentence(progress))}"

    def _wait(self, now: float) -> str:
        """What the run waits for before its first step, after a long silence."""
        waited, awaited = now - self._news_at, figures.awaited(self._store.state)
        if not awaited or not waited >= STEP_LATEST_S or now - self._told_at < STEP_LATEST_S:
            return ""
        return f"still {awaited}, {text.duration(waited)} so far"

    def _progress(self, now: float) -> str:
        state = self._store.state
        if state.progress is not None and state.progress.total > 0:
            place, total = state.progress.done, state.progress.total
            sentence = f"{figures.phase(state)}: {place} of {total}"
        else:
            place, total = state.step, state.optimizer_steps
            sentence = figures.sentence(state, True)
        told = self._told_place if state.phase == self._told_phase else 0
        quiet_s = now - self._told_at
        due = place - told >= STEP_SHARE * total or quiet_s >= STEP_LATEST_S
        if place <= told or quiet_s < STEP_LINE_S or not due:
            return ""
        self._told_place, self._told_phase = place, state.phase
        return sentence


class _Standstills:
    """Says that a trainer that lives gets no further, or still waits for its disk, and when a stalled one goes on: no event tells that."""

    def __init__(self, run: RunDirectory, waits: bool) -> None:
        """`waits`: whether it waited for its disk before it was followed; later that is an event."""
        self._run, self._untold = run, waits
        self._looked_at = self._told_at = float("-inf")
        self._before = ""

    def lines(self, now: float) -> Iterator[str]:
        """The new lines at `now`, s on any steady clock."""
        if now - self._looked_at < STALL_LOOK_S:
            return
        self._looked_at, found = now, summarise(self._run)
        stands = _STANDS.get(found.status, "")
        if stands and stands != self._before:
            self._told_at = now if found.status == "waiting" and not self._untold else float("-inf")
        if stands and now - self._told_at >= STALL_AGAIN_S:
            self._told_at = now
            yield f"{text.clock_with_zone(time.time())}  {clean(f'{stands} {found.reason} {found.advice}'.strip())}"
        elif self._before == _STANDS["stalled"] and found.status in ("starting", "running"):
            yield f"{text.clock_with_zone(time.time())}  It goes on."
        self._before, self._untold = stands, False


@dataclass(frozen=True)
class Followed:
    """A run at the end of following it."""

    run: RunDirectory
    store: RunStore
    verdict: Verdict
    seconds: float
    """Time of the run's trainers so far, else of following it."""

    @property
    def status(self) -> str:
        """As in `Verdict`."""
        return self.verdict.status

    @property
    def exit_code(self) -> int:
        """The run's; 70 if it ended without a final event."""
        return int(ExitCode.CRASHED if self.verdict.exit_code is None else self.verdict.exit_code)

    @property
    def output(self) -> Path | None:
        """The finished LoRA file, else the newest, if it is there."""
        newest = self.run.file(self.store.state.output)
        return newest if newest is not None and newest.is_file() else None

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints. `optimizer_steps` and `image_steps` count finished steps."""
        store, state = self.store, self.store.state
        return {
            "run": self.run.name,
            "path": str(self.run.path),
            "status": self.status,
            "certainty": self.verdict.certainty,
            "exit_code": self.exit_code,
            "reason": self.verdict.reason,
            "advice": self.verdict.advice,
            "output": str(self.output) if self.output else None,
            "outputs": [str(self.run.path / path) for path in dict.fromkeys(output.path for output in store.outputs)],
            "samples": [str(self.run.path / path) for path in dict.fromkeys(sample.path for sample in store.samples)],
            "images": state.images,
            "epochs": state.epochs,
            "epoch": state.epoch,
            "optimizer_steps": state.step,
            "image_steps": state.image_step,
            "planned_optimizer_steps": state.optimizer_steps,
            "planned_image_steps": state.image_steps,
            "loss": state.loss,
            "loss_smoothed": state.loss_smoothed,
            "seconds": round(self.seconds, 3),
            "warnings": [{"code": w.code, "message": w.message, "remedy": w.remedy} for w in state.warnings],
        }


def follow(run: RunDirectory, job: str, out: TextIO, *, past: bool = False, poll_s: float = POLL_S) -> Followed:
    """Prints the events of a run's job to `out` until no process works on the run.

    Prints earlier events only with `past`. KeyboardInterrupt passes through.
    """
    began = time.monotonic()
    store, tail = RunStore(), Tail(run.events_of(job))
    if not past:
        for batch, keep_every in tail.glance():
            store.apply_batch(batch, keep_every)
        store.state = read_state(run, job)
    narrator, standstills = Narrator(store), _Standstills(run, waits=store.state.waiting is not None)
    while True:
        # First check whether it lives, then read the log, so nothing of a dead run is missed.
        alive = lock.is_held(run.lock)
        for batch in tail.drain():
            store.apply_batch(batch)
            for line in narrator.lines(time.monotonic()):
                say(out, line)
        now = time.monotonic()
        for line in itertools.chain(narrator.lines(now), standstills.lines(now) if alive else ()):
            say(out, line)
        if not alive:
            return _conclude(run, job, store, time.monotonic() - began)
        time.sleep(poll_s)


def follow_to_the_end(run: RunDirectory, job: str, out: TextIO, *, past: bool = False) -> Followed | None:
    """As `follow`, but after Ctrl-C prints how to come back and returns None. The run continues, unless this is the first process of a
    container: then a signal stops the run, which is followed to its end."""
    hangup.watch_output()
    if os.getpid() == 1:  # of a container, which ends with it: who stops the container signals nobody else
        for number in children.ENDING:
            signal.signal(number, lambda *_: _end(run))
    try:
        return follow(run, job, out, past=past)
    except KeyboardInterrupt:
        name = clean(run.name)
        say(out, "")
        say(out, f"{name} continues without this terminal. To come back: loratui attach {name}")
        say(out, f"To end it: loratui stop {name}")
        return None


def _end(run: RunDirectory) -> None:
    """Has a run save everything and end."""
    if owner := lock.read_owner(run.lock):
        owner.supervisor.send_signal(signal.SIGTERM)


def say_conclusion(ended: Followed, out: TextIO) -> None:
    """The last lines: how it ended, what to do next, and the LoRA file."""
    verdict, told = ended.verdict, ended.store.state.ending
    if told is None:
        say(out, clean(f"{ended.run.name} ended without a last word: {verdict.reason}"))
    elif verdict.reason != told.reason:
        say(out, clean(f"{ended.run.name} {text.stands(verdict.status)}. {verdict.reason}"))
    if verdict.advice:
        say(out, clean(verdict.advice))
    if ended.output is not None:
        say(out, f"LoRA file: {clean(ended.output)}", as_it_is=True)


_WORD = re.compile(r" *[^ ]+")
"""A word with the blanks before it; other spaces do not break a line."""


def say(out: TextIO, line: str, *, as_it_is: bool = False, hang: int | None = None) -> None:
    """Prints one line at once. `line` must be clean.

    On a terminal it wraps between words, further lines indented by `hang` cells (default: as the first). `as_it_is` is for
    paths, commands and tables, which people copy or read by column.
    """
    columns = None if as_it_is else _columns(out)
    lines = [line] if columns is None or cell_len(line) <= columns else _wrapped(line, columns, hang)
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write("".join(part.encode(encoding, "replace").decode(encoding) + "\n" for part in lines))
    out.flush()


def _columns(out: TextIO) -> int | None:
    """The width of the terminal behind `out`; None without one, or if it is too narrow to wrap."""
    try:
        columns = os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):
        return None
    return columns if columns >= 40 else None


def _wrapped(line: str, columns: int, hang: int | None) -> list[str]:
    """Long words stay whole. Not `textwrap`: it counts characters, and some are two cells wide."""
    further = " " * (len(line) - len(line.lstrip()) if hang is None else hang)
    lines, now = [], ""
    for word in _WORD.findall(line):
        if now and cell_len(now + word) > columns:
            lines.append(now)
            now = further + word.lstrip(" ")
        else:
            now += word
    return [*lines, now]


def progress_stream(json_wanted: bool, wait: bool) -> TextIO:
    """Stderr if stdout is for a script, else stdout."""
    return sys.stderr if json_wanted or wait else sys.stdout


def _conclude(run: RunDirectory, job: str, store: RunStore, elapsed_s: float) -> Followed:
    seconds = (store.state.worked_s if job == "train" else 0.0) or elapsed_s
    verdict = how_validation_ended(run) if job == "validate" else summarise(run, closely=True)
    return Followed(run, store, verdict, seconds)


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:]
