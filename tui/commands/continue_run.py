"""`loratui continue`: more from a run that has ended: epochs more with its optimizer, a new run that begins with its weights, or the
advice of its validation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from loratui.engine.errors import UsageError
from loratui.engine.proof.judgement import read_judgement
from loratui.engine.runs import continuing
from loratui.engine.runs.directory import loratui_home
from loratui.engine.words import listed
from loratui.presets.schema import KEYS
from loratui.tui.commands import common, train

if TYPE_CHECKING:
    from loratui.engine.planning.recipe import Recipe
    from loratui.engine.runs.directory import RunDirectory


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--epochs --step --rates`, `--weights` with what is to be changed, or `--advice`; `--wait --yes --json`."""
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
    parser.add_argument("--advice", metavar="ID", help="what the validation advises (loratui validate RUN prints it)")
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
    if args.advice is not None:
        recipe = _advised(chosen, args)
    elif args.weights:
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


def _advised(run: RunDirectory, args: argparse.Namespace) -> Recipe:
    """The recipe that an advice of the run's validation comes to. Raises `UsageError` for an advice that only a person can follow."""
    from loratui.engine.planning.recipe import read_recipe
    from loratui.engine.proof.next_plan import next_plan

    others = {"--epochs": args.epochs, "--step": args.step, "--rates": args.rates, "--dataset": args.dataset}
    given = [name for name, value in {**others, "--weights": args.weights or None}.items() if value is not None]
    if given:
        raise UsageError(f"--advice and {given[0]} cannot go together.", "To change more, add --set KEY=VALUE.")
    judged = read_judgement(run, read_recipe(run.effective).settings)
    if judged is None:
        raise UsageError(f"{run.name} has no verdict.", f"Make its validation images: loratui validate {run.name}")
    ids = [one.id for one in judged.advice]
    advice = next((one for one in judged.advice if one.id == args.advice), None)
    if advice is None:
        there = f"There are: {', '.join(ids)}." if ids else "Its verdict has no advice."
        raise UsageError(f"{run.name} has no advice {args.advice}.", there)
    found = next_plan(run, advice, loratui_home())
    if found.re_caption:
        folder = found.recipe.settings.dataset.path
        names = listed([Path(name).with_suffix(".txt").name for name in found.re_caption])
        raise UsageError(
            f"Only you can write better captions: {names} in {folder}.",
            f"Then train again: loratui train {run.recipe}",
        )
    return found.recipe
