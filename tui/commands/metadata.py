"""`loratui metadata`: shows, removes or previews the metadata of a LoRA file."""

from __future__ import annotations

import argparse
import stat
import sys
from pathlib import Path

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.formats.lora_facts import LoraFileFacts, lora_file_facts, without_metadata
from loratui.engine.runs.lora_hashes import difference
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

LONGEST_VALUE = 300
"""Most characters of a value that are shown; --json has all."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """show|strip|preview TARGET, `--output --in-place --json`."""
    del name
    parser.add_argument(
        "action", choices=["show", "strip", "preview"], help="show or strip the metadata of a FILE; preview that of a RUN"
    )
    parser.add_argument(
        "target",
        metavar="FILE|RUN",
        nargs="?",
        help="a .safetensors file; for preview a run or a recipe.toml (default: the active run, else the newest)",
    )
    common.add_output_arguments(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="strip: the new file or its folder (default: NAME-stripped.safetensors beside it)"
    )
    parser.add_argument("--in-place", action="store_true", help="strip: replace the file; the old one is kept as NAME.orig")


def run(args: argparse.Namespace) -> int:
    """Shows, strips or previews.

    JSON of show: `path bytes tensors layers form ranks dtypes metadata unknown[] private[] difference`; of strip:
    `path kept removed[] bytes`, and `difference` where there is one: how the file differs from its hashes;
    of preview: `metadata`.
    """
    if args.action != "strip" and (args.output or args.in_place):
        raise UsageError(f"--output and --in-place belong to strip; {args.action} writes no file.", "Leave them out.")
    if args.action == "preview":
        return _preview(args)
    if args.target is None:
        raise UsageError("No file was given.", f"Use loratui metadata {args.action} FILE.safetensors")
    path = Path(args.target).expanduser()
    facts = lora_file_facts(path)
    differs = difference(path) if facts.layers else ""
    return (_strip if args.action == "strip" else _show)(args, facts, differs)


def _show(args: argparse.Namespace, facts: LoraFileFacts, differs: str) -> int:
    if args.json:
        common.print_json(
            {
                "path": str(facts.path),
                "bytes": facts.bytes,
                "tensors": facts.tensors,
                "layers": facts.layers,
                "form": facts.form,
                "ranks": {str(rank): count for rank, count in facts.ranks.items()},
                "dtypes": dict(facts.dtypes),
                "metadata": dict(facts.metadata),
                "unknown": list(facts.unknown),
                "private": list(facts.private),
                "difference": differs,
            }
        )
        return 0
    known = [
        facts.form,
        text.count(facts.layers, "layer"),
        *(f"rank {rank}" for rank in facts.ranks),
    ]  # a whole LoKr has no rank
    kind = ", ".join(known) if facts.layers else "not a known kind of LoRA"
    say(sys.stdout, clean(f"{facts.path}: {kind}, {', '.join(facts.dtypes) or 'no tensors'}, {text.size(facts.bytes)}"))
    if differs:
        say(sys.stdout, f"  ! {differs}")
    for key in sorted(facts.metadata):
        say(sys.stdout, clean(f"  {key} = {facts.metadata[key]}", LONGEST_VALUE), as_it_is=True)
    if not facts.metadata:
        say(sys.stdout, "  no metadata")
    if facts.unknown and facts.layers:
        some = ", ".join(facts.unknown[:3]) + (" …" if len(facts.unknown) > 3 else "")
        say(sys.stdout, clean(f"  {text.count(len(facts.unknown), 'tensor')} of unknown kind: {some}", LONGEST_VALUE))
    if facts.private:
        names = ", ".join(facts.private)
        say(sys.stdout, clean(f"Not written by loratui, perhaps private: {names}. To remove it: loratui metadata strip FILE"))
    return 0


def _strip(args: argparse.Namespace, facts: LoraFileFacts, differs: str) -> int:
    from loratui.engine import durable

    path = facts.path.absolute()
    kept: Path | None = None
    data = without_metadata(path)
    if args.in_place:
        if args.output:
            raise UsageError("--in-place and --output cannot be combined.", "Use one of them.")
        kept = path.with_name(f"{path.name}.orig")
        target = path
        try:
            durable.keep_as(path, kept)
        except FileExistsError:
            raise UsageError(f"{kept}: this file already exists.", "Move it away first.") from None
    else:
        beside = path.with_name(f"{path.stem}-stripped.safetensors")
        target = Path(args.output).expanduser().absolute() if args.output else beside
        if target.is_dir():
            target /= beside.name
        if not target.parent.is_dir():
            raise UsageError(f"{target.parent}: no such folder.", "Create it, or choose another --output.")
        if target.exists():
            raise UsageError(f"{target}: this file already exists.", "Choose another --output.")
    mode = path.stat().st_mode
    durable.write_file(target, data)
    if args.in_place:
        target.chmod(stat.S_IMODE(mode))  # keeps the access rights
    removed = sorted(key for key in facts.metadata if key != "format")
    if args.json:
        result = {"path": str(target), "kept": None if kept is None else str(kept), "removed": removed, "bytes": len(data)}
        common.print_json({**result, "difference": differs} if differs else result)
        return 0
    if differs:
        say(sys.stdout, f"! {differs}")
    said = f"{target}: {text.count(len(removed), 'value')} removed; all tensors unchanged."
    say(sys.stdout, clean(f"{said} The old file is {kept}." if kept else said))
    return 0


def _preview(args: argparse.Namespace) -> int:
    from loratui.engine.formats.metadata import LoraFacts, build_metadata, default_layout
    from loratui.engine.planning.recipe import read_recipe
    from loratui.engine.runs.lora_files import output_name

    named = args.target
    args.run_name = named
    recipe = read_recipe(Path(named).expanduser() if named and named.endswith(".toml") else common.chosen_run(args).effective)
    settings = recipe.settings
    table = build_metadata(
        LoraFacts(
            settings=settings,
            title=output_name(settings),
            layout=default_layout(settings),
            prediction="v"
            if settings.base.prediction == "v"
            else ""
            if families.family(settings.base.family).objective == "flow"
            else "epsilon",
            step=0,
            epoch=0,
            epochs=settings.schedule.epochs,
            images=0,
            optimizer=settings.optimizer.name,
            precision=settings.training.precision,
        )
    )
    # Known only when the file is written.
    for key in ("ss_steps", "ss_epoch", "ss_num_train_images"):
        table[key] = "(a number)"
    for key in ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"):
        table[key] = "(a hash of the tensors)"
    if args.json:
        common.print_json({"metadata": table})
        return 0
    say(sys.stdout, "The metadata that its LoRA file will hold:")
    for key in sorted(table):
        say(sys.stdout, clean(f"  {key} = {table[key]}", LONGEST_VALUE), as_it_is=True)
    return 0
