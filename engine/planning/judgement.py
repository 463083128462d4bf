"""What a careful trainer would say about a plan: each warning with its reason, its source, and what would mend it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping

from loratui.engine.planning import amount_rules, rate_rules
from loratui.engine.planning.advice import Case
from loratui.engine.planning.combinations import clashes, idle
from loratui.engine.planning.plan import Advice, Plan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.words import are, count, number, times
from loratui.presets import load_preset
from loratui.presets.schema import Family, SchemaError, Settings

NATIVE_PX: Mapping[Family, tuple[int, int]] = {"sd15": (256, 768), "sdxl": (1024, 1536), "flux": (512, 1536)}
"""Resolutions at which a family's bases are at home."""

MOST_TIMES = 50 / 15
"""How much more often than the largest concept another may be shown; Valstrix wants about 15 to 50 images of each."""

_BAND = re.compile(r"(\d+)-(\d*) (.+)")


def judge(recipe: Recipe, plan: Plan) -> Iterator[Advice]:
    """Everything about a plan that deserves a warning."""
    try:
        preset = load_preset(recipe.preset)
        case = Case(recipe.settings, plan, preset.settings, True, preset.reasons, recipe.changed)
    except SchemaError:
        case = Case(recipe.settings, plan, Settings(), False, {}, recipe.changed)
    for judgement in _JUDGEMENTS:
        yield from judgement(case)


def image_band(settings: Settings, images: int) -> str:
    """What the recipe says of this number of images; empty if it has no opinion."""
    for part in settings.dataset.image_bands.split(";"):
        match = _BAND.fullmatch(part.strip())
        if match and int(match[1]) <= images <= (int(match[2]) if match[2] else math.inf):
            return match[3]
    return ""


def _images_are(images: int) -> str:
    return are(images, "image")


def _images(case: Case) -> Iterator[Advice]:
    images = case.plan.images
    least, most = case.settings.dataset.images_wanted
    band = image_band(case.settings, images)
    meaning = f": {band}" if band else ""
    source = case.source("dataset.images_wanted")
    if images < least:
        message = f"{_images_are(images)} less than the {least} to {most} that this recipe works with{meaning}."
        yield Advice("too_few_images", message, "Add good, varied images, or expect a stiffer LoRA.", source)
    elif images > most:
        message = f"{_images_are(images)} more than the {least} to {most} that this recipe works with{meaning}."
        yield Advice("too_many_images", message, "Keep the best; quality counts more than number.", source)


def _rank(case: Case) -> Iterator[Advice]:
    adapter, images = case.settings.adapter, case.plan.images
    least, most = adapter.rank_wanted
    source = case.source("adapter.rank_wanted")
    own = case.chose("adapter.rank")
    if adapter.rank > most and not own:
        message = f"Rank {adapter.rank} is above the {least} to {most} that suit this recipe: a larger file that learns the photos by heart."
        yield Advice("rank_high", message, f"Set adapter.rank={most} or less.", source)
    elif adapter.rank < least and not own:
        message = f"Rank {adapter.rank} is below the {least} to {most} that suit this recipe: too stiff for fine features."
        yield Advice("rank_low", message, f"Set adapter.rank={least} or more.", source)
    elif adapter.rank >= 64 and images < 10 and not (case.in_band and own):
        message = f"Rank {adapter.rank} for {count(images, 'image')}: so much room is filled by learning them by heart."
        lower = ", or set adapter.rank=32" if least <= 32 else ""
        yield Advice("rank_for_images", message, f"Add images{lower}.", "FLUX guide")


def _batch(case: Case) -> Iterator[Advice]:
    plan = case.plan
    if plan.batch_size > 1 and len(plan.concepts) > 1:
        message = (
            f"Batch {plan.batch_size} with {count(len(plan.concepts), 'concept')}: images of two concepts in one batch blend."
        )
        yield Advice("batch_with_concepts", message, "Set training.batch_size=1.", "Valstrix")
    elif plan.batch_size > 4 and not case.chose("training.batch_size"):
        message = f"Batch {plan.batch_size}: above 4 the LoRA gets general instead of exact."
        yield Advice("batch_large", message, "Set training.batch_size=4 or less.", "Valstrix")


