"""Rows 49 and 50: numbers that are not finite are caught before the optimizer, their images are named, and none reaches a file (G11)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_runs import MakeRun, after_loading, after_step, events, same, train, weights

from loratui.engine.errors import ExitCode, LoratuiError, NotFiniteError
from loratui.engine.runs import control, loss_watch
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events
from loratui.engine.runs.history import RunHistory
from loratui.engine.training import cache, optimizer_steps
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.trainer import Trainer
from loratui.tui.widgets import braille

SMALL = ("adapter.targets=attention", "samples.every_image_steps=100000", "samples.steps=1", 'samples.prompts=["a {subject}"]')
"""Two epochs of seven steps, one sample at the end."""
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("broken", [pytest.param([10], marks=pytest.mark.long), [8, 9, 10, 12]])
def test_a_loss_that_is_not_finite_leaves_its_step_out_and_names_the_images(make_run: MakeRun, broken: list[int]) -> None:
    run = make_run(*SMALL)
    assert train(run, lambda trainer: poison(trainer, broken)) == ExitCode.DONE
    left_out = [e for e in events(run, "step") if e.fields.get("left_out")]
    assert [e.fields["step"] for e in left_out] == [number + 1 for number in broken]
    assert all(e.fields["loss"] is None for e in left_out)
    warnings = [e.fields for e in events(run, "warning") if e.fields["code"] == "batch_left_out"]
    assert [re.findall(r"step (\d+) .*Its images: \d\.png, \d\.png\.", w["message"]) for w in warnings] == [
        [str(number + 1)] for number in broken
    ]
    assert all(math.isfinite(e.fields["loss"]) for e in events(run, "epoch_finished"))
    assert all(torch.isfinite(value).all() for value in load_file(run.output / "qxz.safetensors").values())


@pytest.mark.long
def test_a_run_with_a_step_left_out_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    whole, broken = make_run(*SMALL), make_run(*SMALL)
    train(whole, lambda trainer: poison(trainer, [4]))

    def stop(trainer: Trainer) -> None:
        poison(trainer, [4])
        after_step(trainer, 5, lambda: control.send(broken, "stop"))

    train(broken, stop)
    train(broken)
    assert same(weights(whole), weights(broken))


def test_more_losses_in_a_row_that_are_not_finite_end_the_run(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    with pytest.raises(NotFiniteError, match=r"loss of step 12 .* like the 3 before it. Its images: \d\.png, \d\.png\."):
        train(run, lambda trainer: poison(trainer, [8, 9, 10, 11]))
    assert [e.fields["step"] for e in events(run, "checkpoint_written")] == [7]
    good = load_file(run.output / "qxz-000007.safetensors")
    assert all(torch.isfinite(value).all() for value in good.values())
    assert not (run.output / "qxz.safetensors").exists()


def test_the_gpu_leaves_out_the_same_steps(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's fused AdamW, which a GPU has, on the CPU: its figures are read a step later."""
    build = optimizer_steps.build_optimizer

    def fused(*given: Any) -> torch.optim.Optimizer:
        groups = build(*given).param_groups
        return torch.optim.AdamW([{**group, "fused": True, "foreach": False} for group in groups])

    monkeypatch.setattr(optimizer_steps, "build_optimizer", fused)
    run, ending = make_run(*SMALL), make_run(*SMALL)
    assert train(run, lambda trainer: poison(trainer, [2, 8, 9, 10, 12])) == ExitCode.DONE
    assert [e.fields["step"] for e in events(run, "step") if e.fields.get("left_out")] == [3, 9, 10, 11, 13]
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    with pytest.raises(NotFiniteError, match="loss of step 12"):
        train(ending, lambda trainer: poison(trainer, [8, 9, 10, 11]))


def poison(trainer: Trainer, micro_steps: Sequence[int]) -> None:
    """Makes the losses of these batches of a run no numbers."""

    def spoil() -> None:
        prepare = trainer.steps.diffusion_loss._prepared

        def poisoned(batch: tuple[int, ...], micro_step: int, *others: int) -> TrainingBatch:
            found = prepare(batch, micro_step, *others)
            return replace(found, weights=found.weights * float("nan")) if micro_step in micro_steps else found

        trainer.steps.diffusion_loss._prepared = poisoned  # type: ignore[method-assign]  # what this test replaces

    after_loading(trainer, spoil)


