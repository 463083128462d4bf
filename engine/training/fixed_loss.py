"""The loss of single images at noise and times that never change: what the LoRA does to it, apart from what is drawn in a step."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.parts import on_device
from loratui.engine.training.diffusion_loss import texts_of
from loratui.engine.training.images import size_conditioning_of
from loratui.engine.training.loaded import Loaded
from loratui.engine.training.losses import per_sample_loss
from loratui.engine.training.noise import generator

SEED = 20_261
"""Of the noise, the same for every run, so that runs can be compared."""


class FixedLoss:
    """Measures the plain squared error, without the weights of a recipe's loss, so that it means the same in every run."""

    def __init__(self, loaded: Loaded, autocast: Callable[[], torch.autocast], progress: Callable[[int, int], None]) -> None:
        """`progress(done, total)` is called before each image with the number of images, and may raise to stop."""
        self._loaded, self._autocast, self._progress = loaded, autocast, progress

    @torch.no_grad()
    def of(self, entries: Sequence[LedgerEntry], draws: int, strength: float) -> list[float]:
        """The loss of each image over `draws` times, evenly spread, with the LoRA at a strength; at 0 it is the base's.

        Changes nothing of the training, whose random numbers have other sources. Blocks that are compiled compute eagerly: to
        compile them without gradients would take longer.
        """
        with self._loaded.adapter.strength(strength), self._loaded.blocks.eagerly():
            found = []
            for done, entry in enumerate(entries):
                self._progress(done, len(entries))
                found.append(self._of(entry, draws))
            return found

    def _of(self, entry: LedgerEntry, draws: int) -> float:
        loaded, at_once = self._loaded, self._loaded.job.settings.training.batch_size
        settings, model = loaded.job.settings, loaded.model
        mean = loaded.latents.get(entry).mean
        text, size = loaded.texts.get(texts_of(entry, settings)[0][0]), size_conditioning_of(entry, flip=False)
        found: list[float] = []
        for first in range(0, draws, at_once):
            numbers = range(first, min(first + at_once, draws))
            noise = torch.stack([_noise(mean, entry, number) for number in numbers])
            times = torch.tensor([(number + 0.5) / draws for number in numbers])
            latents = on_device(mean.expand(len(numbers), *mean.shape).contiguous(), model.device)
            noisy = model.add_noise(latents, on_device(noise, model.device), times)
            with self._autocast():
                conditioning = model.conditioning([text] * len(numbers), [size] * len(numbers))
                answer = model.predict(noisy.noisy_model_input, noisy.timesteps, conditioning)
            found += per_sample_loss(answer, noisy.target).tolist()
        return statistics.fmean(found)


def _noise(like: Tensor, entry: LedgerEntry, number: int) -> Tensor:
    return torch.randn(like.shape, generator=generator(SEED, "fixed", entry.relative, number))
