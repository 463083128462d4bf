"""How many validation images are made at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from loratui.engine.families.model import Model, PromptEmbeds, SamplePlan
from loratui.engine.training.validation import making
from loratui.engine.training.validation.making import MOST_AT_ONCE, Batches

CARD, CPU = torch.device("cuda"), torch.device("cpu")


class Sampler:
    """A model that only samples, with room for so many images; each takes so long."""

    def __init__(self, clock: list[float], *, room: int = 1000, image_s: float = 0.1) -> None:
        self.sizes: list[int] = []
        self._clock, self._room, self._image_s = clock, room, image_s

    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        del on_step
        self.sizes.append(len(plans))
        if len(plans) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self._clock[0] += self._image_s * len(plans)
        return [torch.zeros(3, 8, 8, dtype=torch.uint8)] * len(plans)


def sizes(device: torch.device, images: int, monkeypatch: pytest.MonkeyPatch, *, tiny: bool = False, **of: Any) -> list[int]:
    clock = [0.0]
    monkeypatch.setattr(making.time, "monotonic", lambda: clock[0])
    model, batches = Sampler(clock, **of), Batches(device, tiny=tiny)
    text = PromptEmbeds({}, 0)
    plans = [SamplePlan(text, text, seed, 64, 64, 4, 1.0) for seed in range(images)]
    while plans:
        made = batches.sample(cast(Model, model), plans, lambda *_: None)
        plans = plans[len(made) :]
    return model.sizes


def test_the_first_image_measures_the_time_and_the_next_batch_is_as_large_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(CARD, 40, monkeypatch) == [1, MOST_AT_ONCE, MOST_AT_ONCE, 7]


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_no_larger_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(CARD, 12, monkeypatch, room=3) == [1, 11, 5, 2, 2, 2, 2, 2, 1]


def test_slow_images_are_made_in_small_batches_so_that_a_stop_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(CARD, 6, monkeypatch, image_s=10.0) == [1, 3, 2]
    assert sizes(CARD, 2, monkeypatch, image_s=100.0) == [1, 1]


def test_on_a_cpu_each_image_is_made_alone_but_for_those_of_tiny_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes(CPU, 3, monkeypatch) == [1, 1, 1]
    assert sizes(CPU, 3, monkeypatch, tiny=True) == [1, 2]


def test_memory_for_not_even_one_image_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        sizes(CARD, 1, monkeypatch, room=0)
