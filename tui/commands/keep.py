"""`loratui keep`: the chosen LoRA file of a run under a name, with its settings and what image programs read beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.handover import keep
from loratui.engine.handover.keep import DTYPES, LAYOUTS, Keep
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.lora_files import lora_files
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean, ssh_hints


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--file --as --to --format --dtype --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="LoRA file, by its name or step (default: the chosen one, else the recommended, else the finished)",
    )
    parser.add_argument("--as", dest="keep_as", metavar="NAME", default="", help="name without an ending (default: the file's)")
    parser.add_argument("--to", metavar="FOLDER", default="", help="folder to write to (default: export/ in the run)")
    parser.add_argument("--format", choices=LAYOUTS[1:], default=LAYOUTS[0], help="layer names (default: as they are)")
    parser.add_argument("--dtype", choices=DTYPES[1:], default=DTYPES[0], help="number format (default: as it is)")


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints where it belongs.

    JSON: `run path source step strength beside[] places[] {program where} licence copy_line no_preview`.
    """
    chosen = common.chosen_run(args)
    settings = read_recipe(chosen.effective).settings
    files = lora_files(chosen, settings)
    file = keep.named_file(chosen, settings, args.file) if args.file else keep.proposed_file(chosen, settings, files)
    if not file:
        raise UsageError(f"{chosen.name} has no LoRA file yet.", "The first one is written after the first epoch.")
    folder = Path(args.to).expanduser().absolute() if args.to else chosen.path / "export"
    kept = keep.keep(chosen, settings, Keep(file, args.keep_as or Path(file).stem, folder, args.format, args.dtype))
    strength, copy_line = keep.strength_of(chosen, settings, file), ssh_hints.scp_line(keep.all_of(kept))
    if args.json:
        common.print_json(
            {
                "run": chosen.name,
                "path": str(kept.path),
                "source": file,
                "step": files.step_of.get(file),
                "strength": strength,
                "beside": [str(path) for path in kept.beside],
                "places": [{"program": place.program, "where": place.where} for place in kept.places],
                "licence": keep.licence_note(settings),
                "copy_line": copy_line,
                "no_preview": kept.no_preview,
            }
        )
        return 0
    say(sys.stdout, clean(kept.path), as_it_is=True)
    say(
        sys.stdout,
        clean(f"It is {file}; use it at strength {strength:g}. Beside it: {', '.join(path.name for path in kept.beside)}."),
    )
    if kept.no_preview:
        say(sys.stdout, clean(kept.no_preview))
    for line in keep.place_lines(kept):
        say(sys.stdout, clean(f"  {line}"), as_it_is=True)
    say(sys.stdout, clean(f"On your own machine: {copy_line}"), as_it_is=True)
    say(sys.stdout, keep.licence_note(settings))
    return 0
