"""`loratui validate`: makes the strength grid of a run from its LoRA file, as a job of its own."""

from __future__ import annotations

import argparse
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.runs.launcher import launch
from loratui.tui.commands import common
from loratui.tui.follow import Followed, follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--wait --json`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, exit code of the job")


def run(args: argparse.Namespace) -> int:
    """Starts the job and follows it.

    JSON: `run path status exit_code reason advice grid pictures[] {path prompt strength seed} seconds`, where `grid` is the
    file that lists the pictures, or null if it was not written.
    """
    chosen = common.chosen_run(args)
    out = progress_stream(args.json, args.wait)
    if not any(chosen.output.glob("*.safetensors")):
        raise UsageError(f"{chosen.name} has no LoRA file yet.", "The first one is written after the first epoch.")
    launch(chosen, "validate")
    ended = follow_to_the_end(chosen, "validate", out)
    if ended is None:
        return 130 if args.json or args.wait else 0
    grid = chosen.validation / "grid.json"
    if ended.status == "done":
        say(out, f"Strength grid: {clean(chosen.validation)}")
    elif ended.advice:
        say(out, clean(f"{ended.reason} {ended.advice}"))
    if args.json:
        common.print_json(_result(ended, str(grid) if grid.is_file() else None))
    return int(ended.exit_code)


def _result(ended: Followed, grid: str | None) -> dict[str, Any]:
    pictures = {picture.path: picture for picture in ended.state.pictures}
    listed = [
        {"path": str(ended.run.path / p.path), "prompt": p.prompt, "strength": _finite(p.strength), "seed": p.seed}
        for p in pictures.values()
    ]
    own = ended.to_json()
    return {
        **{key: own[key] for key in ("run", "path", "status", "exit_code", "reason", "advice", "seconds")},
        "grid": grid,
        "pictures": listed,
    }


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None
