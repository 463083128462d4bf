"""`loratui train`: plans a run, starts it in the background, and follows it in plain lines."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from loratui.engine.errors import UsageError
from loratui.engine.planning.world import OWN_STORE
from loratui.engine.runs.directory import loratui_home
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.findings import Finding
    from loratui.engine.planning.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """DATASET or recipe.toml, the recipe's flags, `--wait --yes --json`."""
    del name
    common.add_recipe_arguments(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr, the run's exit code")
    parser.add_argument(
        "--machines",
        metavar="N",
        type=int,
        default=1,
        help="share --gpus among N machines: makes the run, and prints what starts it",
    )
    parser.add_argument("--queue", action="store_true", help="start it after the runs that wait (see loratui queue)")
    parser.add_argument("--yes", action="store_true", help="start despite warnings, without asking")


def run(args: argparse.Namespace) -> int:
    """Starts and follows a run; returns the run's exit code, or 0 if the person left it running.

    JSON: `run path status exit_code reason advice output outputs samples images epochs epoch optimizer_steps image_steps
    planned_optimizer_steps planned_image_steps loss loss_smoothed seconds warnings[] {code message remedy} findings[] {id severity
    message why remedy files} not_checked[] {id reason}`. Paths are absolute; `output` is null before the first LoRA file.

    With `--machines` above 1 it makes the run and starts nothing; JSON: `run path command`. With `--queue` it makes the run, which the
    queue starts; JSON: `run path place`.

    Errors prevent the start, even with `--yes`; those of the images have exit code 3. Warnings are listed and do not prevent it:
    on a terminal it asks first, unless `--yes`, `--wait` or `--json` is given.
    """
    recipe = common.recipe_from_args(args)
    processes = recipe.settings.training.processes
    if args.machines < 1 or processes % args.machines:
        raise UsageError(
            f"--machines {args.machines}: {text.count(processes, 'GPU')} cannot be shared among them.",
            "Give --gpus the number of GPUs of all machines together.",
        )
    return carry_out(recipe, args, machines=args.machines)


def carry_out(recipe: Recipe, args: argparse.Namespace, *, machines: int = 1) -> int:
    """Prepares a recipe, tells what is to be told, starts it and follows it, or adds it to the queue; `args` has `json wait yes queue`."""
    from loratui.engine.planning.rates import learning_in_words
    from loratui.engine.runs.continuing import prepare
    from loratui.tui.wizard.draft import changes_sentence

    if args.queue and (args.wait or machines > 1):
        raise UsageError("--queue goes neither with --wait nor with --machines.", "Leave one of them out.")
    home, processes = loratui_home(), recipe.settings.training.processes
    out = progress_stream(args.json, args.wait)
    prepared = prepare(recipe, home, machine=common.this_machine())
    # The first error comes last: it ends the command.
    common.say_findings([*(f for f in prepared.findings if f.severity != "error"), *prepared.errors[1:]], out)
    for line in common.not_checked_lines(prepared.not_checked):
        say(out, line)
    # What this machine lacks, the others may have.
    common.refuse_errors([found for found in prepared.errors if machines == 1 or found.code != "too_few_gpus"])
    for line in (prepared.plan.formula, learning_in_words(prepared.recipe.settings), changes_sentence(prepared.recipe)):
        if line:
            say(out, clean(line))
    _start_over_warnings(prepared.findings, args, out)
    if machines > 1:
        made = common.make_run(prepared, home)
        say(out, f"{made.name} is made, in {clean(made.path)}. Start it with this line on each machine, HOST being the first:")
        line = torchrun_line(made.path, machines, processes // machines)
        say(out, clean(line), as_it_is=True)
        if args.json:
            common.print_json({"run": made.name, "path": str(made.path), "command": line})
        return 0
    if args.queue:
        waiting, place = common.queue_prepared(prepared, home)
        say(out, clean(f"{waiting.name} is number {place} in the queue. loratui queue shows it."))
        if args.json:
            common.print_json({"run": waiting.name, "path": str(waiting.path), "place": place})
        return 0
    started = common.start_prepared(prepared, home)
    say(out, f"{started.name} runs in the background, in {clean(started.path)}", as_it_is=True)
    if not (args.wait or args.json):
        say(out, f"Ctrl-C leaves, and the run continues. To return: loratui attach {started.name}")
    found = common.findings_json(prepared.findings, prepared.not_checked)
    return common.conclude(follow_to_the_end(started, "train", out, past=True), args, out, found)


def torchrun_line(run: Path, machines: int, each: int) -> str:
    """The command that trains a run on one of several machines."""
    places = f"--nnodes {machines} --nproc-per-node {each} --rdzv-backend c10d --rdzv-endpoint HOST:29400 --rdzv-id {run.name}"
    return f"{OWN_STORE}=1 torchrun {places} --max-restarts 3 -m loratui.engine.training {shlex.quote(str(run))}"


def _start_over_warnings(findings: Sequence[Finding], args: argparse.Namespace, out: TextIO) -> None:
    """Asks whether to start despite warnings if somebody can answer, else names them.

    Raises `UsageError` if the answer is no.
    """
    warnings = [finding.code for finding in findings if finding.severity == "warning"]
    if not warnings:
        return
    which = f"{text.count(len(warnings), 'warning')}: {', '.join(dict.fromkeys(warnings))}"
    if args.yes or args.wait or args.json or not common.can_ask():
        say(out, clean(f"Starting despite {which}."))
    elif not common.ask(clean(f"Start despite {which}?"), default=True):
        raise UsageError("Not started.", "Nothing was written.")
