"""The moving average of the LoRA: what it is, that it leaves the training alone, and that it comes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import MakeRun, same, train, weights
from torch import nn

from loratui.engine.errors import UsageError
from loratui.engine.training.ema import EMA
from loratui.engine.training.optimizers import build_optimizer
from loratui.engine.training.trainer import Trainer
from loratui.presets.schema import OptimizerSection

CPU = torch.device("cpu")


def values() -> dict[str, nn.Parameter]:
    return {"a": nn.Parameter(torch.zeros(3)), "b": nn.Parameter(torch.zeros(2, 2))}


def sgd(parameters: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(parameters.values()), lr=1.0)


def test_the_average_is_its_formula() -> None:
    parameters = values()
    averaging = EMA(parameters, sgd(parameters), 0.9)
    expected = 0.0
    for step in range(1, 200):
        with torch.no_grad():
            parameters["a"].fill_(float(step % 7))
        averaging.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step % 7)
    assert averaging.shipped()["a"].tolist() == pytest.approx([expected] * 3, rel=1e-5)


def test_within_the_block_the_average_is_at_work_and_afterwards_the_trained_values_bit_for_bit() -> None:
    parameters = values()
    averaging = EMA(parameters, sgd(parameters), 0.9)
    with torch.no_grad():
        parameters["a"].copy_(torch.tensor([0.1, 1 / 3, 7.7]))
    trained = parameters["a"].detach().clone()
    seen = []

    def fail() -> None:
        with averaging.swapped_in():
            seen.append(parameters["a"].detach().clone())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(seen[0], torch.zeros(3))
    assert torch.equal(parameters["a"], trained)


def test_without_an_average_the_values_are_what_they_are() -> None:
    parameters = values()
    averaging = EMA(parameters, sgd(parameters), 0.0)
    averaging.update(1)
    assert not averaging.differs
    with averaging.swapped_in():
        assert torch.equal(parameters["a"], torch.zeros(3))


def test_looking_at_a_schedule_free_average_changes_no_bit_of_the_training() -> None:
    """The optimizer's own way there and back loses bits, so samples would have changed the run."""
    runs = []
    for looks in (False, True):
        torch.manual_seed(0)
        parameters = {"a": nn.Parameter(torch.randn(40))}
        optimizer = build_optimizer(OptimizerSection(name="adamw_schedule_free", learning_rate=0.013), parameters, CPU)
        averaging = EMA(parameters, optimizer, 0.0)
        for number in range(30):
            parameters["a"].grad = torch.randn(40, generator=torch.Generator().manual_seed(number))
            optimizer.step()
            if looks and number:  # after one step, the average is that step
                before = parameters["a"].detach().clone()
                with averaging.swapped_in():
                    assert not torch.equal(parameters["a"], before)
        runs.append(parameters["a"].detach().clone())
    assert torch.equal(*runs)


def test_an_average_of_other_layers_is_refused() -> None:
    parameters = values()
    averaging = EMA(parameters, sgd(parameters), 0.9)
    with pytest.raises(UsageError, match="other layers"):
        averaging.load_state({"a": torch.ones(3)})
    averaging.load_state({"a": torch.ones(3), "b": torch.ones(2, 2)})
    assert torch.equal(averaging.shipped()["a"], torch.ones(3))


@pytest.mark.parametrize(
    "sets",
    [
        ("training.ema_decay=0.9",),
        ("optimizer.name=adamw_schedule_free", "optimizer.scheduler=constant"),
        (),
    ],
)
def test_samples_and_files_are_made_of_the_average_and_of_nothing_else(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    at_work: list[dict[str, torch.Tensor]] = []
    trained: list[dict[str, torch.Tensor]] = []
    averaged: list[dict[str, torch.Tensor]] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            sample, lora = trainer.loaded.model.sample, trainer.artifacts.lora

            def sampled(plan: Any, on_step: Any) -> torch.Tensor:
                at_work.append(trainer.loaded.adapter.state())
                return sample(plan, on_step)

            def written(at: Any, *, final: bool = False) -> None:
                lora(at, final=final)
                trained.append(trainer.loaded.adapter.state())
                with trainer.steps.ema.swapped_in():
                    averaged.append(trainer.loaded.adapter.state())

            trainer.loaded.model.sample = sampled  # type: ignore[method-assign]  # what this test replaces
            trainer.artifacts.lora = written  # type: ignore[method-assign]  # what this test replaces

        set_up = trainer._set_up
        trainer._set_up = lambda: (set_up(), look())[0]  # type: ignore[func-returns-value,method-assign]

    rate = ("optimizer.learning_rate=0.01", "output.precision=fp32", "adapter.targets=attention", "schedule.epochs=1")
    run = make_run(*rate, *sets)
    train(run, spy)
    assert same(averaged[-1], trained[-1]) == (not sets)
    assert same(at_work[-1], averaged[-1])
    in_file = list(weights(run).values())
    for value in averaged[-1].values():
        assert any(value.shape == one.shape and torch.equal(value, one) for one in in_file)
