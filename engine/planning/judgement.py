"""What a careful trainer would say about a plan: each warning with its reason, its source, and what would mend it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loratui.engine.planning.combinations import clashes, idle
from loratui.engine.planning.family_rules import ONE_RATE
from loratui.presets import Reason, load_preset
from loratui.presets.schema import Adapter, Family, SchemaError, Settings

if TYPE_CHECKING:
    from loratui.engine.planning.recipe import Recipe
    from loratui.engine.planning.schedule import Plan

OPTIMIZER_STEPS_AN_IMAGE = 80
"""Guide 001: 15 pictures take about 1 200 optimizer steps, 50 up to 4 000."""

USUAL_RATES: Mapping[Family, tuple[float, float]] = {"sd15": (2e-5, 5e-4), "sdxl": (2e-5, 5e-4), "flux": (2e-5, 4e-4)}
"""Effective learning rates (alpha / rank × learning rate) of the guides and the common trainers, with some room."""

NATIVE_PX: Mapping[Family, tuple[int, int]] = {"sd15": (256, 768), "sdxl": (1024, 1536), "flux": (512, 1536)}
"""Resolutions at which a family's bases are at home."""

_BAND = re.compile(r"(\d+)-(\d*) (.+)")


@dataclass(frozen=True)
class Advice:
    """A warning about a plan."""

    code: str
    message: str
    """What, and why it matters."""
    remedy: str
    source: str
    """`guide 000` … `guide 004`, `loratui`, or `yours` for a limit of the person's own preset."""


@dataclass(frozen=True)
class _Case:
    """What every judgement looks at."""

    settings: Settings
    plan: Plan
    reasons: Mapping[str, Reason]
    changed: frozenset[str]

    def source(self, dotted: str) -> str:
        """Who set the limit in `dotted`."""
        return self.reasons[dotted].source if dotted in self.reasons else "loratui"

    @property
    def embedded(self) -> bool:
        """The embedded bases are so small that usual numbers do not hold for them."""
        return self.settings.base.model.startswith("embedded:")


def judge(recipe: Recipe, plan: Plan) -> Iterator[Advice]:
    """Everything about a plan that deserves a warning."""
    try:
        reasons: Mapping[str, Reason] = load_preset(recipe.preset).reasons
    except SchemaError:
        reasons = {}
    case = _Case(recipe.settings, plan, reasons, recipe.changed)
    for judgement in _JUDGEMENTS:
        yield from judgement(case)


def image_band(settings: Settings, images: int) -> str:
    """What the recipe says of this number of pictures; empty if it has no opinion."""
    for part in settings.dataset.image_bands.split(";"):
        match = _BAND.fullmatch(part.strip())
        if match and int(match[1]) <= images <= (int(match[2]) if match[2] else math.inf):
            return match[3]
    return ""


def effective_learning_rate(settings: Settings) -> float:
    """alpha / rank × learning rate (rank-stabilised: alpha / √rank): what a LoRA really learns with."""
    return lora_scale(settings.adapter) * settings.optimizer.learning_rate


def lora_scale(adapter: Adapter) -> float:
    """Factor on the LoRA's effect: alpha / rank, or alpha / √rank if rank-stabilised."""
    return adapter.effective_alpha / (math.sqrt(adapter.rank) if adapter.rank_stabilised else adapter.rank)


def _pictures_are(images: int) -> str:
    return "1 picture is" if images == 1 else f"{images} pictures are"


def _images(case: _Case) -> Iterator[Advice]:
    images = case.plan.images
    least, most = case.settings.dataset.images_wanted
    band = image_band(case.settings, images)
    meaning = f": {band}" if band else ""
    source = case.source("dataset.images_wanted")
    if images < least:
        message = f"{_pictures_are(images)} less than the {least} to {most} that this recipe works with{meaning}."
        yield Advice("too_few_images", message, "Add good, varied pictures, or expect a stiffer LoRA.", source)
    elif images > most:
        message = f"{_pictures_are(images)} more than the {least} to {most} that this recipe works with{meaning}."
        yield Advice("too_many_images", message, "Keep the best; quality counts more than number.", source)


