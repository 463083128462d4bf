"""`loratui validate`: makes the validation images from a run's LoRA files, as a separate job."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TextIO

from loratui.engine import sealed
from loratui.engine.durable import make_directory
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.validation_grid import GRIDS, GridRequest, read_wish
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.lora_files import lora_files, lora_paths
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.tail import Tail
from loratui.presets.schema import Settings, parse_value, replace
from loratui.tui.commands import any_file, common
from loratui.tui.plain.follow import Followed, follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN or `--lora --base --images --trigger --class --preset`, `--grid --file --prompt --strengths --seeds --faces --models --wait --json`."""
    del name
    common.add_run_argument(parser)
    any_file.add_arguments(parser)
    parser.add_argument(
        "--grid",
        choices=[*GRIDS, "all"],
        default="all",
        help="one file at several strengths, the files of all epochs, or all (default: all)",
    )
    parser.add_argument("--file", help="LoRA file for the strengths (default: the final file)")
    parser.add_argument("--prompt", action="append", help="prompt instead of the recipe's, with {subject}; can be repeated")
    parser.add_argument("--strengths", help="strengths such as 0,0.5,1 (default: the recipe's)")
    parser.add_argument("--seeds", type=int, help="seeds for each prompt and strength (default: the recipe's)")
    parser.add_argument(
        "--faces",
        action="store_true",
        help="download the face models for likeness (opencv/face_detection_yunet, MIT, 0.2 MB; opencv/face_recognition_sface, Apache-2.0, 39 MB)",
    )
    parser.add_argument(
        "--models",
        action="store_true",
        help="download the models for prompts and things (laion/CLIP-ViT-B-32-laion2B-s34B-b79K, MIT, 605 MB; facebook/dinov2-small, Apache-2.0, 88 MB)",
    )
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, the job's exit code")


def run(args: argparse.Namespace) -> int:
    """Starts the job and follows it.

    JSON: `run path status exit_code reason remedy grid pictures[] {path grid prompt strength seed file nearest similarity}
    parts[] {id status measures[] images[]} verdict {kind confidence reasons[]} best {file step strength reason}
    advice[] {id change why do} seconds warnings[] {code message remedy}`, where `grid` is the file that lists the images, or null if it was not written.
    """
    out = progress_stream(args.json, args.wait)
    chosen = any_file.run_of(args, out)
    if not lora_paths(chosen):
        raise UsageError(f"{chosen.name} has no LoRA file yet.", "The first one is written after the first epoch.")
    if args.faces:
        _fetch_faces(chosen, out)
    if args.models:
        _fetch_models(chosen, out)
    common.refuse_while_finishing(summarise(chosen))
    make_directory(chosen.validation)
    sealed.write(chosen.validation / "wish.json", _request(args, chosen).to_json(), chosen.path)
    say(out, clean(_cost(chosen)))
    launch(chosen, "validate")
    ended = follow_to_the_end(chosen, "validate", out)
    if ended is None:
        return 130 if args.json or args.wait else 0
    grid = chosen.validation / "grid.json"
    if ended.status == "done":
        say(out, f"The validation images: {clean(chosen.validation)}", as_it_is=True)
        _say_judgement(chosen, out)
    elif ended.verdict.advice:
        say(out, clean(f"{ended.verdict.reason} {ended.verdict.advice}"))
    if args.json:
        common.print_json(_result(ended, str(grid) if grid.is_file() else None))
    return int(ended.exit_code)


def _say_judgement(run: RunDirectory, out: TextIO) -> None:
    from loratui.tui.plain.validation import say_judgement

    say_judgement(run, lambda line: say(out, clean(line)))


def _result(ended: Followed, grid: str | None) -> dict[str, Any]:
    images = {image.path: image for image in ended.store.grid_images}
    listed = [
        {
            "path": str(ended.run.path / p.path),
            "grid": p.grid,
            "prompt": p.prompt,
            "strength": _finite(p.strength),
            "seed": p.seed,
            "file": p.file,
            "nearest": p.nearest,
            "similarity": p.similarity,
        }
        for p in images.values()
    ]
    own = ended.to_json()
    return {
        **{key: own[key] for key in ("run", "path", "status", "exit_code", "reason", "seconds", "warnings")},
        "remedy": own["advice"],
        "grid": grid,
        "pictures": listed,
        "parts": _parts(ended.run),
        **_judgement(ended.run),
    }


