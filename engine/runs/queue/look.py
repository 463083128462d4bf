"""What there is to know of the run of an entry, for the rules and for lists."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.durable import MARKER
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.queue.entries import Entry
from loratui.engine.runs.queue.rules import Seen
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import how_validation_ended, summarise
from loratui.engine.runs.verdict import Verdict


def look(home: Path, entry: Entry) -> Seen:
    """What is known now."""
    run = RunDirectory(home / "runs" / entry.run)
    if not (run.path / MARKER).is_file():
        return Seen(there=False)
    if lock.is_held(run.lock):
        return Seen(held=True)
    found: Verdict
    if entry.job == "train":
        found, mark = summarise(run), run.last_checkpoint_step()
    else:
        found, mark = how_validation_ended(run), sum(1 for _ in run.validation.glob("*.png"))
    state = read_state(run, entry.job)
    return Seen(
        seq=state.seq,
        mark=mark,
        status=found.status,
        exit_code=found.exit_code,
        reason=found.reason,
        resumable=found.resumable,
        by_signal=state.ending is not None and state.ending.by_signal,
    )