def _exposures(case: _Case) -> Iterator[Advice]:
    plan, schedule = case.plan, case.settings.schedule
    least, most = schedule.exposures_wanted
    shown = plan.exposures_per_image
    source = case.source("schedule.exposures_wanted")
    if shown > most:
        epochs = max(1, math.floor(plan.epochs * most / shown))
        message = f"Each picture is shown {shown:.0f} times; beyond {most} this recipe tends to learn the photos by heart."
        yield Advice("too_many_exposures", message, _less(plan, epochs), source)
    elif shown < least and not _wants_more_epochs(case) and not _is_capped(case):
        epochs = math.ceil(plan.epochs * least / shown)
        message = f"Each picture is shown {shown:.0f} times; below {least} the likeness may stay weak."
        yield Advice("too_few_exposures", message, f"Train {epochs} epochs (schedule.epochs={epochs}).", source)


def _less(plan: Plan, epochs: int) -> str:
    if epochs < plan.epochs:
        return f"Train {epochs} epochs (schedule.epochs={epochs}), or use an earlier saved one."
    return "Lower schedule.repeats."


def _epochs_for_the_images(case: _Case) -> Iterator[Advice]:
    if not _wants_more_epochs(case):
        return
    plan = case.plan
    epochs = math.ceil(OPTIMIZER_STEPS_AN_IMAGE * plan.images / plan.steps_per_epoch)
    message = (
        f"{plan.optimizer_steps} optimizer steps are {plan.optimizer_steps / plan.images:.0f} for each of {plan.images} pictures; "
        f"the guide reckons with about {OPTIMIZER_STEPS_AN_IMAGE}."
    )
    yield Advice("more_epochs", message, f"Train {epochs} epochs (schedule.epochs={epochs}).", "guide 001")


def _wants_more_epochs(case: _Case) -> bool:
    """Whether a fixed number of epochs at 400 image-steps each leaves a large set far below guide 001's measure."""
    plan = case.plan
    enough = 0.75 * OPTIMIZER_STEPS_AN_IMAGE * plan.images
    return case.settings.schedule.rule == "per_epoch" and plan.optimizer_steps < enough


def _total(case: _Case) -> Iterator[Advice]:
    schedule, plan = case.settings.schedule, case.plan
    if 0 < schedule.image_steps_warn < plan.image_steps:
        message = f"{plan.image_steps} image-steps: beyond about {schedule.image_steps_warn} the result was seen to get worse."
        remedy = "Compare the saved epochs, and use the one before it gets worse; or train fewer."
        yield Advice("too_many_image_steps", message, remedy, case.source("schedule.image_steps_warn"))
    if _is_capped(case):
        asked = schedule.exposures * plan.images
        message = (
            f"{plan.images} pictures × {schedule.exposures} would be {asked} image-steps; they stay under "
            f"{schedule.image_steps_below}, so that each picture is shown {plan.exposures_per_image:.0f} times."
        )
        remedy = "Choose the best pictures, or another preset for so many."
        yield Advice("capped", message, remedy, case.source("schedule.image_steps_below"))


def _is_capped(case: _Case) -> bool:
    """Whether guide 004's limit, and not its number for each picture, decides the total."""
    schedule = case.settings.schedule
    if schedule.rule != "per_image_small_sets_more" or schedule.epochs or schedule.image_steps:
        return False
    return 0 < schedule.image_steps_below <= schedule.exposures * case.plan.images