def _concepts(case: Case) -> Iterator[Advice]:
    concepts = case.plan.concepts
    for concept in concepts:
        if concept.from_folder and concept.repeats != concept.rule_repeats:
            message = f"The folder of {concept.name} sets {count(concept.repeats, 'repeat')}; the preset's rule would give {concept.rule_repeats}."
            yield Advice("folder_repeats", message, "For the rule's number, add --repeats rule.", "Valstrix")
    if len(concepts) < 2:
        return
    shown = {c.name: c.images * c.repeats for c in concepts}
    longest, shortest = max(shown, key=shown.__getitem__), min(shown, key=shown.__getitem__)
    if shown[longest] > 1.5 * shown[shortest]:
        message = (
            f"{longest} is shown {times(shown[longest])} an epoch, {shortest} {times(shown[shortest])}: "
            "the larger one drowns the other. "
            f"Balanced repeats are {', '.join(f'{c.balanced_repeats} for {c.name}' for c in concepts)}."
        )
        remedy = "Set schedule.rule=balanced_concepts, with --repeats rule if the folders have numbers."
        yield Advice("concepts_unbalanced", message, remedy, "Valstrix")
    largest = max(concepts, key=lambda c: c.images)
    for concept in concepts:
        few = largest.images > MOST_TIMES * concept.images  # else its folder's number is the cause, which is said above
        if few and concept.repeats > MOST_TIMES * largest.repeats:
            message = (
                f"{concept.name} has {count(concept.images, 'image')} against {largest.images} of {largest.name}; "
                f"each is shown {concept.repeats / largest.repeats:.1f} times as often, and may overtrain by itself."
            )
            yield Advice("concept_overtrains", message, f"Add images of {concept.name}.", "Valstrix")


def _mirroring(case: Case) -> Iterator[Advice]:
    if case.settings.dataset.flip and case.settings.dataset.subject in ("person", "character"):
        message = "Mirrored images mix left and right; no face is symmetric, and previews may all look the same."
        yield Advice("flip_identity", message, "Set dataset.flip=false.", "Skullkid")


def _size(case: Case) -> Iterator[Advice]:
    dataset, family = case.settings.dataset, case.settings.base.family
    low, high = (64, 128) if case.embedded else NATIVE_PX[family]
    if dataset.resolution > high:
        message = f"{dataset.resolution} px is more than the base makes natively ({high} px): slower, and worse."
        yield Advice("resolution_high", message, f"Set dataset.resolution={high} or less.", "Valstrix")
    elif dataset.resolution < low:
        message = f"{dataset.resolution} px is less than the base makes natively ({low} px): details are lost."
        yield Advice("resolution_low", message, f"Set dataset.resolution={low} or more.", "Valstrix")
    if dataset.upscale and dataset.buckets and dataset.bucket_max <= dataset.resolution:
        message = f"No side may exceed {dataset.bucket_max} px, so every shape but the square loses pixels."
        yield Advice("bucket_max_low", message, f"Set dataset.bucket_max={2 * dataset.resolution}.", "loratui")


def _combinations(case: Case) -> Iterator[Advice]:
    for word in (*idle(case.settings, case.plan, case.changed), *clashes(case.settings, case.changed)):
        yield Advice(word.code, word.message, word.remedy, word.source)


def _regularisation(case: Case) -> Iterator[Advice]:
    plan = case.plan
    if not plan.regularisation_images:
        return
    images = f"{plan.regularisation_images} regularisation images"
    if plan.prior_weight == 0:
        message = (
            f"{images} with the weight 0 cost {count(plan.regularisation_optimizer_steps, 'optimizer step')} and teach nothing."
        )
        yield Advice(
            "regularisation_weightless", message, "Set training.prior_weight=1, or leave the reg folder out.", "loratui"
        )
        return
    cost = f"{number(plan.regularisation_optimizer_steps)} of the {count(plan.optimizer_steps, 'optimizer step')} are theirs"
    message = f"{images} double the work of every epoch ({cost}); sets with good captions do without."
    yield Advice("regularisation_doubles", message, "Leave the reg folder out, unless style or class drift.", "Skullkid")
    if plan.regularisation_unused:
        message = (
            f"{plan.regularisation_unused} of the {images} are never shown: there are more than the subject's image-steps."
        )
        yield Advice("regularisation_unused", message, "Remove them, or train more repeats.", "loratui")


_JUDGEMENTS: tuple[Callable[[Case], Iterator[Advice]], ...] = (
    _images,
    amount_rules.exposures,
    amount_rules.total,
    rate_rules.rate,
    rate_rules.alpha_of_lycoris,
    _rank,
    _batch,
    _concepts,
    _mirroring,
    _size,
    _combinations,
    _regularisation,
)
