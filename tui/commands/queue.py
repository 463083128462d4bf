"""`loratui queue`: the runs that wait for the GPU: lists them, adds, removes and moves them, holds the queue and lets it go on."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import loratui_home, open_run
from loratui.engine.runs.logs import log_tail
from loratui.engine.runs.queue import adding, entries
from loratui.engine.runs.queue.entries import Queue
from loratui.engine.runs.queue.start import ensure_watched
from loratui.engine.runs.summary import summarise_all
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

_NEEDS_RUN = ("add", "remove", "move")
_LATELY = 5
"""Lines of the queue's log."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """What to do, RUN, `--place --validate --json`."""
    del name
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        choices=("list", *_NEEDS_RUN, "hold", "go"),
        default="list",
        help="list (default), add RUN, remove RUN, move RUN --place N, hold, or go",
    )
    parser.add_argument("run_name", metavar="RUN", nargs="?", help="name of a run (see loratui runs)")
    parser.add_argument(
        "--place", metavar="N", type=int, help="with add and move: its place, 1 for the next (default: the last)"
    )
    parser.add_argument("--validate", action="store_true", help="with add: make its validation images after its training")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Changes the queue, sees that its runs are started, and lists it.

    JSON: `home on_hold watched active[] entries[]`; each entry `run path job status reason`, `active` the runs at work.
    """
    home = loratui_home()
    if (args.what in _NEEDS_RUN) != (args.run_name is not None):
        wanted = f"loratui queue {args.what}{' RUN' if args.what in _NEEDS_RUN else ''}"
        raise UsageError(
            f"loratui queue {args.what}: {'a run is missing' if args.run_name is None else 'it takes no run'}.", wanted
        )
    if args.place is not None and (args.place < 1 or args.what not in ("add", "move")):
        raise UsageError(f"--place {args.place}: expected a place from 1 on, with add or move.")
    _change(args, home)
    watched = ensure_watched(home)
    queue = entries.read(home)
    found = _table(home, queue, watched)
    if args.json:
        common.print_json(found)
        return 0
    for line in _lines(home, queue, found):
        say(sys.stdout, line, as_it_is=True)
    return 0


def _change(args: argparse.Namespace, home: Path) -> None:
    match args.what:
        case "add":
            added = open_run(home, args.run_name)
            adding.add(added, validate=args.validate)
            if args.place is not None:
                entries.change(home, lambda queue: entries.moved(queue, added.name, args.place))
        case "remove":
            entries.change(home, lambda queue: adding.removed(queue, args.run_name))
        case "move":
            entries.change(home, lambda queue: entries.moved(queue, args.run_name, args.place or entries.MOST))
        case "hold":
            entries.change(home, lambda queue: replace(queue, on_hold=adding.HELD))
        case "go":
            entries.change(home, lambda queue: replace(queue, on_hold=""))


def _table(home: Path, queue: Queue, watched: bool) -> dict[str, Any]:
    runs = {run.name: run for run in summarise_all(home)}
    rows = []
    for entry in queue.entries:
        run = runs.get(entry.run)
        at_work = run is not None and run.active and (run.job or "train") == entry.job
        status = "gone" if run is None else run.status if at_work or entry.job == "train" else "queued"
        rows.append(
            {
                "run": entry.run,
                "path": str(home / "runs" / entry.run),
                "job": entry.job,
                "status": status,
                "reason": "" if run is None or status == "queued" else run.reason,
            }
        )
    active = [run.name for run in runs.values() if run.active]
    return {"home": str(home), "on_hold": queue.on_hold, "watched": watched, "active": active, "entries": rows}


def _lines(home: Path, queue: Queue, found: dict[str, Any]) -> Iterator[str]:
    rows = [
        ("", "run", "job", "status"),
        *((str(at), clean(r["run"]), r["job"], r["status"]) for at, r in enumerate(found["entries"], 1)),
    ]
    if len(rows) > 1:
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            yield text.columns(row, widths)
    else:
        yield "No run waits. To add one: loratui train … --queue, or loratui queue add RUN"
    if queue.on_hold:
        yield clean(f"On hold: {queue.on_hold} To let it go on: loratui queue go")
    elif queue.entries:
        others = [name for name in found["active"] if name not in {entry.run for entry in queue.entries}]
        if others:
            yield clean(f"It waits for {', '.join(others)}.")
        yield clean(f"To go on by itself after a reboot, add to crontab -e:  @reboot {_go_command(home)}")
    if lately := log_tail(home / entries.LOG)[-_LATELY:]:
        yield ""
        yield from (clean(line) for line in lately)


def _go_command(home: Path) -> str:
    program = Path(sys.argv[0])
    command = str(program.absolute()) if program.name == "loratui" else "loratui"
    return shlex.join([command, "--home", str(home), "queue", "go"])