def _fetch_faces(run: RunDirectory, out: TextIO) -> None:
    """Brings the face models here. A download that fails is said, and the images are made and measured without."""
    from loratui.engine.proof import face_weights

    say(out, f"Face models: {face_weights.offer()}.")
    try:
        face_weights.fetch(run.fingerprints.parent)
    except LoratuiError as error:
        say(out, clean(f"No likeness by faces: {error}"))


def _fetch_models(run: RunDirectory, out: TextIO) -> None:
    """Brings the models of whole images here, as the face models."""
    from loratui.engine.proof import embedding_weights

    say(out, f"Image models: {embedding_weights.offer()}.")
    try:
        embedding_weights.fetch(run.fingerprints.parent)
    except LoratuiError as error:
        say(out, clean(f"Prompts and things are not measured: {error}"))


def _parts(run: RunDirectory) -> list[dict[str, Any]]:
    """The parts of the validation with their measures, and the images by their full paths."""
    from loratui.engine.proof.kept import read_parts

    parts = read_parts(run.validation / "measures.json")
    for part in parts:
        part["images"] = [{**image, "path": str(run.path / image["path"])} for image in part["images"]]
    return parts


def _judgement(run: RunDirectory) -> dict[str, Any]:
    """Verdict, best file and advice; null and empty where nothing was judged."""
    from loratui.engine.proof.kept import read_judged

    return read_judged(run.validation / "measures.json")


def _cost(run: RunDirectory) -> str:
    """How many images are made, and how long that takes, in a sentence."""
    from loratui.tui import text
    from loratui.tui.validation import grid_images, request

    settings = read_recipe(run.effective).settings
    wish = read_wish(run.validation / "wish.json")
    planned = request.planned(wish, settings, lora_files(run, settings), request.captions_in(run))
    history = RunHistory()
    for batch in Tail(run.validation_events).drain():
        history.apply_batch(batch)
    there = [image for image in history.grid_images if (found := run.file(image.path)) is not None and found.is_file()]
    missing = request.missing(planned, grid_images.merged((), there))
    seconds = history.state.image_s or read_state(run).image_s
    words = f"{text.count(missing, 'image')} to make"
    if not missing:
        return "All images are there; they are measured again."
    if seconds is None:
        return f"{words}; the first one measures the time."
    return f"{words}, {text.time_left(missing * seconds)} at {seconds:.1f} s each, plus loading the base."


def _request(args: argparse.Namespace, run: RunDirectory) -> GridRequest:
    """The request that the options make. Raises `UsageError` for wrong numbers and missing files."""
    validation = read_recipe(run.effective).settings.validation
    changes: dict[str, Any] = {}
    if args.strengths is not None:
        changes["validation.strengths"] = parse_value("validation.strengths", args.strengths)[1]
    if args.seeds is not None:
        changes["validation.seeds"] = args.seeds
    validation = replace(Settings(validation=validation), changes, origin="--").validation
    if any(strength < 0 for strength in validation.strengths):
        raise UsageError(f"--strengths {args.strengths}: expected numbers of at least 0.")
    file = None if args.file is None else f"output/{Path(args.file).name}"
    if file is not None and not run.inside(file).is_file():
        raise UsageError(f"{clean(args.file)}: no such file in the output folder of {run.name}.")
    return GridRequest(
        grids=GRIDS if args.grid == "all" else (args.grid,),
        complete=args.grid == "all" and not (args.prompt or args.strengths or args.seeds or args.file),
        file=file,
        prompts=tuple(args.prompt) if args.prompt else None,
        strengths=validation.strengths if args.strengths is not None else None,
        seeds=args.seeds,
    )


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None
