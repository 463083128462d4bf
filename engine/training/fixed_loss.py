"""The loss of single images at noise and times that never change: what the LoRA does to it, apart from what a step draws."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.model import Model, NoisyInput, PromptEmbeds, SizeConditioning
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
        loaded = self._loaded
        settings, model = loaded.job.settings, loaded.model
        times = [(number + 0.5) / draws for number in range(draws)]
        noisy = noisy_at(model, loaded.latents.get(entry).mean, times, SEED, "fixed", entry.relative)
        mask = loaded.latents.mask(entry)
        text, size = loaded.texts.get(texts_of(entry, settings)[0][0]), size_conditioning_of(entry, flip=False)
        return statistics.fmean(losses_of(model, noisy, text, size, self._autocast, settings.training.batch_size, mask))


def noisy_at(model: Model, mean: Tensor, times: Sequence[float], seed: int, *source: int | str) -> NoisyInput:
    """The latents (C, …, h, w) of one image at some times, 0 to 1, each with noise that follows from seed, `source` and its number."""
    noise = torch.stack([torch.randn(mean.shape, generator=generator(seed, *source, number)) for number in range(len(times))])
    clean = on_device(mean.expand(len(times), *mean.shape).contiguous(), model.device)
    return model.add_noise(clean, on_device(noise, model.device), torch.tensor(times))


def losses_of(
    model: Model,
    noisy: NoisyInput,
    text: PromptEmbeds,
    size: SizeConditioning,
    autocast: Callable[[], torch.autocast],
    at_once: int,
    mask: Tensor | None = None,
) -> list[float]:
    """The squared error of each of these inputs, which are of one image and text; so many are computed at once. `mask` (h, w) weights it."""
    found: list[float] = []
    for first in range(0, len(noisy.timesteps), at_once):
        some = slice(first, first + at_once)
        inputs = noisy.noisy_model_input[some]
        with autocast():
            conditioning = model.conditioning([text] * len(inputs), [size] * len(inputs))
            answer = model.predict(inputs, noisy.timesteps[some], conditioning)
        masks = None if mask is None else on_device(mask, model.device).expand(len(inputs), *mask.shape)
        found += per_sample_loss(answer, noisy.target[some], masks=masks).tolist()
    return found
