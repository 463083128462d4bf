"""`loratui download`: downloads a base model, or a part of one, from the hub; shows the plan and asks first."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from loratui.engine.errors import UsageError
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.machine.hub import DownloadPlan, Progress

LINE_S = 5.0
"""Seconds between lines if the output is not a terminal."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """MODEL, FILE …, `--yes --json`."""
    del name
    parser.add_argument("model", metavar="MODEL", help="owner/name on the hub")
    parser.add_argument("files", metavar="FILE", nargs="*", help="only these files (default: those that training needs)")
    parser.add_argument("--yes", action="store_true", help="download without asking")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Looks the files up, shows the plan, asks, downloads. A second start continues where the first ended.

    JSON: `repo commit folder licence gated files[] bytes fetched_bytes`.
    """
    from loratui.engine.machine import hub

    plan = hub.look_up(args.model, args.files)
    for line in plan_text(plan):
        say(sys.stderr, clean(line))
    hub.check_space(plan)
    if plan.fetch_bytes and not args.yes:
        if not common.can_ask():
            raise UsageError(f"{plan.repo} was not downloaded: there is no terminal to ask on.", "Add --yes.")
        if not common.ask(f"Download {text.size(plan.fetch_bytes)}?", default=True):
            raise UsageError(f"{plan.repo} was not downloaded.")
    shown = ProgressLines(sys.stderr)
    try:
        folder = hub.download(plan, progress=shown.show)
    except KeyboardInterrupt:
        shown.end()
        say(sys.stderr, "Stopped. The part that arrived is kept; the same command continues.")
        raise
    finally:
        shown.end()
    if args.json:
        common.print_json(
            {
                "repo": plan.repo,
                "commit": plan.commit,
                "folder": str(folder),
                "licence": plan.licence,
                "gated": plan.gated,
                "files": [file.name for file in plan.files],
                "bytes": plan.total_bytes,
                "fetched_bytes": plan.fetch_bytes,
            }
        )
    else:
        say(sys.stdout, clean(str(folder)), as_it_is=True)
    return 0


def plan_text(plan: DownloadPlan) -> Iterator[str]:
    """The plan for people."""
    yield f"{plan.repo}: {text.count(len(plan.files), 'file')}, {text.size(plan.total_bytes)}, licence {plan.licence or 'unknown'}"
    here = plan.total_bytes - plan.fetch_bytes
    if not plan.fetch_bytes:
        yield "    everything is already here"
    elif here:
        yield f"    {text.size(here)} of it is already here"
    yield f"    to {plan.folder}, {text.size(plan.free_bytes)} free"


def progress_text(progress: Progress) -> str:
    """`1.2 GB of 6.9 GB (17 %), 45 MB/s, 2 min 06 s left`."""
    done, total = progress.done_bytes, progress.total_bytes
    parts = [f"{text.size(done)} of {text.size(total)} ({100 * done // total if total else 100} %)"]
    if progress.note:
        parts.append(progress.note)
    elif progress.bytes_per_s >= 1:
        parts += [f"{text.size(int(progress.bytes_per_s))}/s", f"{text.time_left((total - done) / progress.bytes_per_s)} left"]
    return ", ".join(parts)


class ProgressLines:
    """One line that is repainted on a terminal; elsewhere a line now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._paints = out.isatty()
        self._said_at = float("-inf")
        self._note = ""
        self._last = ""

    def show(self, progress: Progress) -> None:
        """Shows the progress, if it is time for a line."""
        self._last = line = clean(progress_text(progress), 100)
        if self._paints:
            self._out.write(f"\r\x1b[K{line}")
            self._out.flush()
        elif time.monotonic() - self._said_at >= LINE_S or progress.note != self._note:
            self._said_at, self._note = time.monotonic(), progress.note
            self._say(line)

    def end(self) -> None:
        """Leaves the last line on the screen."""
        if self._last:
            self._say("" if self._paints else self._last)

    def _say(self, line: str) -> None:
        self._last = ""
        say(self._out, line)
