"""The step rules: every worked example of the guides, and what must hold for any number of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.planning.rules import RULES, Amount, ConceptImages, anchor, under
from loratui.presets.schema import Schedule

IMAGES = st.integers(1, 3000)
CONCEPTS = st.lists(st.integers(1, 300), min_size=1, max_size=6)


def concepts(*counts: int) -> list[ConceptImages]:
    return [ConceptImages(f"c{at}", n) for at, n in enumerate(counts)]


def apply(schedule: Schedule, *counts: int, batch: int = 1) -> Amount:
    return RULES[schedule.rule](concepts(*counts), schedule, batch)


def image_steps(amount: Amount, counts: Sequence[int]) -> int:
    full = amount.epochs * sum(n * r for n, r in zip(counts, amount.repeats, strict=True))
    return min(full, amount.image_steps) if amount.image_steps else full


FLUX = Schedule(rule="per_image", exposures=100, repeats=10)
DREAMBOOTH = Schedule(rule="per_image_small_sets_more", image_steps_below=2000)
PONY = Schedule(rule="per_epoch_and_total", image_steps_per_epoch=900, optimizer_steps_wanted=2500)
SKULLKID = Schedule(rule="per_epoch", image_steps_per_epoch=400, epochs=6)
SKULLKID_SDXL = Schedule(rule="per_epoch", image_steps_per_epoch=400, epochs=16)
VALSTRIX = Schedule(rule="exposures", exposures=100, repeats=10)
BALANCED = Schedule(rule="balanced_concepts", exposures=100, repeats=10)


def test_guide_000() -> None:
    assert apply(FLUX, 18) == Amount((10,), 10)


@pytest.mark.parametrize(
    ("images", "total", "epochs"), [(6, 700, 117), (10, 1000, 100), (19, 1900, 100), (20, 1980, 99), (25, 1975, 79)]
)
def test_guide_004(images: int, total: int, epochs: int) -> None:
    assert apply(DREAMBOOTH, images) == Amount((1,), epochs, total)


def test_guide_003() -> None:
    assert apply(PONY, 23, batch=2) == Amount((40,), 6)


@pytest.mark.parametrize(("images", "repeats"), [(15, 27), (50, 8), (32, 12), (160, 2), (800, 1)])
def test_guide_001_with_halves_to_even(images: int, repeats: int) -> None:
    """400 ÷ 32 = 12.5 → 12, 400 ÷ 160 = 2.5 → 2, 400 ÷ 800 = 0.5 → 0, which becomes 1."""
    assert apply(SKULLKID, images) == Amount((repeats,), 6)
    assert apply(SKULLKID_SDXL, images) == Amount((repeats,), 16)


def test_guide_002() -> None:
    assert apply(VALSTRIX, 30) == Amount((10,), 10)
    assert apply(Schedule(rule="exposures", exposures=100), 30) == Amount((1,), 100)
    assert apply(Schedule(rule="exposures", exposures=50, repeats=10), 20) == Amount((10,), 5)


def test_guide_002_part_6() -> None:
    assert apply(BALANCED, 51, 43, 32) == Amount((10, 12, 16), 10)
    halved = Schedule(rule="balanced_concepts", exposures=100, repeats=10, halve_balanced=True)
    assert apply(halved, 51, 43, 32) == Amount((5, 6, 8), 20)
    assert apply(halved, 50, 49) == Amount((1, 1), 100)


def test_what_the_person_sets_wins() -> None:
    assert apply(Schedule(rule="per_image", repeats=10, epochs=12), 18) == Amount((10,), 12)
    assert apply(Schedule(rule="per_image", epochs=5), 18) == Amount((20,), 5)
    assert apply(Schedule(rule="per_epoch", repeats=3), 18) == Amount((3,), 6)
    assert apply(Schedule(rule="per_epoch_and_total", epochs=2), 18).epochs == 2
    assert apply(Schedule(rule="per_image_small_sets_more", image_steps_below=2000, epochs=50), 25) == Amount((1,), 50)
    assert apply(Schedule(rule="per_image_small_sets_more", repeats=10), 6) == Amount((10,), 12, 700)
    assert apply(Schedule(rule="repeats_epochs", repeats=3, epochs=4), 18) == Amount((3,), 4)
    assert apply(Schedule(rule="repeats_epochs"), 18) == Amount((1,), 1)


def test_folder_numbers_win_unless_told_otherwise() -> None:
    named = [ConceptImages("a", 20, 7), ConceptImages("b", 10)]
    for rule in RULES:
        schedule = Schedule(rule=rule, repeats=10)  # type: ignore[arg-type]
        assert RULES[rule](named, schedule, 1).repeats[0] == 7
        plain = Schedule(rule=rule, repeats=10, folder_repeats=False)  # type: ignore[arg-type]
        assert RULES[rule](named, plain, 1).repeats[0] == 10
    # The largest concept's own number is the measure for those without one: 20 × 7 ÷ 10 = 14, 15 epochs × 7 ≥ 100.
    assert RULES["balanced_concepts"](named, BALANCED, 1) == Amount((7, 14), 15)


@given(CONCEPTS, st.sampled_from(sorted(RULES)), st.integers(1, 64), st.integers(0, 30), st.integers(0, 30))
def test_never_nothing(counts: list[int], rule: str, batch: int, repeats: int, epochs: int) -> None:
    schedule = Schedule(rule=rule, repeats=repeats, epochs=epochs, image_steps_below=2000)  # type: ignore[arg-type]
    amount = apply(schedule, *counts, batch=batch)
    assert min(amount.repeats) >= 1
    assert amount.epochs >= 1
    assert image_steps(amount, counts) >= 1
    if repeats and rule != "balanced_concepts":
        assert set(amount.repeats) == {repeats}
    if epochs:
        assert amount.epochs == epochs


@given(IMAGES, st.integers(1, 500), st.integers(0, 60), st.sampled_from(["per_image", "exposures"]))
def test_exposures_are_met_within_one_epoch(images: int, exposures: int, repeats: int, rule: str) -> None:
    amount = apply(Schedule(rule=rule, exposures=exposures, repeats=repeats), images)  # type: ignore[arg-type]
    shown = amount.repeats[0] * amount.epochs
    assert exposures <= shown < exposures + amount.repeats[0]


@given(IMAGES, IMAGES, st.sampled_from([FLUX, VALSTRIX, Schedule(rule="per_image_small_sets_more")]))
def test_more_images_never_train_less(first: int, second: int, schedule: Schedule) -> None:
    fewer, more = sorted((first, second))
    assert image_steps(apply(schedule, fewer), [fewer]) <= image_steps(apply(schedule, more), [more])


@given(IMAGES)
def test_dreambooth_is_exact_below_its_limit_and_never_reaches_it(images: int) -> None:
    total = image_steps(apply(DREAMBOOTH, images), [images])
    wanted = 100 * images + (100 if images < 10 else 0)
    assert total < 2000
    assert total == wanted or wanted >= 2000
    if wanted >= 2000 and images < 2000:
        assert total % images == 0
        assert total + images >= 2000


@given(st.integers(1, 10**6), st.integers(1, 5000), st.integers(2, 5000))
def test_under(wanted: int, images: int, limit: int) -> None:
    total = under(wanted, images, limit)
    assert 1 <= total < limit
    assert total == wanted or wanted >= limit
    assert under(wanted, images, 0) == wanted


@given(IMAGES, st.integers(1, 64))
def test_an_epoch_of_900_and_2500_steps_are_reached_but_not_by_more_than_one(images: int, batch: int) -> None:
    amount = apply(PONY, images, batch=batch)
    an_epoch = images * amount.repeats[0]
    assert 900 <= an_epoch < 900 + images
    assert 2500 * batch <= an_epoch * amount.epochs < 2500 * batch + an_epoch


@given(IMAGES)
def test_an_epoch_of_about_400(images: int) -> None:
    an_epoch = images * apply(SKULLKID, images).repeats[0]
    assert abs(an_epoch - 400) <= images / 2 or an_epoch == images


@given(CONCEPTS)
def test_concepts_get_equal_time_within_half_a_repeat(counts: list[int]) -> None:
    amount = apply(BALANCED, *counts)
    measure = max(counts) * 10
    for images, repeats in zip(counts, amount.repeats, strict=True):
        assert abs(images * repeats - measure) <= images / 2
    assert amount.repeats[counts.index(max(counts))] == 10


@given(CONCEPTS)
def test_halving_trains_the_same(counts: list[int]) -> None:
    halved = Schedule(rule="balanced_concepts", exposures=100, repeats=10, halve_balanced=True)
    plain, less = apply(BALANCED, *counts), apply(halved, *counts)
    assert image_steps(plain, counts) == image_steps(less, counts)
    assert math.gcd(*less.repeats) == 1


def test_the_anchor_is_the_first_of_the_largest() -> None:
    assert anchor([ConceptImages("a", 3), ConceptImages("b", 9), ConceptImages("c", 9)]).name == "b"