def _rate(case: _Case) -> Iterator[Advice]:
    optimizer, adapter = case.settings.optimizer, case.settings.adapter
    if optimizer.name in ONE_RATE:
        if optimizer.learning_rate != 1.0:
            message = f"{optimizer.name} finds the learning rate itself; {optimizer.learning_rate:g} scales what it finds."
            yield Advice("adaptive_rate", message, "Set optimizer.learning_rate=1.", "guide 002")
        if adapter.effective_alpha != 1.0:
            message = f"With {optimizer.name}, alpha {adapter.effective_alpha:g} only distorts the rate that it finds."
            yield Advice("adaptive_alpha", message, "Set adapter.alpha=1.", "guide 002")
        if optimizer.scheduler != "cosine":
            message = f"{optimizer.name} is used with cosine only; {optimizer.scheduler} upsets the rate that it finds."
            yield Advice("adaptive_scheduler", message, "Set optimizer.scheduler=cosine.", "guide 002")
        return
    if case.embedded:
        return
    rate = effective_learning_rate(case.settings)
    low, high = USUAL_RATES[case.settings.base.family]
    written = (
        f"alpha {adapter.effective_alpha:g} / {'√' if adapter.rank_stabilised else ''}rank {adapter.rank} "
        f"× {optimizer.learning_rate:g} = {rate:.2g}"
    )
    if rate > high:
        message = f"The effective learning rate is high ({written}; usual is up to {high:g}): colours burn, anatomy breaks."
        yield Advice("rate_high", message, "Lower optimizer.learning_rate or adapter.alpha.", "loratui")
    elif rate < low:
        message = f"The effective learning rate is low ({written}; usual is {low:g} and more): little will be learnt."
        yield Advice("rate_low", message, "Raise adapter.alpha to the rank, or optimizer.learning_rate.", "loratui")
    text_rate = optimizer.text_encoder_learning_rate
    if case.settings.training.train_text_encoder and text_rate > optimizer.learning_rate:
        message = (
            f"The text encoder learns faster ({text_rate:g}) than the rest ({optimizer.learning_rate:g}); it overtrains first."
        )
        tenth = optimizer.learning_rate / 10
        yield Advice("text_rate_high", message, f"Set optimizer.text_encoder_learning_rate={tenth:g}.", "guide 001")


def _rank(case: _Case) -> Iterator[Advice]:
    adapter, images = case.settings.adapter, case.plan.images
    least, most = adapter.rank_wanted
    source = case.source("adapter.rank_wanted")
    if adapter.rank > most:
        message = f"Rank {adapter.rank} is above the {least} to {most} that suit this recipe: a larger file that learns the photos by heart."
        yield Advice("rank_high", message, f"Set adapter.rank={most} or less.", source)
    elif adapter.rank < least:
        message = f"Rank {adapter.rank} is below the {least} to {most} that suit this recipe: too stiff for fine features."
        yield Advice("rank_low", message, f"Set adapter.rank={least} or more.", source)
    elif adapter.rank >= 64 and images < 10:
        message = f"Rank {adapter.rank} for {images} pictures: so much room is filled by learning them by heart."
        yield Advice("rank_for_images", message, "Add pictures, or set adapter.rank=32.", "guide 000")


def _batch(case: _Case) -> Iterator[Advice]:
    plan = case.plan
    if plan.batch_size > 1 and len(plan.concepts) > 1:
        message = f"Batch {plan.batch_size} with {len(plan.concepts)} concepts: pictures of two concepts in one batch blend."
        yield Advice("batch_with_concepts", message, "Set training.batch_size=1.", "guide 002")
    elif plan.batch_size > 4:
        message = f"Batch {plan.batch_size}: above 4 the LoRA gets general instead of exact."
        yield Advice("batch_large", message, "Set training.batch_size=4 or less.", "guide 002")


