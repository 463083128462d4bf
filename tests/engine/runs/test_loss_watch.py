"""Row 55: a spike and a divergence are found, and the noise of diffusion training is neither."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator

import pytest

from loratui.engine.runs.loss_watch import LossWatch, Unusual

BASES: dict[str, Callable[[random.Random], float]] = {
    "noise prediction": lambda dice: 0.004 + 0.6 * math.exp(-6 * dice.random()),
    "min-SNR": lambda dice: 0.01 + 0.05 * min(5 * math.exp(-6 * dice.random()), 1.0),
    "flow matching": lambda dice: 0.15 + 0.9 * abs(dice.random() - 0.4) ** 2,
    "heavy tails": lambda dice: 0.05 * math.exp(dice.gauss(0.0, 1.0)),
}
"""The loss by a random noise level, which alone varies it a hundredfold."""


def noise(dice: random.Random, base: str, images: int, batch: int, hard: bool = False) -> Iterator[float]:
    """Losses like those of a real run: each image has its own, shown in the order of epochs, slowly falling."""
    factors = [math.exp(dice.gauss(0.0, 0.35)) * (15.0 if hard and i % 10 == 0 else 1.0) for i in range(images)]
    order: list[int] = []
    for step in itertools.count(1):
        if len(order) < batch:
            order += dice.sample(range(images), images)
        losses = [BASES[base](dice) * factors[order.pop()] * math.exp(dice.gauss(0.0, 0.35)) for _ in range(batch)]
        yield sum(losses) / batch * (1.0 - 0.3 * min(1.0, step / 1500))


def found(losses: Iterator[float], steps: int, change: Callable[[int, float], float] = lambda _, loss: loss) -> list[Unusual]:
    watch = LossWatch(20)
    each = (watch.add(step, change(step, next(losses))) for step in range(1, steps + 1))
    return [one for one in each if one is not None]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("hard", [False, True])
def test_the_noise_of_thousands_of_steps_is_never_told(base: str, hard: bool) -> None:
    for images, batch in ((5, 1), (18, 2), (20, 4)):
        dice = random.Random(f"{base}{images}{batch}{hard}")
        assert found(noise(dice, base, images, batch, hard), 4000) == []


@pytest.mark.long
@pytest.mark.parametrize("base", BASES)
def test_the_noise_of_a_million_steps_is_never_told(base: str) -> None:
    for seed, images, batch in itertools.product(range(20), (5, 18, 100, 400), (1, 2, 4)):
        dice = random.Random(f"{base}{images}{batch}{seed}")
        watch = LossWatch(images // batch)
        losses = noise(dice, base, images, batch, hard=seed % 2 == 1)
        assert [one for step in range(1, 4001) if (one := watch.add(step, next(losses)))] == []


@pytest.mark.parametrize("base", BASES)
def test_a_loss_that_explodes_at_one_step_is_told_once(base: str) -> None:
    dice = random.Random(base)
    (one,) = found(noise(dice, base, 20, 2), 1500, lambda step, loss: 1e3 if step == 900 else loss)
    assert (one.kind, one.step, one.loss, one.steps) == ("spike", 900, pytest.approx(1e3), 1)
    assert one.usual < 1.0


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("times", "within"), [(10.0, 150), (3.0, 1050)])
def test_a_loss_that_rises_to_stay_is_told_soon_and_not_at_each_step(base: str, times: float, within: int) -> None:
    dice = random.Random(base)
    told = found(noise(dice, base, 20, 2), 3000, lambda step, loss: loss * times if step > 1000 else loss)
    rises = [one for one in told if one.kind == "divergence"]
    assert 1000 < rises[0].step <= 1000 + within
    assert rises[0].loss > 1.5 * rises[0].usual
    assert len(rises) <= 2
    assert len(told) - len(rises) <= 2


def test_what_was_never_settled_is_no_spike() -> None:
    losses = iter([0.1] * 50 + [1e6] + [0.1] * 100)
    assert found(losses, 151) == []


@pytest.mark.parametrize("loss", [0.0, -1.0, 1e-300, 1e300])
def test_any_finite_loss_is_taken(loss: float) -> None:
    found(itertools.repeat(loss), 1000)
