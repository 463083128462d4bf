"""How a plan is made: repeats, epochs, image-steps and the exact number of optimizer steps, counted as the trainer will make them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loratui.engine.dataset import caption_choice
from loratui.engine.dataset.buckets import Bucket, BucketRule, assign
from loratui.engine.dataset.checks.files import image_band
from loratui.engine.dataset.class_images import with_class_images
from loratui.engine.dataset.held_out import with_held_out
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import DatasetError
from loratui.engine.planning import judgement
from loratui.engine.planning.exposures import exposures
from loratui.engine.planning.loss_weights import mean_loss_weight
from loratui.engine.planning.order import OrderEntry
from loratui.engine.planning.plan import BucketPlan, ConceptPlan, Plan, formula
from loratui.engine.planning.rates import effective_learning_rate
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.rules import RULES, Amount, ConceptImages, anchor, balanced_concepts
from loratui.engine.words import count
from loratui.presets.schema import Schedule


@dataclass(frozen=True)
class Steps:
    """What a number of epochs comes to."""

    epochs: int
    image_steps: int
    optimizer_steps: int
    steps_per_epoch: int


def make_plan(recipe: Recipe, scan: DatasetScan) -> Plan:
    """The plan for the images of a folder.

    Raises `DatasetError` if there are none.
    """
    if not scan.training:
        raise DatasetError(f"{scan.root}: there are no images to train on.", "Add JPEG, PNG or WebP images.")
    scan = with_held_out(with_class_images(scan, recipe.settings.dataset), recipe.settings.dataset)
    if not scan.training:
        raise DatasetError(f"{scan.root}: all images are held out.", "Hold out fewer of them (dataset.held_out).")
    concepts = [
        ConceptImages(c.name or c.folder or recipe.settings.dataset.trigger, c.images, c.folder_repeats)
        for c in scan.concepts
        if not c.regularisation
    ]
    folders = [c.folder for c in scan.concepts if not c.regularisation]
    amount = _amount(recipe, concepts)
    by_folder = dict(zip(folders, amount.repeats, strict=True))
    trained = [by_folder[image.relative.rpartition("/")[0]] for image in scan.training]
    matched = match_regularisation([i.folder_repeats or 1 for i in scan.regularisation], sum(trained))
    remaining_trained, remaining_matched = iter(trained), iter(matched)
    repeats = tuple(
        0 if i.held_out else next(remaining_matched if i.regularisation else remaining_trained) for i in scan.images
    )
    rule = BucketRule.of(recipe.settings.dataset)
    buckets = [assign(image.width, image.height, rule) for image in scan.images]
    return _plan(recipe, concepts, amount, buckets, repeats, len(matched), scan.images)


def plan_for_counts(recipe: Recipe, images: int, concept_images: Sequence[int] = ()) -> Plan:
    """The plan for so many captioned images in one square bucket, without regularisation.

    `concept_images` gives the images of each of several concepts, and then `images` is their sum.
    Raises `DatasetError` for fewer than one image.
    """
    counts = tuple(concept_images) or (images,)
    if any(n < 1 for n in counts):
        raise DatasetError(f"{count(min(counts), 'image')} cannot be trained on.", "Give a number of at least 1.")
    single = recipe.settings.dataset.trigger if len(counts) == 1 else ""
    concepts = [ConceptImages(single or f"concept {at}", n) for at, n in enumerate(counts, 1)]
    amount = _amount(recipe, concepts)
    repeats = [r for c, r in zip(concepts, amount.repeats, strict=True) for _ in range(c.images)]
    rule = BucketRule.of(recipe.settings.dataset)
    square = assign(rule.resolution, rule.resolution, rule)
    return _plan(recipe, concepts, amount, [square] * len(repeats), repeats, 0, ())


def match_regularisation(folder_repeats: Sequence[int], wanted: int) -> list[int]:
    """How often each regularisation image is shown so that all together come to exactly `wanted`.

    First each as often as its folder says, until enough; then one more each, in turn. Source: sd-scripts, which
    drops surplus images and repeats the others likewise.
    """
    shown = [0] * len(folder_repeats)
    left = wanted
    for at, repeats in enumerate(folder_repeats):
        shown[at] = min(max(1, repeats), left)
        left -= shown[at]
    if not shown or left <= 0:
        return shown
    each, extra = divmod(left, len(shown))
    return [n + each + (at < extra) for at, n in enumerate(shown)]


def batches_per_epoch(bucket_entries: Sequence[int], batch_size: int) -> int:
    """Batches of a full epoch: a batch never mixes buckets, so each bucket may end with a short one."""
    return sum(math.ceil(n / batch_size) for n in bucket_entries)


def batches_until(bucket_entries: Sequence[int], batch_size: int, image_steps: int) -> int:
    """Batches of an epoch that ends after `image_steps`: full batches first, then the short ones, longest first."""
    full = sum(n // batch_size for n in bucket_entries)
    if image_steps <= full * batch_size:
        return math.ceil(image_steps / batch_size)
    left, batches = image_steps - full * batch_size, full
    for short in sorted((n % batch_size for n in bucket_entries), reverse=True):
        if left <= 0 or short == 0:
            break
        left -= short
        batches += 1
    return batches


def count_steps(
    bucket_entries: Sequence[int], *, epochs: int, cap: int, batch_size: int, window: int, continued: bool = False
) -> Steps:
    """Image-steps and optimizer steps of a run.

    `bucket_entries`: image-steps that an epoch has in each bucket. `window`: batches behind one optimizer step
    (`Training.window_batches`); the last window of an epoch may be short and still makes a step. `cap`: image-steps
    after which training ends, 0 for never; a run that is `continued` from one that it ended goes on with whole epochs.
    """
    an_epoch = sum(bucket_entries)
    per_epoch = math.ceil(batches_per_epoch(bucket_entries, batch_size) / window)
    if cap == 0 or cap >= an_epoch * epochs:
        return Steps(epochs, an_epoch * epochs, per_epoch * epochs, per_epoch)
    whole, rest = divmod(cap, an_epoch)
    cut = math.ceil(batches_until(bucket_entries, batch_size, rest) / window)
    ended = whole + (rest > 0)
    more = max(0, epochs - ended) if continued else 0
    return Steps(ended + more, cap + more * an_epoch, whole * per_epoch + cut + more * per_epoch, per_epoch)


def _amount(recipe: Recipe, concepts: Sequence[ConceptImages]) -> Amount:
    schedule, training = recipe.settings.schedule, recipe.settings.training
    return RULES[schedule.rule](concepts, schedule, training.batch_size * training.window_batches)


def _limits(schedule: Schedule, amount: Amount, an_epoch: int, *, doubled: bool) -> tuple[int, int]:
    """Epochs, and image-steps after which training ends (0: never within an epoch).

    A total that the person set counts every image-step; a rule's total counts the subject's images, and
    regularisation doubles it as it doubles an epoch.
    """
    if schedule.image_steps:
        return schedule.epochs or math.ceil(schedule.image_steps / an_epoch), schedule.image_steps
    return amount.epochs, amount.image_steps * (2 if doubled else 1)


def _steps(
    recipe: Recipe, amount: Amount, buckets: Sequence[Bucket], repeats: Sequence[int], *, doubled: bool
) -> tuple[Steps, int]:
    """The steps of a run, and the image-steps at which it was told to end (0: not told)."""
    training = recipe.settings.training
    entries: Counter[Bucket] = Counter()
    for bucket, shown in zip(buckets, repeats, strict=True):
        entries[bucket] += shown
    epochs, cap = _limits(recipe.settings.schedule, amount, sum(repeats), doubled=doubled)
    steps = count_steps(
        [n for n in entries.values() if n],
        epochs=epochs,
        cap=cap,
        batch_size=training.batch_size,
        window=training.window_batches,
        continued=bool(recipe.settings.schedule.continue_run),
    )
    return steps, cap


def _plan(
    recipe: Recipe,
    concepts: Sequence[ConceptImages],
    amount: Amount,
    buckets: Sequence[Bucket],
    repeats: Sequence[int],
    regularisation_images: int,
    scanned: Sequence[ImageEntry],
) -> Plan:
    training = recipe.settings.training
    steps, cap = _steps(recipe, amount, buckets, repeats, doubled=regularisation_images > 0)
    alone = steps
    if regularisation_images:
        subject = [0 if image.regularisation else shown for image, shown in zip(scanned, repeats, strict=True)]
        alone, _ = _steps(recipe, amount, buckets, subject, doubled=False)
    an_epoch = sum(repeats)
    cap = cap if 0 < cap < an_epoch * steps.epochs else 0
    images = sum(c.images for c in concepts)
    subject_steps = steps.image_steps / (2 if regularisation_images else 1)
    held_out = tuple(image.relative for image in scanned if image.held_out)
    trained = buckets[: len(buckets) - len(held_out)]  # they come last
    plan = Plan(
        images=images,
        repeats=amount.repeats[concepts.index(anchor(concepts))],
        epochs=steps.epochs,
        image_steps=steps.image_steps,
        optimizer_steps=steps.optimizer_steps,
        exposures_per_image=subject_steps / images,
        steps_per_epoch=steps.steps_per_epoch,
        image_steps_per_epoch=an_epoch,
        image_steps_cap=cap,
        batch_size=training.batch_size,
        accumulation=training.accumulation,
        processes=training.processes,
        rule=recipe.settings.schedule.rule,
        continued_step=recipe.settings.schedule.continue_step if recipe.settings.schedule.continue_run else 0,
        formula="",
        image_band=image_band(recipe.settings.dataset.image_bands, images),
        effective_learning_rate=effective_learning_rate(recipe.settings),
        mean_loss_weight=mean_loss_weight(recipe.settings),
        concepts=tuple(_concept_plans(recipe, concepts, amount)),
        buckets=tuple(BucketPlan(b.width, b.height, n) for b, n in sorted(Counter(trained).items())),
        held_out=held_out,
        regularisation_images=regularisation_images,
        regularisation_image_steps=steps.image_steps - alone.image_steps,
        regularisation_optimizer_steps=steps.optimizer_steps - alone.optimizer_steps,
        regularisation_unused=sum(i.regularisation and not shown for i, shown in zip(scanned, repeats, strict=False)),
        prior_weight=training.prior_weight,
        image_repeats=tuple(repeats) if scanned else (),
        image_exposures=exposures(
            [OrderEntry(at, bucket, shown) for at, (bucket, shown) in enumerate(zip(buckets, repeats, strict=True))],
            seed=training.seed,
            batch_size=training.batch_size,
            image_steps=steps.image_steps,
            image_steps_cap=cap,
            continued=bool(recipe.settings.schedule.continue_run),
        )
        if scanned
        else (),
        captions=sum(caption_choice.captions_of(image, recipe.settings.dataset) for image in scanned if not image.held_out)
        or images,
    )
    plan = dataclasses.replace(plan, formula=formula(plan))
    return dataclasses.replace(plan, warnings=tuple(judgement.judge(recipe, plan)))


def _concept_plans(recipe: Recipe, concepts: Sequence[ConceptImages], amount: Amount) -> Iterator[ConceptPlan]:
    uses_folders = recipe.settings.schedule.folder_repeats
    plain = [dataclasses.replace(c, folder_repeats=None) for c in concepts]
    by_rule = _amount(recipe, plain).repeats
    balanced = balanced_concepts(plain, recipe.settings.schedule, 1).repeats
    for concept, repeats, would_be, even in zip(concepts, amount.repeats, by_rule, balanced, strict=True):
        from_folder = uses_folders and concept.folder_repeats is not None
        yield ConceptPlan(concept.name, concept.images, repeats, from_folder, would_be, even)
