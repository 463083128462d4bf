"""`loratui upload`: a LoRA file of a run on the Hugging Face hub, with a model card; shown before anything is sent."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.handover import keep, publish
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.lora_files import lora_files
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import progress_stream, say
from loratui.tui.terminal import clean, clean_lines


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, OWNER/NAME, `--file --as --public --preview --yes --json`."""
    del name
    common.add_run_argument(parser, required=True)
    parser.add_argument("repo", metavar="OWNER/NAME", help="repository on the hub; a missing one is made, private")
    common.add_output_arguments(parser)
    parser.add_argument("--file", metavar="FILE", help="LoRA file, by its name or step (default: as loratui keep)")
    parser.add_argument(
        "--as", dest="keep_as", metavar="NAME", default="", help="name there, without an ending (default: the file's)"
    )
    parser.add_argument("--public", action="store_true", help="let everybody see it")
    parser.add_argument("--preview", action="store_true", help="show what would be uploaded, and upload nothing")
    parser.add_argument("--yes", action="store_true", help="upload without a question")


def run(args: argparse.Namespace) -> int:
    """Shows what would be uploaded, asks, and uploads it.

    JSON: `run repo page visibility public uploaded files[] {name bytes} card`; `visibility` is that before the upload.
    """
    chosen, out = common.chosen_run(args), progress_stream(args.json, False)
    settings = read_recipe(chosen.effective).settings
    file = (
        keep.named_file(chosen, settings, args.file)
        if args.file
        else keep.proposed_file(chosen, settings, lora_files(chosen, settings))
    )
    if not file:
        raise UsageError(f"{chosen.name} has no LoRA file yet.", "The first one is written after the first epoch.")
    with tempfile.TemporaryDirectory(prefix="loratui-") as staging:
        prepared = publish.prepare(chosen, file, args.keep_as, args.repo, Path(staging), public=args.public)
        sizes = {name: path.stat().st_size for name, path in prepared.files.items()}
        say(out, clean(f"To {prepared.page}, {prepared.becomes}:"))
        for name, size in sizes.items():
            say(out, clean(f"  {name}  {text.size(size)}"), as_it_is=True)
        say(out, f"\n{clean_lines(prepared.card)}", as_it_is=True)
        uploaded = not args.preview and _agreed(args) and publish.upload(prepared)
    if args.json:
        common.print_json(
            {
                "run": chosen.name,
                "repo": prepared.repo,
                "page": prepared.page,
                "visibility": prepared.visibility,
                "public": prepared.public,
                "uploaded": uploaded,
                "files": [{"name": name, "bytes": size} for name, size in sizes.items()],
                "card": prepared.card,
            }
        )
    else:
        say(out, clean(f"Uploaded, with the same hashes there: {prepared.page}" if uploaded else "Nothing was uploaded."))
    return 0


def _agreed(args: argparse.Namespace) -> bool:
    if args.yes:
        return True
    if not common.can_ask():
        raise UsageError("Nothing was uploaded: there is nobody to ask.", "Add --yes, or --preview to look only.")
    return common.ask("Upload this?", default=False)