def test_a_gradient_that_is_not_finite_leaves_its_step_out(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def poison(trainer: Trainer) -> None:
        load = trainer._load

        def loaded(stored: Checkpoint | None) -> None:
            load(stored)
            first = next(iter(trainer.loaded.adapter.parameters.values()))
            first.register_hook(lambda grad: grad * float("inf") if trainer.at.step == 4 else grad)

        trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

    assert train(run, poison) == ExitCode.DONE
    assert [e.fields["step"] for e in events(run, "step") if e.fields.get("left_out")] == [5]
    (warning,) = [e for e in events(run, "warning") if e.fields["code"] == "batch_left_out"]
    assert warning.fields["message"].startswith("The gradient of step 5 is not")


# ---- G11: wherever a number that is not finite gets in, none gets out


def at_batch(number: int, change: Callable[[TrainingBatch], TrainingBatch]) -> Callable[[Trainer], None]:
    """Changes one batch of the run."""

    def site(trainer: Trainer) -> None:
        def spoil() -> None:
            prepare = trainer.steps.diffusion_loss._prepared

            def prepared(batch: tuple[int, ...], micro_step: int, *others: Any) -> TrainingBatch:
                found = prepare(batch, micro_step, *others)
                return change(found) if micro_step == number else found

            trainer.steps.diffusion_loss._prepared = prepared  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, spoil)

    return site


def loss(value: float) -> Callable[[Trainer], None]:
    return at_batch(4, lambda batch: replace(batch, weights=batch.weights * value))


def noisy(name: str, value: float) -> Callable[[Trainer], None]:
    """In the input of the denoiser, in its target."""

    def change(batch: TrainingBatch) -> TrainingBatch:
        tensor = getattr(batch.noisy, name).clone()
        tensor.flatten()[3] = value
        return replace(batch, noisy=replace(batch.noisy, **{name: tensor}))

    return at_batch(4, change)


def gradient(value: float, all_of_it: bool = False) -> Callable[[Trainer], None]:
    def site(trainer: Trainer) -> None:
        def spoil() -> None:
            for parameter in list(trainer.loaded.adapter.parameters.values())[: None if all_of_it else 1]:
                parameter.register_hook(lambda grad: torch.full_like(grad, value) if trainer.at.step == 4 else grad)

        after_loading(trainer, spoil)

    return site


def weight(place: int, value: float) -> Callable[[Trainer], None]:
    """Of the LoRA itself, as a fault of the memory does it."""

    def site(trainer: Trainer) -> None:
        def spoil() -> None:
            with torch.no_grad():
                list(trainer.loaded.adapter.parameters.values())[place].flatten()[0] = value

        after_step(trainer, 5, spoil)

    return site


def optimizer_state(name: str, value: float, step: int) -> Callable[[Trainer], None]:
    def site(trainer: Trainer) -> None:
        after_step(trainer, step, lambda: next(iter(trainer.steps.optimizer.state.values()))[name].view(-1)[:1].fill_(value))

    return site


def average(trainer: Trainer) -> None:
    after_step(trainer, 5, lambda: next(iter(trainer.steps.ema._average.values())).view(-1)[:1].fill_(NAN))


def rate(trainer: Trainer) -> None:
    def spoil() -> None:
        step = trainer.steps.optimizer.step

        def stepped(*given: Any) -> Any:
            for group in trainer.steps.optimizer.param_groups:
                group["lr"] = NAN
            return step(*given)

        trainer.steps.optimizer.step = stepped  # type: ignore[method-assign]  # what this test replaces

    after_step(trainer, 5, spoil)


def latents(part: str, value: float) -> Callable[[Trainer], None]:
    """Of one image in memory, after the cache was checked."""

    def site(trainer: Trainer) -> None:
        def spoil() -> None:
            known = trainer.loaded.latents._known
            key = next(iter(known))
            known[key] = replace(known[key], **{part: torch.full_like(getattr(known[key], part), value)})

        after_loading(trainer, spoil)

    return site


def texts(trainer: Trainer) -> None:
    def spoil() -> None:
        known = trainer.loaded.texts._known
        caption = next(c for c in known if "number 2" in c)
        known[caption] = replace(known[caption], tensors={n: t * NAN for n, t in known[caption].tensors.items()})

    after_loading(trainer, spoil)


def base(trainer: Trainer) -> None:
    def spoil() -> None:
        with torch.no_grad():
            next(p for p in trainer.loaded.model.denoiser.parameters() if not p.requires_grad).view(-1)[:1].fill_(NAN)

    after_step(trainer, 5, spoil)


def vae(trainer: Trainer) -> None:
    """The VAE itself, as it encodes the images."""
    load = trainer._load

    def loaded(stored: Checkpoint | None) -> None:
        read = cache.load_pixels
        try:
            cache.load_pixels = lambda *given: read(*given) * NAN
            load(stored)
        finally:
            cache.load_pixels = read

    trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces


