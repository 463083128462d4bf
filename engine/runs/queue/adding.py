"""Puts runs into the queue and takes them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.queue import entries, look, rules
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.summary import summarise

HELD = "You have put it on hold."
"""Why nothing is started, where a person wants that."""


def add(run: RunDirectory, *, validate: bool = False) -> Queue:
    """Adds a run that can be started or resumed; with `validate` its validation too, and that alone for a run that
    is done. Raises `UsageError` for a run that cannot wait."""
    found = summarise(run, closely=True)
    home = run.path.parent.parent
    if run.path.parent.name != "runs":
        raise UsageError(f"{run.path} is not among the runs of a home.", "Move it to the folder runs of loratui's home.")
    if not (found.resumable or found.active or (found.status == "done" and validate)):
        remedy = (
            f"For its validation images: loratui queue add {run.name} --validate" if found.status == "done" else found.advice
        )
        raise UsageError(f"{run.name} is {found.status}: there is nothing to train.", remedy)
    trains = found.resumable and not found.active and found.status != "done"
    rows = [Entry(run=run.name)] if trains else []
    rows += [Entry(run=run.name, job="validate")] if validate else []
    if not rows:
        raise UsageError(f"{run.name} is at work already.", f"To queue its validation: loratui queue add {run.name} --validate")
    return add_all(home, rows)


def add_all(home: Path, rows: Sequence[Entry]) -> Queue:
    """Adds entries at the end; one of a run and job that waits already stays where it is."""

    def put(queue: Queue) -> Queue:
        new = [entry for entry in rows if queue.entry(entry.run, entry.job) is None]
        seen = [look.look(home, entry) for entry in new]
        fresh = [replace(entry, seq=one.seq, mark=one.mark) for entry, one in zip(new, seen, strict=True)]
        return replace(queue, entries=(*queue.entries, *fresh))

    return entries.change(home, put)


def removed(queue: Queue, run: str) -> Queue:
    """Without a run; one that trains goes on training. Raises `UsageError` for a run that is not there."""
    own = [entry for entry in queue.entries if entry.run == run]
    if not own:
        raise UsageError(f"{run} is not in the queue.", "loratui queue lists the runs that wait.")
    return rules.without(queue, own)
