"""`loratui plan`: repeats, epochs, steps, costs and warnings of a recipe, with or without a folder of images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.families.figures import Range
from loratui.engine.findings import GRAVE, Finding, counted
from loratui.engine.planning import loss_weights, rates
from loratui.engine.planning.estimate import Cost, Estimate, estimate
from loratui.engine.planning.measured import read_all
from loratui.engine.planning.plan import Plan, regularisation_cost
from loratui.engine.planning.preflight import check_plan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.engine.runs.continuing import prepare
from loratui.engine.runs.directory import loratui_home
from loratui.engine.words import listed
from loratui.presets import schema
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.findings import in_full
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean
from loratui.tui.wizard.draft import value_in_words

MOST_IMAGES = 1_000_000
"""More than any folder has; a typing error must not fill the memory."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The flags of `plan`."""
    del name
    common.add_recipe_arguments(parser)
    common.add_output_arguments(parser)
    parser.add_argument("--images", type=int, metavar="N", help="number of images, instead of a folder")
    parser.add_argument("--concept-images", metavar="N,N,…", help="number of images of each concept, instead of a folder")
    parser.add_argument("--save", metavar="FILE", help="write the recipe to FILE; loratui train FILE runs it")


def run(args: argparse.Namespace) -> int:
    """Prints the plan.

    JSON: every field of `Plan` (`images repeats epochs image_steps optimizer_steps exposures_per_image steps_per_epoch
    batch_size rule formula …`, `concepts[] {name images repeats …}`, `warnings[] {code message remedy source}`), and
    `preset estimate {lora disk here elsewhere[]} findings[] not_checked[] effective_alpha changed settings`.
    """
    counts = _counts(args)
    recipe = common.recipe_from_args(args)
    if args.price is not None and not 0 <= args.price < 1e6:
        raise UsageError(f"--price {args.price}: not a price per hour.", "Give a number such as 0.79.")
    findings: Sequence[Finding] = ()
    not_checked: Sequence[tuple[str, str]] = ()
    machine = common.this_machine()
    if counts:
        plan = plan_for_counts(recipe, sum(counts), counts if len(counts) > 1 else ())
        findings = check_plan(recipe, plan, machine)
    else:
        prepared = prepare(recipe, loratui_home(), machine=machine)
        recipe, plan, findings = prepared.recipe, prepared.plan, prepared.findings
        not_checked = prepared.not_checked
    if args.save:
        save_recipe(recipe, Path(args.save))
    cost = estimate(recipe, plan, machine, price_per_hour=args.price, measurements=read_all())
    if args.json:
        common.print_json(as_json(recipe, plan, cost, findings, not_checked))
    else:
        for line in (*as_text(recipe, plan, cost, findings), *common.not_checked_lines(not_checked)):
            say(sys.stdout, clean(line))
    return 0


