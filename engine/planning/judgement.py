"""What a careful trainer would say about a plan: each warning with its reason, its source, and what would fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from loratui.engine import families
from loratui.engine.dataset.checks.files import of_number
from loratui.engine.dataset.checks.people import of_mirroring
from loratui.engine.findings import Finding
from loratui.engine.planning import amount_rules, rate_rules
from loratui.engine.planning.case import Case
from loratui.engine.planning.combinations import clashes, idle
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe
from loratui.presets import load_preset
from loratui.presets.schema import SchemaError, Settings

MOST_TIMES = 50 / 15
"""How much more often than the largest concept another may be shown; Valstrix wants about 15 to 50 images of each."""


def judge(recipe: Recipe, plan: Plan) -> Iterator[Finding]:
    """Everything about a plan that deserves a warning."""
    try:
        preset = load_preset(recipe.preset)
        case = Case(recipe.settings, plan, preset.settings, True, preset.reasons, recipe.changed)
    except SchemaError:
        case = Case(recipe.settings, plan, Settings(), False, {}, recipe.changed)
    for judgement in _JUDGEMENTS:
        yield from judgement(case)


def _rank(case: Case) -> Iterator[Finding]:
    rank, images = case.settings.adapter.rank, case.plan.images
    least, most = case.settings.adapter.rank_wanted
    figures: dict[str, Any] = {"rank": rank, "least": least, "most": most, "limit_of": case.source("adapter.rank_wanted")}
    own = case.chose("adapter.rank")
    if rank > most and not own:
        yield Finding.of("rank_high", settings={"adapter.rank": most}, **figures)
    elif rank < least and not own:
        yield Finding.of("rank_low", settings={"adapter.rank": least}, **figures)
    elif rank >= 64 and images < 10 and not (case.in_band and own):
        lower, fix = (".lower", {"adapter.rank": 32}) if least <= 32 else ("", {})
        yield Finding.of(f"rank_for_images{lower}", rank=rank, images=images, settings=fix)


def _batch(case: Case) -> Iterator[Finding]:
    plan = case.plan
    if plan.batch_size > 1 and len(plan.concepts) > 1:
        fix = {"training.batch_size": 1}
        yield Finding.of("batch_with_concepts", batch=plan.batch_size, concepts=len(plan.concepts), settings=fix)
    elif plan.batch_size > 4 and not case.chose("training.batch_size"):
        yield Finding.of("batch_large", batch=plan.batch_size, settings={"training.batch_size": 4})


def _concepts(case: Case) -> Iterator[Finding]:
    concepts = case.plan.concepts
    for one in concepts:
        if one.from_folder and one.repeats != one.rule_repeats:
            yield Finding.of("folder_repeats", concept=one.name, repeats=one.repeats, by_rule=one.rule_repeats)
    if len(concepts) < 2:
        return
    shown = {c.name: c.images * c.repeats for c in concepts}
    longest, shortest = max(shown, key=shown.__getitem__), min(shown, key=shown.__getitem__)
    if shown[longest] > 1.5 * shown[shortest]:
        yield Finding.of(
            "concepts_unbalanced",
            longest=longest,
            most=shown[longest],
            shortest=shortest,
            least=shown[shortest],
            balanced=", ".join(f"{c.balanced_repeats} for {c.name}" for c in concepts),
            settings={"schedule.rule": "balanced_concepts"},
        )
    largest = max(concepts, key=lambda c: c.images)
    for one in concepts:
        few = largest.images > MOST_TIMES * one.images  # else its folder's number is the cause, which is said above
        if few and one.repeats > MOST_TIMES * largest.repeats:
            yield Finding.of(
                "concept_overtrains",
                concept=one.name,
                images=one.images,
                largest=largest.name,
                largest_images=largest.images,
                share=one.repeats / largest.repeats,
            )


def _size(case: Case) -> Iterator[Finding]:
    dataset = case.settings.dataset
    low, high = (64, 128) if case.settings.base.is_embedded else families.family(case.settings.base.family).native_px
    key, native = ("resolution_high", high) if dataset.resolution > high else ("resolution_low", low)
    if not low <= dataset.resolution <= high:
        yield Finding.of(key, resolution=dataset.resolution, native=native, settings={"dataset.resolution": native})
    if dataset.upscale and dataset.buckets and dataset.bucket_max <= dataset.resolution:
        fix = {"dataset.bucket_max": 2 * dataset.resolution}
        yield Finding.of("bucket_max_low", bucket_max=dataset.bucket_max, settings=fix)


def _regularisation(case: Case) -> Iterator[Finding]:
    plan = case.plan
    images, steps = plan.regularisation_images, plan.regularisation_optimizer_steps
    if images and plan.prior_weight == 0:
        fix = {"training.prior_weight": 1.0}
        yield Finding.of("regularisation_weightless", images=images, steps=steps, settings=fix)
    elif images:
        yield Finding.of("regularisation_doubles", images=images, steps=steps, of=plan.optimizer_steps)
        if plan.regularisation_unused:
            yield Finding.of("regularisation_unused", images=images, unused=plan.regularisation_unused)


_JUDGEMENTS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    lambda case: of_number(case.plan.images, case.settings.dataset, case.source("dataset.images_wanted")),
    amount_rules.exposures,
    amount_rules.total,
    rate_rules.rate,
    rate_rules.alpha_of_lycoris,
    _rank,
    _batch,
    _concepts,
    lambda case: of_mirroring(case.settings),
    _size,
    idle,
    clashes,
    _regularisation,
)