def _concepts(case: _Case) -> Iterator[Advice]:
    concepts = case.plan.concepts
    for concept in concepts:
        if concept.from_folder and concept.repeats != concept.rule_repeats:
            message = f"The folder of {concept.name} sets {concept.repeats} repeats; the preset's rule would give {concept.rule_repeats}."
            yield Advice("folder_repeats", message, "For the rule's number, add --repeats rule.", "guide 002")
    if len(concepts) < 2:
        return
    times = {c.name: c.images * c.repeats for c in concepts}
    longest, shortest = max(times, key=times.__getitem__), min(times, key=times.__getitem__)
    if times[longest] > 1.5 * times[shortest]:
        message = (
            f"{longest} is shown {times[longest]} times an epoch, {shortest} {times[shortest]} times: "
            "the larger one drowns the other. "
            f"Balanced repeats are {', '.join(f'{c.balanced_repeats} for {c.name}' for c in concepts)}."
        )
        remedy = "Set schedule.rule=balanced_concepts, with --repeats rule if the folders have numbers."
        yield Advice("concepts_unbalanced", message, remedy, "guide 002")
    largest = max(concepts, key=lambda c: c.images)
    for concept in concepts:
        if concept.repeats > 2 * largest.repeats:
            message = (
                f"{concept.name} has {concept.images} pictures against {largest.images} of {largest.name}; "
                f"each is shown {concept.repeats / largest.repeats:.1f} times as often, and may overtrain by itself."
            )
            yield Advice("concept_overtrains", message, f"Add pictures of {concept.name}.", "guide 002")


def _mirroring(case: _Case) -> Iterator[Advice]:
    if case.settings.dataset.flip and case.settings.dataset.subject in ("person", "character"):
        message = "Mirrored pictures mix left and right; no face is symmetric, and previews may all look the same."
        yield Advice("flip_identity", message, "Set dataset.flip=false.", "guide 001")


def _size(case: _Case) -> Iterator[Advice]:
    dataset, family = case.settings.dataset, case.settings.base.family
    low, high = (64, 128) if case.embedded else NATIVE_PX[family]
    if dataset.resolution > high:
        message = f"{dataset.resolution} px is more than the base makes natively ({high} px): slower, and worse."
        yield Advice("resolution_high", message, f"Set dataset.resolution={high} or less.", "guide 002")
    elif dataset.resolution < low:
        message = f"{dataset.resolution} px is less than the base makes natively ({low} px): details are lost."
        yield Advice("resolution_low", message, f"Set dataset.resolution={low} or more.", "guide 002")
    if dataset.upscale and dataset.buckets and dataset.bucket_max <= dataset.resolution:
        message = f"No side may exceed {dataset.bucket_max} px, so every shape but the square loses pixels."
        yield Advice("bucket_max_low", message, f"Set dataset.bucket_max={2 * dataset.resolution}.", "loratui")


def _combinations(case: _Case) -> Iterator[Advice]:
    for word in (*idle(case.settings, case.plan, case.changed), *clashes(case.settings, case.changed)):
        yield Advice(word.code, word.message, word.remedy, word.source)


def _regularisation(case: _Case) -> Iterator[Advice]:
    plan = case.plan
    if not plan.regularisation_images:
        return
    pictures = f"{plan.regularisation_images} regularisation pictures"
    if plan.prior_weight == 0:
        message = f"{pictures} with the weight 0 cost {plan.regularisation_optimizer_steps} optimizer steps and teach nothing."
        yield Advice(
            "regularisation_weightless", message, "Set training.prior_weight=1, or leave the reg folder out.", "loratui"
        )
        return
    cost = f"{plan.regularisation_optimizer_steps} of the {plan.optimizer_steps} optimizer steps are theirs"
    message = f"{pictures} double the work of every epoch ({cost}); sets with good captions do without."
    yield Advice("regularisation_doubles", message, "Leave the reg folder out, unless style or class drift.", "guide 001")
    if plan.regularisation_unused:
        message = (
            f"{plan.regularisation_unused} of the {pictures} are never shown: there are more than the subject's image-steps."
        )
        yield Advice("regularisation_unused", message, "Remove them, or train more repeats.", "loratui")


_JUDGEMENTS: tuple[Callable[[_Case], Iterator[Advice]], ...] = (
    _images,
    _exposures,
    _epochs_for_the_images,
    _total,
    _rate,
    _rank,
    _batch,
    _concepts,
    _mirroring,
    _size,
    _combinations,
    _regularisation,
)
