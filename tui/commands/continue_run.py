"""`loratui continue`: more from a run that has ended: epochs more with its optimizer, or a new run that begins with its weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from loratui.engine.errors import UsageError
from loratui.engine.runs import continuing
from loratui.presets.schema import KEYS
from loratui.tui.commands import common, train


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--epochs --step --rates`, or `--weights` with what is to be changed; `--wait --yes --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--epochs", metavar="N", type=int, help="epochs more; with --weights: epochs of the new run")
    parser.add_argument("--step", metavar="N", type=int, help="begin with this checkpoint or file (default: the newest)")
    rates = get_args(KEYS["optimizer.continued"].type)
    parser.add_argument(
        "--rates",
        choices=rates,
        help="learning-rate schedule: stretch it over all epochs (default), or restart it with the added ones",
    )
    parser.add_argument(
        "--weights",
        action="store_true",
        help="a new run that begins with the LoRA file: other images or settings, a new optimizer",
    )
    parser.add_argument("--dataset", metavar="FOLDER", help="with --weights: other images")
    parser.add_argument("--set", metavar="KEY=VALUE", dest="sets", action="append", default=[], help="change any setting")
    common.add_device_argument(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, the run's exit code")
    parser.add_argument("--queue", action="store_true", help="start it after the runs that wait (see loratui queue)")
    parser.add_argument("--yes", action="store_true", help="start despite warnings, without asking")


def run(args: argparse.Namespace) -> int:
    """Makes the new run, starts and follows it. Returns and prints as `loratui train`."""
    from loratui.engine.planning.recipe import parse_sets

    chosen = common.chosen_run(args)
    if args.weights:
        if args.rates:
            raise UsageError("--rates: a run that begins with weights has a schedule of its own.", "Leave it out.")
        recipe = continuing.from_weights(chosen, args.step)
        if args.epochs is not None:
            recipe = recipe.with_changes({"schedule.epochs": args.epochs})
        if args.dataset is not None:
            recipe = recipe.with_changes({"dataset.path": str(Path(args.dataset).expanduser().absolute())})
    elif args.epochs is None:
        raise UsageError("How many epochs more?", f"For example: loratui continue {chosen.name} --epochs 5")
    elif args.dataset is not None:
        raise UsageError("--dataset: its optimizer belongs to its own images.", "For other images add --weights.")
    else:
        recipe = continuing.to_continue(chosen, args.epochs, step=args.step, rates=args.rates or "stretch")
    changes = {**common.device_change(args), **parse_sets(args.sets)}
    return train.carry_out(recipe.with_changes(changes) if changes else recipe, args)
