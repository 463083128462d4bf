"""Several processes that train one run: their shares are the whole, and the sum of what they compute is what one would."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import MakeRun, events, train
from torch import nn

from loratui.engine.errors import ExitCode
from loratui.engine.planning.order import OrderEntry
from loratui.engine.planning.world import World
from loratui.engine.training.data import AccumulationWindow, BatchSchedule
from loratui.engine.training.flat_parameters import FlatParameters
from loratui.engine.training.noise import generator
from loratui.engine.training.team import Team
from loratui.engine.training.trainer import Trainer

ENTRIES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=9).map(
    lambda rows: [OrderEntry(i, bucket, repeats) for i, (bucket, repeats) in enumerate(rows)]
)


def windows(entries: list[OrderEntry], size: int, accumulation: int, batch_size: int) -> list[AccumulationWindow]:
    schedule = BatchSchedule(entries, seed=3, epochs=2, batch_size=batch_size, window_batches=accumulation * size)
    return list(schedule.windows())


@given(ENTRIES, st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_the_shares_of_all_processes_are_disjoint_and_complete(
    entries: list[OrderEntry], size: int, accumulation: int, batch_size: int
) -> None:
    for window in windows(entries, size, accumulation, batch_size):
        shares = [list(World(rank, size).share(window.batches)) for rank in range(size)]
        assert sorted(one for share in shares for one in share) == list(enumerate(window.batches))
        assert max(map(len, shares)) <= accumulation
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(ENTRIES, st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_a_batch_has_the_same_number_however_many_train(
    entries: list[OrderEntry], size: int, accumulation: int, batch_size: int
) -> None:
    """All that is drawn at random for a batch follows from its number in the whole run."""
    alone = [batch for window in windows(entries, 1, 1, batch_size) for batch in window.batches]
    for window in windows(entries, size, accumulation, batch_size):
        for rank in range(size):
            for place, batch in World(rank, size).share(window.batches):
                assert alone[window.before.micro_step + place] == batch


def gradient(window: AccumulationWindow, world: World) -> torch.Tensor:
    """What a process adds up for a window, of a loss that depends on the images and on what their batch draws."""
    weight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    flat = FlatParameters({"denoiser.a": weight})
    for place, batch in world.share(window.batches):
        drawn = torch.randn(5, dtype=torch.float64, generator=generator(7, "noise", window.before.micro_step + place))
        losses = sum(((weight * (index + 1) - drawn) ** 2).sum() for index in batch)
        flat.add_gradients(torch.autograd.grad(losses / window.images, [weight]))
    found = flat.parts["denoiser"].grad
    assert found is not None
    return found


@settings(max_examples=25)
@given(ENTRIES, st.integers(2, 5), st.integers(1, 3), st.integers(1, 3))
def test_the_sum_over_processes_is_the_mean_gradient_of_one(
    entries: list[OrderEntry], size: int, accumulation: int, batch_size: int
) -> None:
    several, one = windows(entries, size, accumulation, batch_size), windows(entries, 1, accumulation * size, batch_size)
    for window, same in zip(several[:3], one, strict=False):
        summed = sum(gradient(window, World(rank, size)) for rank in range(size))
        torch.testing.assert_close(summed, gradient(same, World()))


@given(st.integers(1, 9))
def test_one_process_writes(size: int) -> None:
    worlds = [World(rank, size) for rank in range(size)]
    assert [world.rank for world in worlds if world.is_writer] == [0]


@pytest.mark.parametrize(("rank", "size"), [(0, 0), (1, 1), (-1, 2)])
def test_a_place_that_is_none_is_refused(rank: int, size: int) -> None:
    with pytest.raises(ValueError, match="ranks are counted from 0"):
        World(rank, size)


def test_gradients_and_losses_are_added_over_processes() -> None:
    """With gloo between threads; on GPUs it is NCCL between processes."""
    store = torch.distributed.HashStore()

    def work(rank: int) -> tuple[torch.Tensor, float]:
        flat = FlatParameters({"denoiser.a": nn.Parameter(torch.zeros(3)), "text_encoder.b": nn.Parameter(torch.zeros(2))})
        flat.add_gradients([torch.full((3,), rank + 1.0), torch.full((2,), 10.0 * rank)])
        loss = torch.tensor(float(rank))
        flat.add_over(torch.distributed.ProcessGroupGloo(store, rank, 2), loss)  # type: ignore[attr-defined]  # untyped
        return torch.cat([value.grad.flatten() for value in flat.tensors.values() if value.grad is not None]), float(loss)

    with ThreadPoolExecutor(2) as threads:
        for found, loss in threads.map(work, range(2)):
            assert found.tolist() == [3.0, 3.0, 3.0, 10.0, 10.0]
            assert loss == 1.0


def test_a_process_that_is_not_the_writer_leaves_nothing_behind(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=1", "adapter.targets=attention")

    def second(trainer: Trainer) -> None:
        trainer.job = dataclasses.replace(trainer.job, team=Team(World(1, 2)))

    assert train(run, second) == ExitCode.DONE
    assert events(run, "step")
    kinds = ("checkpoint_written", "output_written", "sample_written")
    assert [event.type for kind in kinds for event in events(run, kind)] == []
    assert not any(run.output.glob("*.safetensors"))
