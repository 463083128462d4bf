"""`loratui recipe`: a recipe in the words of another trainer, and what of it these cannot say."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments that choose a recipe, and `--as --to --images --json`."""
    del name
    common.add_recipe_arguments(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--as", metavar="TRAINER", dest="trainer", choices=["sd-scripts"], required=True, help="sd-scripts")
    parser.add_argument("--images", metavar="N", type=int, help="number of images, instead of a folder")
    parser.add_argument("--to", metavar="FOLDER", help="write NAME.toml and NAME-dataset.toml to this folder")


def run(args: argparse.Namespace) -> int:
    """Prints or writes both files.

    JSON: `training dataset` as tables, `cannot[] {key value why}`, `steps` (optimizer steps), `written[]`.
    """
    from loratui.engine.dataset.scan import scan
    from loratui.engine.importing.as_sd_scripts import as_sd_scripts, to_toml
    from loratui.engine.planning.schedule import make_plan, plan_for_counts

    recipe = common.recipe_from_args(args)
    folder = recipe.settings.dataset.path
    if args.images is not None and not 1 <= args.images <= 1_000_000:
        raise UsageError(f"--images {args.images}: not a number of images.", "Give a number of at least 1.")
    if args.images is None and not folder:
        raise UsageError("Repeats and epochs depend on the images.", "Give the folder, or --images N.")
    plan = plan_for_counts(recipe, args.images) if args.images is not None else make_plan(recipe, scan(Path(folder)))
    found = as_sd_scripts(recipe, plan)
    name = str(found.training["output_name"])
    dataset_name = f"{name}-dataset.toml"
    heading = f"Made by loratui of the recipe{f' {recipe.preset}' if recipe.preset else ''}."
    training = to_toml(
        {**found.training, "dataset_config": dataset_name}, f"{heading} To train: accelerate launch … --config_file {name}.toml"
    )
    dataset = to_toml(found.dataset, heading)
    written: list[Path] = []
    if args.to is not None:
        target = Path(args.to).expanduser().absolute()
        if not target.is_dir():
            raise UsageError(f"{target}: no such folder.", "Create it, or choose another --to.")
        for file, text in ((target / f"{name}.toml", training), (target / dataset_name, dataset)):
            try:
                durable.write_new(file, text.encode())
            except FileExistsError:
                raise UsageError(f"{file}: this file already exists.", "Choose another --to.") from None
            written.append(file)
    if args.json:
        cannot = [{"key": key, "value": value, "why": why} for key, value, why in found.cannot]
        common.print_json({"training": dict(found.training), "dataset": dict(found.dataset), "cannot": cannot,
                           "steps": plan.optimizer_steps, "written": [str(path) for path in written]})  # fmt: skip
        return 0
    if not written:
        for title, text in ((f"{name}.toml", training), (dataset_name, dataset)):
            say(sys.stdout, clean(f"# {title}"))
            for line in text.splitlines():
                say(sys.stdout, clean(line), as_it_is=True)
            say(sys.stdout, "")
    for path in written:
        say(sys.stdout, clean(f"Written: {path}"))
    for key, value, why in found.cannot:
        say(sys.stderr, clean(f"! {key} = {common.as_toml(value)}: {why}"))
    return 0
