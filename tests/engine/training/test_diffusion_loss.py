"""The settings of noise, loss and captions reach the step: each of them works alone, and would not be missed where it did not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import MakeRun, after_loading, events, train
from torch import Tensor

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.training import diffusion_loss, losses, noise
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.trainer import Trainer

SMALL = ("adapter.targets=attention", "schedule.epochs=1", "schedule.repeats=1", "training.high_noise_bias=0")
BATCH, NUMBER = (0, 1, 2), 4
"""Images of one size, as batch number 4 of the run."""


def prepared(make_run: MakeRun, *sets: str) -> tuple[Trainer, TrainingBatch, Tensor, Tensor]:
    """A trainer, one batch as it is prepared before the first step, what the base predicts of it then, and its losses."""
    found: list[tuple[Trainer, TrainingBatch, Tensor, Tensor]] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            batch = trainer.steps.diffusion_loss.prepare(BATCH, NUMBER, len(BATCH))
            with torch.no_grad():
                guess = trainer.loaded.model.predict(batch.noisy.noisy_model_input, batch.noisy.timesteps, batch.conditioning)
                found.append((trainer, batch, guess, trainer.steps.diffusion_loss.compute(batch)))

        after_loading(trainer, look)

    train(make_run(*SMALL, *sets), spy)
    return found[0]


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("training.noise_offset=0.3",),
        ("training.multires_noise_iterations=4",),
        ("training.input_perturbation=0.3",),
        ("training.high_noise_bias=2",),
        ("training.noise_offset=0.1", "training.input_perturbation=0.1", "training.high_noise_bias=0.5", "base.prediction=v"),
    ],
)
def test_input_and_target_are_of_the_noise_that_the_recipe_wants(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    trainer, batch, _, _ = prepared(make_run, *sets)
    training = trainer.settings.training
    latents = [trainer.loaded.latents.get(trainer.entries[at]) for at in BATCH]
    mean, std = (torch.stack([getattr(one, part) for one in latents]) for part in ("mean", "std"))
    drawn = noise.draw(mean.shape, seed=training.seed, micro_step=NUMBER, settings=training)
    uniform = noise.high_noise_uniform(drawn.uniform, training.high_noise_bias)
    clean = mean + std * drawn.latent_noise
    expected = trainer.loaded.model.add_noise(clean, drawn.noise, uniform)
    assert torch.equal(batch.noisy.target, expected.target)
    assert torch.equal(batch.noisy.timesteps, expected.timesteps)
    perturbed = trainer.loaded.model.add_noise(clean, drawn.input_noise, uniform)
    assert torch.equal(batch.noisy.noisy_model_input, perturbed.noisy_model_input)
    plain = noise.draw(mean.shape, seed=training.seed, micro_step=NUMBER)
    changed = (drawn.noise, drawn.input_noise, uniform)
    unchanged = (plain.noise, plain.input_noise, plain.uniform)
    assert all(map(torch.equal, changed, unchanged)) == (sets == ()), "the setting must show in the draw"


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("training.min_snr_gamma=1",),
        ("training.debiased_estimation=true",),
        ("training.loss=huber", "training.huber_schedule=snr"),
    ],
)
def test_row_15_the_loss_is_weighted_for_what_the_base_predicts(
    make_run: MakeRun, sets: tuple[str, ...], prediction: Any
) -> None:
    trainer, batch, guess, found = prepared(make_run, f"base.prediction={prediction}", *sets)
    share = batch.noisy.timesteps / 1000

    def weighted(predicts: Any) -> Tensor:
        return losses.weighted_loss(guess, batch.noisy.target, share, batch.noisy.snr, trainer.settings.training, predicts)

    assert trainer.loaded.model.prediction == prediction
    assert torch.equal(found, weighted(prediction))
    if sets and "huber" not in sets[0]:
        assert not torch.allclose(found, weighted("v" if prediction == "epsilon" else "epsilon"))


def test_row_37_shuffled_captions_keep_their_first_tags_and_come_in_several_orders(make_run: MakeRun, images: Any) -> None:
    tags = [f"tag{n}" for n in range(6)]
    for at in range(7):
        (images / f"{at}.txt").write_text(", ".join([f"qxz {at}", *tags]))
    seen: list[str] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            batch = trainer.loaded.texts.batch

            def read(captions: Any) -> Any:
                seen.extend(captions)
                return batch(captions)

            trainer.loaded.texts.batch = read  # type: ignore[method-assign]  # what this test replaces
            for number in range(40):
                trainer.steps.diffusion_loss.prepare((0, 1), number, 2, (number, number))
            trainer.loaded.texts.batch = batch  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    shuffling = ("dataset.shuffle_captions=true", "dataset.keep_tokens=1", "dataset.caption_variants=4")
    run = make_run(*SMALL, *shuffling)
    train(run, spy)
    first, second = seen[:80:2], seen[1:80:2]
    for captions, at in ((first, 0), (second, 1)):
        own = read_ledger(run.dataset).images[at].caption.split(", ")
        assert all(caption.split(", ")[0] == own[0] for caption in captions)
        assert all(sorted(caption.split(", ")) == sorted(own) for caption in captions)
        assert 2 <= len(set(captions)) <= 4
    assert first != second


def test_row_8_what_is_told_of_an_image_is_mirrored_with_it(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    shown: list[bool] = []
    size_conditioning_of = diffusion_loss.size_conditioning_of

    def framed(entry: Any, flip: bool) -> Any:
        told.append(flip)
        return size_conditioning_of(entry, flip)

    monkeypatch.setattr(diffusion_loss, "size_conditioning_of", framed)

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            get = trainer.loaded.latents.get
            trainer.loaded.latents.get = lambda entry, flip=False: shown.append(flip) or get(entry, flip)  # type: ignore
            for number in range(20):
                trainer.steps.diffusion_loss.prepare(BATCH, number, len(BATCH))

        after_loading(trainer, look)

    train(make_run(*SMALL, "dataset.flip=true"), spy)
    assert told[:60] == shown[:60]
    assert 10 < sum(shown[:60]) < 50


def test_row_14_captions_that_are_cut_are_told(make_run: MakeRun, images: Any) -> None:
    (images / "0.txt").write_text("qxz " + "a word " * 60)
    run = make_run(*SMALL)
    train(run)
    [told] = [event.fields for event in events(run, "warning") if event.fields["code"] == "captions_cut"]
    assert told["message"].startswith("1 text is too long for the text encoder")
