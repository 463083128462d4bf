"""`loratui export`: a LoRA of a run as a file for other programs, in a chosen layout and number format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loratui.engine.handover.keep import written_by_job
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean, ssh_hints


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--step --format --dtype --name --output --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--step", type=int, metavar="N", help="optimizer step (default: the last)")
    parser.add_argument(
        "--format",
        choices=["auto", "kohya", "peft", "diffusers"],
        default="auto",
        help="layer names in the file; auto opens in most programs; use kohya for FLUX in kohya's tools, and in InvokeAI with text encoder",
    )
    parser.add_argument("--dtype", choices=["fp16", "bf16", "fp32"], default="", help="number format (default: the run's)")
    parser.add_argument("--name", dest="file_name", metavar="NAME", default="", help="file name without its ending")
    parser.add_argument("--output", metavar="PATH", default="", help="file or folder to write (default: export/ in the run)")


def run(args: argparse.Namespace) -> int:
    """Writes the file, and prints its path and the programs that open it.

    JSON: `run path source step format dtype bytes layers norms opened_by[]`, the latter with `title place`.
    """
    chosen = common.chosen_run(args)
    wanted = {"step": args.step, "format": args.format, "dtype": args.dtype, "name": args.file_name, "output": args.output}
    result = written_by_job(chosen, **wanted)
    if args.json:
        common.print_json(result)
        return 0
    path = clean(result["path"])
    said = f"Step {text.number(result['step'])}, {text.count(result['layers'], 'layer')}, {result['format']} names, {result['dtype']}"
    say(sys.stdout, f"{said}, {text.size(result['bytes'])}; read back and checked.")
    say(sys.stdout, path, as_it_is=True)
    for program in result["opened_by"]:
        say(sys.stdout, clean(f"  {program['title']}: {program['place'].replace('PATH', repr(path))}"), as_it_is=True)
    say(sys.stdout, clean(f"On your own machine: {ssh_hints.scp_line(Path(result['path']))}"), as_it_is=True)
    return 0
