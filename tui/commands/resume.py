"""`loratui resume`: resumes a paused, stopped, failed or interrupted run from its last checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TextIO

from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.runs.differences import PARTS, Difference, accept, differences
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.when_finished.carry_out import left
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--accept --wait --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument(
        "--accept",
        metavar="WHAT",
        default="",
        help="go on although this has changed since: base, dataset, or both (base,dataset)",
    )
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, the run's exit code")


def run(args: argparse.Namespace) -> int:
    """Starts the run again and follows it. JSON as `loratui train`."""
    accepted = _accepted(args.accept)
    chosen = common.chosen_run(args)
    out = progress_stream(args.json, args.wait)
    before = summarise(chosen, closely=True)
    common.refuse_while_finishing(before)
    if before.status == "done" and left(chosen, before.state):
        launch(chosen, actions="left")
        say(out, clean(f"{chosen.name} is done; what was chosen for its end is carried out."))
        return common.conclude(follow_to_the_end(chosen, "train", out), args, out)
    if before.status == "done":
        raise UsageError(f"{chosen.name} is done; nothing is left to resume.", f"To see it: loratui validate {chosen.name}")
    if not (before.active or before.resumable):
        raise UsageError(f"{chosen.name} {text.stands(before.status)}. {before.reason}", before.advice)
    if before.resumable:
        _settle(chosen, accepted, out)
    launch(chosen)
    if before.active:
        say(out, clean(before.reason))
    say(out, clean(f"{chosen.name} {before.goes_on}."))
    return common.conclude(follow_to_the_end(chosen, "train", out), args, out)


def _accepted(words: str) -> Sequence[str]:
    parts = [part.strip() for part in words.split(",") if part.strip()]
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"--accept {words}: expected {' or '.join(PARTS)}.", "For example --accept base,dataset.")
    return parts


def _settle(chosen: RunDirectory, accepted: Sequence[str], out: TextIO) -> None:
    """Shows what has changed since the run was stopped, and asks, unless it is `accepted` already. Raises `UsageError` and
    `DatasetError` where it is not."""
    found = [one for one in differences(chosen) if one.asks]
    for one in found:
        say(out, clean(one.title))
        for line in one.shown():
            say(out, clean(f"  {line}"))
        if one.part not in accepted and not (common.can_ask() and common.ask(f"Go on with {_which(one)}?", default=False)):
            kind = DatasetError if one.part == "dataset" else UsageError
            message = f"{chosen.name} was not resumed: {one.part} has changed ({text.count(len(one.lines), 'change')})."
            raise kind(
                message.replace(": ", ": the ", 1), f"To go on all the same: loratui resume {chosen.name} --accept {one.part}"
            )
    if found:
        accept(chosen, found)


def _which(difference: Difference) -> str:
    return "these files" if difference.part == "base" else "the images and captions as the run began with them"
