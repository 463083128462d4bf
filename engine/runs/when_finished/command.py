"""Runs the person's own command when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence

from loratui.engine.runs.when_finished import programs
from loratui.engine.runs.when_finished.ended import Ended
from loratui.engine.runs.when_finished.result import Result, stopped
from loratui.engine.runs.when_finished.stopping import Stopping

LONGEST_S = 6 * 3600.0


def carry_out(words: Sequence[str], ended: Ended, stopping: Stopping, longest_s: float = LONGEST_S) -> Result:
    """Runs the command once, in the run's folder: a second time might do harm that loratui cannot know of.

    Its environment has what `Ended.environment` gives.
    """
    ran = programs.run(
        words, stopping, ended.run.when_finished_log, longest_s=longest_s, cwd=ended.run.path, more=ended.environment()
    )
    if stopping.why and ran.code is None:
        return stopped(stopping)
    if ran.problem:
        return Result("failed", f"{words[0]} {ran.problem}" if ran.code is not None else ran.problem)
    return Result("done", f"{words[0]} ended well." + (f" {ran.last_line}" if ran.last_line else ""))