def _counts(args: argparse.Namespace) -> tuple[int, ...]:
    """The numbers of images that were given instead of a folder; empty without them.

    Raises `UsageError` for impossible numbers.
    """
    if args.images is None and args.concept_images is None:
        return ()
    if args.dataset or args.dataset_option:
        given = args.dataset or args.dataset_option
        if not given.endswith(".toml"):
            raise UsageError(f"A folder ({given}) and a number of images were given.", "Give only one.")
    if args.concept_images is None:
        counts: tuple[int, ...] = (args.images,)
    else:
        words = args.concept_images.split(",")
        if not all(word.strip().isdecimal() for word in words):
            raise UsageError(f"--concept-images {args.concept_images}: expected numbers such as 51,43,32.")
        counts = tuple(int(word) for word in words)
        if args.images is not None and args.images != sum(counts):
            raise UsageError(f"--images {args.images} is not the sum of --concept-images, {sum(counts)}.", "Leave it out.")
    if min(counts) < 1 or sum(counts) > MOST_IMAGES:
        raise UsageError(
            f"No plan is possible for {text.count(min(counts), 'image')}.",
            f"Give a number from 1 to {text.number(MOST_IMAGES)}.",
        )
    return counts


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the recipe to a new file.

    Raises `UsageError` if there is one already, or it cannot be written.
    """
    try:
        durable.write_new(path, recipe.to_toml().encode("utf-8"))
    except FileExistsError:
        raise UsageError(f"{path}: this file already exists.", "Choose another name with --save.") from None
    except DiskError as error:
        raise UsageError(error.message, "Choose another place with --save.") from error


def as_json(
    recipe: Recipe, plan: Plan, cost: Estimate, findings: Sequence[Finding], not_checked: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """The stable keys of `loratui plan --json`."""
    return {
        **plan.to_json(),
        "preset": recipe.preset,
        "estimate": cost.to_json(),
        **common.findings_json(findings, not_checked),
        "effective_alpha": recipe.settings.adapter.effective_alpha,
        "changed": {key: _plain(schema.get(recipe.settings, key)) for key in sorted(recipe.changed)},
        "settings": schema.to_table(recipe.settings),
    }


def as_text(recipe: Recipe, plan: Plan, cost: Estimate, findings: Sequence[Finding]) -> Iterator[str]:
    """The plan for people, line by line."""
    settings = recipe.settings
    yield plan.formula
    of = counted(findings)
    if told := " and ".join(text.count(of[severity], severity) for severity in GRAVE if of[severity]):
        yield f"{told}: see the end"
    yield ""
    yield f"{'base':<18}{text.base_name(settings.base.model) or 'none chosen'}"
    band = f"  ({plan.image_band})" if plan.image_band else ""
    yield _row("images", text.number(plan.images), band)
    if len(plan.concepts) > 1:
        for concept in plan.concepts:
            mark = ", set by its folder" if concept.from_folder else ""
            yield _row(f"  {concept.name}", text.number(concept.images), f"  × {text.number(concept.repeats)} repeats{mark}")
    else:
        mark = "  (set by its folder)" if plan.concepts[0].from_folder else ""
        yield _row("repeats", text.number(plan.repeats), mark)
    if plan.regularisation_images:
        yield _row("regularisation", text.number(plan.regularisation_images), f"  images, {regularisation_cost(plan)}")
    held = f"  {listed(plan.held_out, 3)}" if plan.held_out else "  overtraining is not measured (--set dataset.held_out=auto)"
    yield _row("held out", text.number(len(plan.held_out)), held)
    yield _row("epochs", text.number(plan.epochs))
    yield _row("image-steps", text.number(plan.image_steps), f"  ({text.mean(plan.exposures_per_image)} for each image)")
    yield _row("optimizer steps", text.number(plan.optimizer_steps), f"  ({text.number(plan.steps_per_epoch)} an epoch)")
    if len(plan.buckets) > 1:
        yield _row("sizes", str(len(plan.buckets)), "  " + ", ".join(f"{b.width}×{b.height}: {b.images}" for b in plan.buckets))
    yield _row("rank", text.number(settings.adapter.rank), f"  alpha {rates.alpha_in_words(settings.adapter)}")
    rate = f"  {rates.rate_in_words(settings)} ({rates.scale_in_words(settings)})"
    yield _row("learning rate", text.short(settings.optimizer.learning_rate), rate)
    if weights := loss_weights.in_words(settings):
        yield _row("", "", f"  ({weights})")
    yield _row("LoRA file", text.size(cost.lora.bytes), f"  ({text.count(cost.lora.modules, 'layer')})")
    yield _row(
        "disk", text.size(cost.disk.run), f"  and a download of {text.size(cost.disk.download)}" if cost.disk.download else ""
    )
    yield ""
    yield from _costs(cost, elsewhere=not settings.base.is_embedded)
    yield from _marks(recipe)
    yield from in_full(findings)


def _costs(cost: Estimate, *, elsewhere: bool) -> Iterator[str]:
    widths = (22, 11, 15, 15, 9)
    yield text.columns(("machine", "time", "memory", "fits", "source"), widths)
    for name, row in (("this one: ", cost.here), *(("", c) for c in cost.elsewhere if elsewhere)):
        memory = "unknown" if row.machine != "CPU" else f"{gib_range(row.ram_gib)} GiB RAM"
        memory = f"{gib_range(row.vram_gib)} GiB" if row.vram_gib else memory
        known = "measured" if "measured" in row.time_source else "scaled"
        time = duration_range(row.time_s) if row.time_s else "–" if row.fits == "no" else "unknown"
        machine = row.machine.removeprefix("NVIDIA ").removeprefix("GeForce ")
        yield text.columns((name + machine, time, memory, row.fits, known if row.time_s else ""), widths)
    if cost.here.money:
        yield f"this one costs {cost.here.money[0]:.2f} to {cost.here.money[1]:.2f}"
    yield f"this one: {cost.here.source}"
    if cost.here.memory_plan:
        yield f"memory plan: {cost.here.memory_plan}"
    if elsewhere:
        yield "scaled: from figures measured on an H200, by compute and memory bandwidth; not measured on the cards"


FITS = {
    "no": ", which this GPU does not have",
    "with savings": ", fits with savings",
    "without samples": ", too little for samples during training",
}
"""`Cost.fits` in words, to follow the memory; nothing if it fits."""


def run_time(cost: Cost) -> str:
    """The time of a run, if it is known."""
    return duration_range(cost.time_s) if cost.time_s else "time unknown so far"


def duration_range(seconds: Range) -> str:
    """`27–210 s`, `1.2–3.5 min`, `3–12 min`, `1.4–6.7 h`, `6–79 days`: both ends in the unit of the longer."""
    for unit, length, least in (("days", 86_400, 3), ("h", 3600, 1.5), ("min", 60, 2 if seconds[0] >= 60 else 4)):
        if seconds[1] >= least * length:
            low, high = (s / length for s in seconds)
            return f"{low:.0f}–{high:.0f} {unit}" if low >= 10 or unit == "days" else f"{low:.2g}–{high:.2g} {unit}"
    return f"{seconds[0]:.0f}–{seconds[1]:.0f} s"


def _marks(recipe: Recipe) -> Iterator[str]:
    differences = recipe.differences()
    if differences:
        yield ""
        yield f"changed from {recipe.preset or 'the defaults'}:"
        for one in differences:
            before = value_in_words(one.key, one.before) if one.before == 0 else common.as_toml(one.before)
            yield f"  {one.key} = {common.as_toml(one.value)}  (preset: {before})"


def _row(name: str, value: str, more: str = "") -> str:
    return f"{name:<18}{value:>9}{more}"


def gib_range(values: Range) -> str:
    """`6.1–6.4`, `27–28`, `12`."""
    return "–".join(dict.fromkeys(f"{value:.0f}" if value >= 10 else f"{value:g}" for value in values))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
