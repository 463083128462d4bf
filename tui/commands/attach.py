"""`loratui attach`: returns to a run, in the app if there is a terminal, else in plain lines."""

from __future__ import annotations

import argparse
import sys

from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say
from loratui.tui.runs import figures
from loratui.tui.terminal import clean, wants_plain


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--plain --json`."""
    del name
    common.add_run_argument(parser)
    # It may also come before the command.
    parser.add_argument("--view-only", action="store_true", default=argparse.SUPPRESS, help="view only: send no commands")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Opens the training screen, or prints the state of the run and then its progress until it ends.

    Returns the run's exit code in plain mode. JSON (printed at the end of the run) as `loratui train`.
    """
    chosen = common.chosen_run(args)
    if not args.json and not wants_plain(args.plain):
        from loratui.tui.run_app import run_app

        return run_app(screen="training", run=chosen, view_only=args.view_only)
    out = progress_stream(args.json, False)
    now = summarise(chosen, closely=True)
    job = now.job or "train"
    state = read_state(chosen, job)
    say(out, clean(f"{chosen.name} {text.stands(now.status)}."))
    if state.step:
        say(out, clean(figures.sentence(state, figures.trains(now))))
    if now.reason and (now.active or (state.ending is not None and state.ending.reason == now.reason)):
        say(out, clean(now.reason))
    if now.active and sys.stdout.isatty():
        say(out, "Ctrl-C leaves, and the run continues.")
    return common.conclude(follow_to_the_end(chosen, job, out), args, out)
