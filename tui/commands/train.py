"""`loratui train`: plans a run, starts it detached, and follows it in plain lines."""

from __future__ import annotations

import argparse

from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import loratui_home
from loratui.tui.commands import common
from loratui.tui.follow import follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """DATASET or recipe.toml, the recipe's flags, `--wait --yes --json`."""
    del name
    common.add_recipe_arguments(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, exit code of the run")
    parser.add_argument("--yes", action="store_true", help="start without asking about warnings")


def run(args: argparse.Namespace) -> int:
    """Starts and follows a run; returns the run's exit code, or 0 if the person left it running.

    JSON: `run path status exit_code reason advice output outputs samples images epochs epoch optimizer_steps image_steps
    planned_optimizer_steps planned_image_steps loss loss_smoothed seconds warnings[] {code message remedy}`. Paths are absolute;
    `output` is null before the first LoRA file.
    """
    from loratui.engine.planning.prepare import prepare

    home = loratui_home()
    recipe = common.recipe_from_args(args)
    out = progress_stream(args.json, args.wait)
    prepared = prepare(recipe, home)
    common.say_findings([f for f in prepared.findings if f.severity != "error"], out)
    common.refuse_errors(prepared.errors)
    say(out, clean(prepared.plan.formula))
    warned = any(finding.severity == "warning" for finding in prepared.findings)
    if warned and not (args.yes or args.wait or args.json) and common.can_ask() and not common.ask("Start?", default=True):
        raise UsageError("Not started.", "Nothing was written.")
    started = common.start_prepared(prepared, home)
    say(out, f"{started.name} runs on its own, in {clean(started.path)}", as_it_is=True)
    if not (args.wait or args.json):
        say(out, f"Ctrl-C leaves it running; loratui attach {started.name} comes back to it.")
    return common.conclude(follow_to_the_end(started, "train", out, past=True), args, out)
