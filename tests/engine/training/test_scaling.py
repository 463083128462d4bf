"""Training in fp16: the loss is scaled, a step whose gradients leave fp16's range is made again, and a resume knows the scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from random_bases import write_images
from small_runs import MakeRun, after_loading, after_step, events, every_step, losses, same, train, weights

from loratui.engine.errors import ExitCode, NotFiniteError, UsageError
from loratui.engine.planning import memory_plan
from loratui.engine.planning.precision import Chosen
from loratui.engine.runs import control
from loratui.engine.training.scaling import MOST_IN_A_ROW, LossScaling
from loratui.engine.training.trainer import Trainer

SMALL = ("schedule.image_steps=16", "samples.every_image_steps=1000000", "samples.steps=1", "optimizer.warmup=0.1")


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU computes in fp16 as a T4 would."""
    monkeypatch.setattr(memory_plan, "choose", lambda settings, card: Chosen("fp16"))


def numbers(run: Any, name: str) -> list[float]:
    """A figure of every step."""
    return [float(e.fields[name]) for e in events(run, "step")]


def from_scale(scale: float, growth: int = 2000) -> Any:
    """Changes a trainer so that it begins with this loss scale, and doubles it after so many steps."""

    def change(trainer: Trainer) -> None:
        def set_scale() -> None:
            trainer.steps.scaling._scaler._init_scale = scale
            trainer.steps.scaling._scaler.set_growth_interval(growth)

        every_step(trainer)
        after_loading(trainer, set_scale)

    return change


@pytest.mark.usefixtures("fp16")
def test_fp16_learns_what_fp32_learns(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    half, whole = make_run(*SMALL), make_run(*SMALL)
    assert train(half, every_step) == ExitCode.DONE
    with monkeypatch.context() as patched:
        patched.setattr(memory_plan, "choose", lambda settings, card: Chosen("fp32"))
        train(whole, every_step)
    assert numbers(half, "loss") == pytest.approx(numbers(whole, "loss"), rel=2e-3)
    # The norm is that of the gradients divided by the scale; clipping them first would make it 65 536 times as large.
    assert numbers(half, "grad_norm") == pytest.approx(numbers(whole, "grad_norm"), rel=3e-2)
    started = events(half, "run_started")[0].fields
    assert started["dtype"] == "float16"
    assert numbers(half, "step") == numbers(whole, "step") == list(map(float, range(1, 9)))


@pytest.mark.usefixtures("fp16")
@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("training.batch_size=2", "training.accumulation=2", "training.train_text_encoder=true"),
        ("optimizer.name=adafactor",),
        ("adapter.dropout=0.3",),
    ],
    ids=["plain", "accumulated", "by tensor", "dropout"],
)
def test_a_step_beyond_the_range_is_made_again_until_it_fits(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    calm, beyond = make_run(*SMALL, *sets), make_run(*SMALL, *sets)
    train(calm, from_scale(1024.0))
    assert train(beyond, from_scale(2.0**34)) == ExitCode.DONE
    assert numbers(beyond, "repeated")[0] > 5
    # Each planned step was made once, with its own images, noise and dropout: the first loss is the same to the last bit.
    assert numbers(beyond, "step") == numbers(calm, "step")
    assert numbers(beyond, "image_step") == numbers(calm, "image_step")
    assert losses(beyond)[1] == losses(calm)[1]
    assert numbers(beyond, "loss") == pytest.approx(numbers(calm, "loss"), rel=2e-3)
    assert numbers(beyond, "lr") == numbers(calm, "lr")


@pytest.mark.usefixtures("fp16")
def test_a_resumed_run_has_the_scale_it_had_and_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    whole, broken = make_run(*SMALL), make_run(*SMALL)
    train(whole, from_scale(2.0**30, growth=3))

    def stop(trainer: Trainer) -> None:
        from_scale(2.0**30, growth=3)(trainer)
        after_step(trainer, 5, lambda: control.send(broken, "stop"))

    train(broken, stop)
    stored = json.loads((sorted(broken.checkpoints.iterdir())[-1] / "state.json").read_text())["scaling"]
    assert stored["growth_interval"] == 3
    assert stored["repeated"] > 0
    assert train(broken, every_step) == ExitCode.DONE
    assert losses(broken) == losses(whole)
    assert same(weights(broken), weights(whole))
    assert numbers(broken, "repeated")[-1] == numbers(whole, "repeated")[-1]


@pytest.mark.usefixtures("fp16")
def test_gradients_that_never_fit_end_the_run_and_nothing_is_spoilt(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def spoil(trainer: Trainer) -> None:
        def gradients(*_: Any) -> torch.Tensor:
            trainer.steps.scaling._scaler.scale(torch.ones(()))
            for value in trainer.steps.flat_parameters.parts.values():
                assert value.grad is not None
                value.grad.fill_(float("inf"))
            trainer.steps.scaling.unscale(trainer.steps.optimizer)
            return torch.tensor([float("inf"), 0.1])

        every_step(trainer)
        after_step(trainer, 3, lambda: setattr(trainer.steps, "_forward_backward", gradients))

    with pytest.raises(NotFiniteError, match=r"gradient of step 7 .* like the 3 before it") as error:
        train(run, spoil)
    assert error.value.exit_code == ExitCode.NOT_FINITE
    assert "fp32" in error.value.remedy
    assert {e.fields["step"] for e in events(run, "step") if e.fields.get("left_out")} == {4, 5, 6}
    assert [e.fields["repeated"] for e in events(run, "step")][-3:] == [
        MOST_IN_A_ROW - 1,
        2 * (MOST_IN_A_ROW - 1),
        3 * (MOST_IN_A_ROW - 1),
    ]


@pytest.mark.usefixtures("fp16")
def test_a_loss_that_is_not_finite_is_no_matter_of_scale(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def spoil(trainer: Trainer) -> None:
        after_step(
            trainer,
            2,
            lambda: setattr(trainer.steps, "_forward_backward", lambda *_: torch.tensor([float("nan"), float("inf")])),
        )

    with pytest.raises(NotFiniteError, match="loss of step 6") as error:
        train(run, spoil)
    assert "training.precision to fp32" in error.value.remedy


def test_nothing_is_scaled_in_other_formats() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        scaling = LossScaling(torch.device("cpu"), dtype)
        loss = torch.tensor(3.0)
        assert scaling.scaled(loss) is loss
        assert not scaling.is_beyond_range(float("inf"), 1.0)
        assert scaling.state() == {}
        scaling.load_state({"scale": 2.0, "repeated": 1})
        assert scaling.scale == 1.0


@pytest.mark.usefixtures("fp16")
def test_a_base_whose_weights_do_not_fit_is_refused(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.families import loading

    load = loading.load_part

    def large(files: Any, part: str, **options: Any) -> Any:
        model = load(files, part, **options)
        if part == "unet":
            with torch.no_grad():
                next(model.parameters()).view(-1)[0] = 70_000.0
        return model

    monkeypatch.setattr(loading, "load_part", large)
    with pytest.raises(UsageError, match="range of fp16") as error:
        train(make_run(*SMALL))
    assert "fp32" in error.value.remedy


def test_the_images_of_runs_do_not_depend_on_earlier_tests(tmp_path: Path) -> None:
    first, second = write_images(tmp_path / "first"), write_images(tmp_path / "second")
    assert [path.read_bytes() for path in sorted(first.iterdir())] == [path.read_bytes() for path in sorted(second.iterdir())]
