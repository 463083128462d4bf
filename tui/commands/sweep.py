"""`loratui sweep`: runs over one dataset that differ in a few settings, put into the queue with their validations."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.runs.directory import delete_run, loratui_home
from loratui.tui import text
from loratui.tui.commands import common, sweeps
from loratui.tui.plain.follow import progress_stream, say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.findings import Finding
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.planning.sweep import Over, Variant
    from loratui.engine.runs.sweeps import Sweep

_LOOK_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The recipe's flags, `--over --jobs --wait --yes --json`."""
    del name
    common.add_recipe_arguments(parser)
    parser.add_argument(
        "--over",
        metavar="KEY=VALUE,VALUE",
        action="append",
        default=[],
        help="a setting and its values, such as rank=8,16,32; again for another setting: every combination is a run",
    )
    parser.add_argument("--jobs", metavar="FOLDER", help="write a SkyPilot job for each run there, and start none here")
    common.add_output_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="for scripts: wait for all runs, then compare them")
    parser.add_argument("--yes", action="store_true", help="start despite warnings, without asking")


def run(args: argparse.Namespace) -> int:
    """Makes the runs and puts them into the queue; each is validated after its training.

    JSON: as `loratui sweeps NAME`. With `--wait` it returns 0 if every run is done, else 1.
    """
    from loratui.engine.planning.sweep import parse_over, variants

    if args.jobs is not None and args.wait:
        raise UsageError("--jobs starts nothing here, so there is nothing to wait for.", "Leave out --wait.")
    recipe = common.recipe_from_args(args)
    overs = [parse_over(words, "--over ") for words in args.over]
    home, out = loratui_home(), progress_stream(args.json, args.wait)
    found = variants(recipe, overs)
    machine = common.this_machine()
    prepared = prepare_all(found, home, machine)
    _tell(found, prepared, machine, args.price, out)
    if args.jobs is not None:
        return _write_jobs(Path(args.jobs), found, overs, home, args, out)
    _ask(prepared, args, out)
    sweep = make_all(found, prepared, overs, home)
    say(
        out,
        clean(
            f"{sweep.name}: {text.count(len(sweep.members), 'run')} in the queue. loratui sweeps {sweep.name} compares them."
        ),
    )
    if not args.wait:
        return sweeps.show(sweep, args)
    done = _wait(home, sweep, out)
    sweeps.show(sweep, args)
    return int(ExitCode.DONE if done else ExitCode.WARNINGS)


def prepare_all(found: Sequence[Variant], home: Path, machine: Accelerator) -> list[Prepared]:
    """Each run, prepared; the images are decoded for the first alone. Raises the first error, which names its run."""
    from loratui.engine.runs.continuing import prepare

    prepared = []
    for at, variant in enumerate(found):
        one = prepare(variant.recipe, home, machine=machine, **({} if at == 0 else {"decode_budget_s": 0.0}))
        try:
            common.refuse_errors(one.errors)
        except LoratuiError as error:
            error.message = f"{variant.words}: {error.message}"
            raise
        prepared.append(one)
    return prepared


def _tell(
    found: Sequence[Variant], prepared: Sequence[Prepared], machine: Accelerator, price: float | None, out: TextIO
) -> None:
    """What will be trained, what there is to warn of, and how long it takes as far as that is known."""
    from loratui.engine.planning.estimate import estimate
    from loratui.engine.planning.measured import read_all

    measurements = read_all()
    costs = [estimate(one.recipe, one.plan, machine, price_per_hour=price, measurements=measurements).here for one in prepared]
    say(out, clean(f"{text.count(len(found), 'run')} over {text.count(prepared[0].plan.images, 'image')}:"))
    for variant, one, cost in zip(found, prepared, costs, strict=True):
        time_s = f", about {text.duration(cost.time_s[1])}" if cost.time_s else ""
        say(out, clean(f"  {variant.words}: {text.count(one.plan.optimizer_steps, 'optimizer step')}{time_s}"))
    known = [cost.time_s for cost in costs if cost.time_s]
    if len(known) == len(costs):
        low, high = (sum(one[end] for one in known) for end in (0, 1))
        say(out, f"Together {text.duration(low)} to {text.duration(high)} of training, and the validations.")
    common.say_findings(_all_warnings(prepared), out)


def _all_warnings(prepared: Sequence[Prepared]) -> list[Finding]:
    """The findings of the first run, and the warnings of the others; each code once."""
    others = (found for one in prepared[1:] for found in one.findings if found.severity == "warning")
    return list({found.code: found for found in (*others, *prepared[0].findings)}.values())


