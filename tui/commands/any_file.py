"""A LoRA file in place of a run: of any program, or the newest of a run that still trains."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import RunDirectory, loratui_home
from loratui.engine.runs.summary import summarise
from loratui.presets.schema import Base
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

_OF_A_FILE = ("base", "images", "trigger", "class_word", "preset")


def add_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """`--lora --base --images --trigger --class --preset`; without `--lora` where `several` files may stand in place of runs."""
    group = parser.add_argument_group("any LoRA file in place of a run")
    if not several:
        group.add_argument("--lora", metavar="FILE", help="a .safetensors LoRA of any program; loratui makes a run of it")
    group.add_argument("--base", metavar="MODEL", help="the base that it is for, as in loratui train")
    group.add_argument("--images", metavar="FOLDER", help="the images that it was trained on, to compare with")
    group.add_argument("--trigger", metavar="WORD", help="its trigger word (default: the one that the file names)")
    group.add_argument("--class", metavar="WORD", dest="class_word", help="general noun for the subject, such as woman")
    group.add_argument("--preset", metavar="NAME", help="preset with prompts and sizes (default: the usual one of the base)")


def run_of(args: argparse.Namespace, out: TextIO) -> RunDirectory:
    """The run that the arguments name, or one made of a LoRA file. Raises `UsageError` for a file that does not fit."""
    if args.lora is not None:
        if args.run_name is not None:
            raise UsageError(f"A run ({args.run_name}) and a file ({args.lora}) were given.", "Give only one.")
        return imported(args, args.lora, out)
    for name in _OF_A_FILE:
        if getattr(args, name) is not None:
            option = name.removesuffix("_word")
            raise UsageError(f"--{option} belongs to a file, and none was given.", "Add --lora FILE, or leave it out.")
    chosen = common.chosen_run(args)
    summary = summarise(chosen)
    if not (summary.active and summary.job == "train") or summary.status == "finishing":
        return chosen
    from loratui.tui.validation import newest

    run, words = newest.take(chosen, loratui_home(), common.this_machine())
    say(out, clean(words))
    return run


def imported(args: argparse.Namespace, file: str, out: TextIO) -> RunDirectory:
    """The run of a file on the base of `args`."""
    from loratui.engine.planning.bases import find_base
    from loratui.engine.planning.recipe import build_recipe
    from loratui.engine.runs.importing import import_file

    if args.base is None:
        raise UsageError("On which base?", "Add --base MODEL; loratui bases lists those on this machine.")
    base = Base(model=args.base)
    spec = families.family(find_base(base).family)
    recipe = build_recipe(
        args.preset or (spec.demo_preset if base.is_embedded else spec.default_preset),
        dataset=Path(args.images) if args.images is not None else None,
        base=args.base,
        trigger=args.trigger or "",
        class_word=args.class_word or "",
    )
    if recipe.settings.base.family != spec.name:
        raise UsageError(f"--preset {args.preset} is for another kind of base than {args.base}.", "Choose another preset.")
    run, said = import_file(Path(file).expanduser().absolute(), recipe, loratui_home())
    say(out, clean(f"{run.name}: {' '.join(said)}"))
    if not args.images:
        say(out, "Without --images nothing is compared with photos: neither likeness nor copies are measured.")
    return run
