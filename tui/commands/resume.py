"""`loratui resume`: resumes a paused, stopped, failed or interrupted run from its last checkpoint."""

from __future__ import annotations

import argparse

from loratui.engine.errors import UsageError
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.when_finished.carry_out import left
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--wait --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, the run's exit code")


def run(args: argparse.Namespace) -> int:
    """Starts the run again and follows it. JSON as `loratui train`."""
    chosen = common.chosen_run(args)
    out = progress_stream(args.json, args.wait)
    before = summarise(chosen, closely=True)
    if before.status == "finishing":
        raise UsageError(
            f"{chosen.name} has ended. {before.advice}", f"Cancel that: loratui when-finished {chosen.name} --cancel"
        )
    if before.status == "done" and left(chosen, before.state):
        launch(chosen, actions="left")
        say(out, clean(f"{chosen.name} is done; what was chosen for its end is carried out."))
        return common.conclude(follow_to_the_end(chosen, "train", out), args, out)
    if before.status == "done":
        raise UsageError(f"{chosen.name} is done; nothing is left to resume.", f"To see it: loratui validate {chosen.name}")
    if not (before.active or before.resumable):
        raise UsageError(f"{chosen.name} {text.stands(before.status)}. {before.reason}", before.advice)
    launch(chosen)
    say(out, clean(f"{chosen.name} {before.goes_on}."))
    return common.conclude(follow_to_the_end(chosen, "train", out), args, out)