def _ask(prepared: Sequence[Prepared], args: argparse.Namespace, out: TextIO) -> None:
    warnings = [found.code for found in _all_warnings(prepared) if found.severity == "warning"]
    if args.yes or args.wait or args.json or not common.can_ask():
        if warnings:
            say(out, clean(f"Starting despite {text.count(len(warnings), 'warning')}: {', '.join(warnings)}."))
    elif not common.ask(f"Make {text.count(len(prepared), 'run')}?", default=True):
        raise UsageError("Not started.", "Nothing was written.")


def make_all(found: Sequence[Variant], prepared: Sequence[Prepared], overs: Sequence[Over], home: Path) -> Sweep:
    """Makes all runs, and only then puts them into the queue: a sweep waits whole or not at all."""
    from loratui.engine.runs import sweeps as kept
    from loratui.engine.runs.queue import adding
    from loratui.engine.runs.queue.entries import Entry
    from loratui.engine.runs.queue.start import ensure_watched

    keys = tuple(over.key for over in overs)
    sweep = kept.create(home, common.run_stem(prepared[0].recipe), keys, len(found))
    made = []
    try:
        for variant, one in zip(found, prepared, strict=True):
            made.append(common.make_run(one, home))
            member = kept.Member(made[-1].name, str(made[-1].path), variant.values)
            sweep = replace(sweep, members=(*sweep.members, member))
        kept.write(home, sweep)
        rows = []
        for at, run in enumerate(made):
            before = made[at - 1].name if at else ""
            rows += [Entry(run=run.name, cache_from=before), Entry(run=run.name, job="validate", cache_from=before)]
        adding.add_all(home, rows)
    except BaseException:
        for run in made:
            with contextlib.suppress(LoratuiError):
                delete_run(run)
        with contextlib.suppress(LoratuiError):
            kept.remove(home, sweep.name)
        raise
    ensure_watched(home)
    return sweep


def _write_jobs(
    folder: Path, found: Sequence[Variant], overs: Sequence[Over], home: Path, args: argparse.Namespace, out: TextIO
) -> int:
    """A job file for each run, and the sweep without its runs, which are collected later. JSON: `name jobs[]`."""
    from loratui.engine.runs import sky_jobs
    from loratui.engine.runs import sweeps as kept

    sweep = kept.create(home, common.run_stem(found[0].recipe), tuple(over.key for over in overs), len(found))
    try:
        paths = sky_jobs.write_jobs(folder, sweep, found)
        names = [sky_jobs.job_name(sweep, number) for number in range(1, len(found) + 1)]
        members = tuple(kept.Member(name, "", one.values) for name, one in zip(names, found, strict=True))
        kept.write(home, replace(sweep, members=members))
    except BaseException:
        kept.remove(home, sweep.name)
        raise
    model = found[0].recipe.settings.base.model
    if Path(model).expanduser().exists():
        say(
            out,
            clean(
                f"The base {model} is on this machine alone: put it into the bucket, and its path there into BASE and RECIPE."
            ),
        )
    for path, one in zip(paths, found, strict=True):
        say(out, clean(f"{path}: {one.words}"), as_it_is=True)
    say(
        out,
        clean(
            f"From a clone of loratui: for job in {shlex.quote(str(folder))}/*.yaml; do sky jobs launch -y --env BUCKET=NAME $job; done"
        ),
        as_it_is=True,
    )
    say(out, clean(f"Copy the bucket to a folder afterwards, then: loratui sweeps {sweep.name} --collect FOLDER"))
    if args.json:
        common.print_json({"name": sweep.name, "jobs": [str(path) for path in paths]})
    return 0


def _wait(home: Path, sweep: Sweep, out: TextIO) -> bool:
    """Until no run of the sweep waits or is at work; whether all are done. Raises `UsageError` where the queue is put on hold."""
    from loratui.engine.runs.queue import entries
    from loratui.engine.runs.summary import summarise

    told: dict[str, str] = {}
    while True:
        queue = entries.read(home)
        at_work = False
        for member in sweep.members:
            assert member.directory is not None
            found = summarise(member.directory, queue=queue)
            at_work = at_work or found.active
            words = "being validated" if found.job == "validate" else found.status
            if told.get(member.run, "queued") != words and words not in ("queued", "starting"):
                say(out, clean(f"{member.run} ({values(member.values)}) is {words}."))
            told[member.run] = words
        names = {member.run for member in sweep.members}
        if not at_work and not any(entry.run in names for entry in queue.entries):
            return all(words == "done" for words in told.values())
        if queue.on_hold and not at_work:
            raise UsageError(f"The queue is on hold: {queue.on_hold}", "To let it go on: loratui queue go")
        time.sleep(_LOOK_EVERY_S)


def values(of: Mapping[str, Any]) -> str:
    """The values of a run in words."""
    from loratui.engine.planning.sweep import values_in_words

    return values_in_words(of)
