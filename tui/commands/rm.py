"""`loratui rm`: deletes a run with everything in it."""

from __future__ import annotations

import argparse
import sys

from loratui.engine.errors import UsageError
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, delete_run
from loratui.engine.runs.lora_files import lora_paths
from loratui.engine.runs.summary import summarise
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.runs.machine_line import folder_bytes
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--yes --json`."""
    del name
    common.add_run_argument(parser, required=True)
    common.add_output_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="delete without asking")


def run(args: argparse.Namespace) -> int:
    """Asks and deletes. JSON: `run path deleted bytes`."""
    chosen = common.chosen_run(args, to_delete=True)
    if lock.is_held(chosen.lock):
        common.refuse_while_finishing(summarise(chosen))
        raise UsageError(f"{chosen.name} is running.", f"Stop it first: loratui stop {chosen.name}")
    size = folder_bytes(chosen.path)
    if not args.yes:
        if not common.can_ask():
            raise UsageError(f"{chosen.name} was not deleted: there is no terminal to ask on.", "Add --yes.")
        if not common.ask(clean(_question(chosen, size)), default=False):
            raise UsageError(f"{chosen.name} was not deleted.")
    delete_run(chosen)
    if args.json:
        common.print_json({"run": chosen.name, "path": str(chosen.path), "deleted": True, "bytes": size})
    else:
        say(sys.stdout, f"{clean(chosen.name)} is deleted, {text.size(size)} freed.")
    return 0


def _question(chosen: RunDirectory, size: int) -> str:
    files = len(lora_paths(chosen))
    return f"Delete {chosen.name} ({text.size(size)}, {text.count(files, 'LoRA file')})?"
