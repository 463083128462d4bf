"""`loratui report`: one HTML page that holds everything, the same as Markdown, and contact sheets as PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loratui.engine import jobs
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import progress_stream, say
from loratui.tui.terminal import clean, ssh_hints


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--to --photos --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--to", metavar="FOLDER", default="", help="folder to write to (default: report/ in the run)")
    parser.add_argument(
        "--photos", action="store_true", help="show training images too, beside the images that are nearest to them"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the report and prints its paths.

    JSON: `run path html markdown sheets[] images left_out photos`.
    """
    chosen = common.chosen_run(args)
    out = progress_stream(args.json, False)
    folder = str(Path(args.to).expanduser().absolute()) if args.to else ""
    told = {-1}

    def tell(progress: list[int]) -> None:
        done, total = progress
        tenth = 10 * done // max(1, total)
        if tenth not in told:
            told.add(tenth)
            say(out, f"Reading the images: {text.number(done)} of {text.number(total)}")

    written = jobs.run("report", {"run": str(chosen.path), "folder": folder, "photos": args.photos}, progress=tell)
    if args.json:
        common.print_json({"run": chosen.name, "path": str(chosen.path), **written})
        return 0
    say(sys.stdout, clean(written["html"]), as_it_is=True)
    beside = f"Beside it: {Path(written['markdown']).name} and {text.count(len(written['sheets']), 'contact sheet')}."
    say(sys.stdout, clean(beside))
    if not args.photos:
        say(sys.stdout, "It shows none of your photos and no path; --photos adds the photos that images are nearest to.")
    say(sys.stdout, clean(f"On your own machine: {ssh_hints.scp_line(Path(written['html']))}"), as_it_is=True)
    return 0
