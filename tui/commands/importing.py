"""`loratui import`: makes a recipe of another trainer's settings, and says what becomes of each value."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine import durable, families
from loratui.engine.errors import ExitCode, UsageError
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.importing.reading import Said
    from loratui.engine.importing.result import Imported

_TITLES = (
    ("changed", "Means something else here, or has no match"),
    ("not_understood", "Not understood"),
    ("taken", "Taken"),
    ("does_nothing", "Changes nothing of what is learnt"),
)


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """FILE, `--to --dataset --images --family --json`."""
    del name
    parser.add_argument(
        "file",
        metavar="FILE|FOLDER",
        help="settings of kohya_ss, sd-scripts, FluxGym, OneTrainer, ai-toolkit, SimpleTuner or Civitai's trainer, or a LoRA file",
    )
    common.add_output_arguments(parser)
    parser.add_argument("--to", metavar="RECIPE", help="write the recipe to this .toml file; loratui train runs it")
    parser.add_argument("--dataset", metavar="FOLDER", help="the images here, in place of the folder that the file names")
    parser.add_argument("--images", metavar="N", type=int, help="number of images, to count the steps without a folder")
    parser.add_argument(
        "--family",
        choices=[spec.name for spec in families.FAMILIES],
        help="kind of base, where the file does not say it",
    )


def run(args: argparse.Namespace) -> int:
    """Reads the file, and writes the recipe if `--to` asks for it.

    JSON: `Imported.to_json`, and `written`, the file of the recipe or null. Exit code 2 where no recipe can be made.
    """
    from loratui.engine.importing.result import import_settings

    if args.images is not None and not 1 <= args.images <= 1_000_000:
        raise UsageError(f"--images {args.images}: not a number of images.", "Give a number of at least 1.")
    target = _target(args.to)
    dataset = Path(args.dataset).expanduser() if args.dataset else None
    found = import_settings(Path(args.file).expanduser(), dataset=dataset, images=args.images or 0, family=args.family or "")
    if found.recipe is not None and target is not None:
        durable.write_new(target, found.recipe.to_toml().encode())
    if args.json:
        common.print_json({**found.to_json(), "written": str(target) if found.recipe is not None and target else None})
    else:
        for line in _lines(found, target):
            say(sys.stdout, clean(line))
    return int(ExitCode.DONE if found.recipe is not None else ExitCode.USAGE)


def _target(to: str | None) -> Path | None:
    if to is None:
        return None
    target = Path(to).expanduser().absolute()
    if target.suffix != ".toml":
        raise UsageError(f"{target}: a recipe's name ends with .toml.", "Give such a name.")
    if target.exists() or not target.parent.is_dir():
        why = "this file already exists" if target.exists() else "there is no such folder"
        raise UsageError(f"{target}: {why}.", "Choose another --to.")
    return target


def _lines(found: Imported, target: Path | None) -> Iterator[str]:
    yield f"{found.path}: settings of {found.tool}"
    for kind, title in _TITLES:
        listed = [one for one in found.said if one.kind == kind]
        if listed:
            yield ""
            yield f"{title} ({len(listed)}):"
            yield from (f"  {line}" for one in listed for line in _value(one))
    yield ""
    if found.problem:
        yield found.problem
        return
    steps = found.steps
    theirs = "unknown" if steps.theirs is None else text.count(steps.theirs, "optimizer step")
    ours = "unknown" if steps.ours is None else text.count(steps.ours, "optimizer step")
    yield f"Steps: theirs {theirs}, loratui's {ours}."
    yield f"  {steps.why}"
    yield from (f"! {note}" for note in found.notes)
    assert found.recipe is not None
    if target is not None:
        yield f"Written: {target}. To train it: loratui train {target.name}"
    else:
        yield "To keep it: --to recipe.toml"


def _value(one: Said) -> Iterator[str]:
    value = "" if one.value is None else f" = {one.value}"
    sets = ", ".join(f"{key} = {common.as_toml(new)}" for key, new in one.sets.items())
    yield f"{one.key}{value}{' (not in the file)' if not one.given else ''}{f' → {sets}' if sets else ''}"
    if one.why and one.kind != "does_nothing":
        yield f"    {one.why}"