def sample(trainer: Trainer) -> None:
    """What the denoiser makes of a sample."""

    def spoil() -> None:
        drawn = trainer.loaded.model.sample

        def broken(*given: Any, **named: Any) -> Any:
            return drawn(*given, **named) * NAN

        trainer.loaded.model.sample = broken  # type: ignore[method-assign]  # what this test replaces

    after_loading(trainer, spoil)


SITES: dict[str, Callable[[Trainer], None]] = {
    "a loss that is no number": loss(NAN),
    "an infinite loss": loss(INF),
    "a loss of minus infinity": loss(-INF),
    "the noisy input": noisy("noisy_model_input", NAN),
    "the target": noisy("target", INF),
    "one gradient": gradient(NAN),
    "an infinite gradient": gradient(INF),
    "all gradients": gradient(NAN, True),
    "a first matrix of the LoRA": weight(0, NAN),
    "a second matrix of the LoRA": weight(1, INF),
    "the first moment": optimizer_state("exp_avg", NAN, 5),
    "the second moment": optimizer_state("exp_avg_sq", NAN, 5),
    "an infinite moment just before a checkpoint": optimizer_state("exp_avg_sq", INF, 7),
    "the moving average": average,
    "the learning rate": rate,
    "the mean of latents": latents("mean", NAN),
    "the spread of latents": latents("std", INF),
    "text states": texts,
    "a weight of the base": base,
    "the VAE": vae,
    "a sample": sample,
}


def what_is_not_finite(run: RunDirectory) -> list[str]:
    """Files of a run that hold such a number."""
    found = []
    for path in run.path.rglob("*.safetensors"):
        tensors = load_file(path)
        if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
            found.append(path.relative_to(run.path).as_posix())
    return found


OFTEN = ("an infinite gradient", "a first matrix of the LoRA", "an infinite moment just before a checkpoint", "the VAE")
"""Tried with every change; the others in the long lane."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.long) for name in SITES])
def test_no_number_that_is_not_finite_reaches_a_file(make_run: MakeRun, name: str) -> None:
    run = make_run(*SMALL, *(["training.ema_decay=0.9"] if name == "the moving average" else []))
    failed: LoratuiError | None = None
    try:
        train(run, SITES[name])
    except NotFiniteError as error:
        failed = error
    assert what_is_not_finite(run) == []
    codes = {e.fields["code"] for e in events(run, "warning")}
    assert failed is not None or codes & {"batch_left_out", "sample_failed"}, "somebody was told"
    if failed is None:
        assert all(torch.isfinite(value).all() for value in weights(run).values())
    else:
        assert failed.exit_code == ExitCode.NOT_FINITE
        assert failed.remedy
        assert not (run.output / "qxz.safetensors").exists()
    for image in run.samples.rglob("*.png"):
        assert np.asarray(Image.open(image)).std() > 0, "a sample of nothing is black"


@pytest.mark.parametrize("kind", ["latents", pytest.param("text", marks=pytest.mark.long)])
def test_a_cache_of_what_is_not_finite_is_made_again(make_run: MakeRun, kind: str) -> None:
    run = make_run(*SMALL, "schedule.image_steps=2")
    train(run)
    spoilt = next(run.cache.glob(f"{kind}-*.safetensors"))
    tensors = {n: torch.full_like(t, NAN) if t.is_floating_point() else t for n, t in load_file(spoilt).items()}
    save_file(tensors, spoilt, {"sha256": cache._sum(spoilt, tensors)})
    train(run)
    assert what_is_not_finite(run) == []
    assert "cache_damaged" in {e.fields["code"] for e in events(run, "warning")}


def test_a_spike_is_marked_on_the_curve_with_advice_and_nothing_else_is_done(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 55."""
    monkeypatch.setattr(loss_watch, "SETTLED_STEPS", 5)
    run = make_run(*SMALL)
    assert train(run, at_batch(9, lambda batch: replace(batch, weights=batch.weights * 1e4))) == ExitCode.DONE
    (event,) = events(run, "loss_unusual")
    assert (event.fields["kind"], event.fields["step"]) == ("spike", 10)
    (warning,) = [e.fields for e in events(run, "warning") if e.fields["code"] == "loss_spike"]
    assert warning["message"].startswith("The loss of step 10 is ")
    assert "Compare the samples" in warning["remedy"]
    history = RunHistory()
    for one in read_events(run.events, max_bytes=1 << 24).events:
        history.apply(one)
    assert [mark.step for mark in history.loss_marks] == [10]
    line = braille.marks(14, 14, {braille.UNUSUAL: [10], braille.SAMPLE: [10], braille.EPOCH: [7, 14]})
    assert line[9] == ("!", braille.UNUSUAL)
    assert braille.legend(line).startswith("! see the warnings")
