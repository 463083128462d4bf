"""`loratui sweeps`: lists the sweeps, or compares the runs of one by the same measures, and picks one."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.errors import UsageError
from loratui.engine.runs import sweeps as kept
from loratui.engine.runs.directory import loratui_home
from loratui.engine.runs.sweeps import Sweep, schema_free
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.proof.sweep import Comparison


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """NAME, `--strength --collect --forget --json`."""
    del name
    parser.add_argument("sweep", metavar="NAME", nargs="?", help="name of a sweep, or latest; without it all are listed")
    parser.add_argument(
        "--strength", metavar="S", type=float, help="compare the images of this strength (default: the nearest to 1)"
    )
    parser.add_argument(
        "--collect", metavar="FOLDER", help="take over the runs of its SkyPilot jobs, which a bucket left in FOLDER"
    )
    parser.add_argument("--forget", action="store_true", help="delete the record of the sweep; its runs stay")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Lists or compares. JSON without NAME: `sweeps[] {name created keys runs}`; with it `name keys[] strength strengths[] pick
    {run reasons[] as_good[]} runs[] {run path values status exit_code reason measures verdict best output steps}`."""
    home = loratui_home()
    if args.sweep is None:
        if args.collect or args.forget or args.strength is not None:
            raise UsageError("Name the sweep first.", "loratui sweeps lists them.")
        return _list(home, args)
    sweep = kept.read(home, args.sweep)
    if args.forget:
        kept.remove(home, sweep.name)
        say(
            sys.stderr if args.json else sys.stdout,
            clean(f"{sweep.name} is forgotten. Its runs are whole: loratui runs lists them."),
        )
        return 0
    if args.collect is not None:
        from loratui.engine.runs.sky_jobs import collect

        sweep = collect(home, sweep, Path(args.collect))
        kept.write(home, sweep)
    return show(sweep, args)


def show(sweep: Sweep, args: argparse.Namespace) -> int:
    """Compares the runs of a sweep and prints it; returns 0."""
    from loratui.engine.proof.sweep import compare

    found = compare(sweep, getattr(args, "strength", None))
    if args.json:
        common.print_json(to_json(found))
        return 0
    for line in lines(found):
        say(sys.stdout, clean(line), as_it_is=True)
    return 0


def _list(home: Path, args: argparse.Namespace) -> int:
    found = kept.list_sweeps(home)
    if args.json:
        rows = [{"name": s.name, "created": s.created, "keys": list(s.keys), "runs": len(s.members)} for s in found]
        common.print_json({"sweeps": rows})
        return 0
    if not found:
        say(sys.stdout, "There are no sweeps yet. To start one: loratui sweep FOLDER --preset NAME --over rank=8,16")
    for one in found:
        of = f"{text.count(len(one.members), 'run')} over {', '.join(one.keys)}"
        say(sys.stdout, clean(f"{one.name}  {of}  {text.ago(max(0.0, time.time() - one.created))}"), as_it_is=True)
    return 0


def to_json(found: Comparison) -> dict[str, Any]:
    """The stable keys of `--json`."""
    rows = []
    for row in found.rows:
        state, said = row.summary.state if row.summary else None, row.judgement
        rows.append(
            {
                "run": row.member.run,
                "path": row.member.path,
                "values": schema_free(row.member.values),
                "status": row.status,
                "exit_code": row.summary.exit_code if row.summary else None,
                "reason": row.summary.reason if row.summary else "",
                "measures": row.measures(found.strength) if found.strength is not None else {},
                "verdict": None
                if said is None
                else {"kind": said.kind, "confidence": said.confidence, "reasons": list(said.reasons)},
                "best": None if said is None or said.best is None else asdict(said.best),
                "output": state.output if state else "",
                "steps": state.step if state else 0,
            }
        )
    picked = {"run": found.pick.run, "reasons": list(found.pick.reasons), "as_good": list(found.pick.as_good)}
    own = {"name": found.sweep.name, "keys": list(found.sweep.keys), "planned": found.sweep.planned}
    return {**own, "strength": found.strength, "strengths": list(found.strengths), "pick": picked, "runs": rows}


def lines(found: Comparison) -> Iterator[str]:
    """The pick with its reasons, then the table."""
    from loratui.tui.runs.sweep_table import table

    yield from found.pick.reasons
    yield ""
    rows = table(found)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for cells in rows:
        yield text.columns(cells, widths)
    yield ""
    if found.strength is not None:
        others = ", ".join(f"{one:g}" for one in found.strengths if one != found.strength)
        yield f"At strength {found.strength:g}." + (f" Also measured: {others} (--strength)." if others else "")
    if found.pick.run:
        path = next(Path(row.member.path) for row in found.rows if row.member.run == found.pick.run)
        run = path.name if path.name == found.pick.run else shlex.quote(str(path))
        yield f"To see it: loratui validate {run}. To keep it: loratui keep {run}"
