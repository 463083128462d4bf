"""The loss of a batch, from its pictures and captions to one number a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from loratui.engine.dataset.captions import variants
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.training import losses, noise
from loratui.engine.training.cache import LatentCache, Texts
from loratui.engine.training.families.base import Family, Noised
from loratui.engine.training.images import framing_of
from loratui.engine.training.setup import Job


class Objective:
    """What is minimised. `losses` is a pure function of the trained values and the batch's number."""

    def __init__(self, job: Job, family: Family, latents: LatentCache, texts: Texts) -> None:
        self._job, self._family = job, family
        self._entries = job.ledger.images
        self._latents, self._texts = latents, texts
        self._seed = job.settings.training.seed
        self._drops = job.settings.adapter.drops

    def losses(self, batch: tuple[int, ...], micro_step: int) -> Tensor:
        """(B,) weighted losses of the pictures with these numbers, as batch number `micro_step` of the run."""
        settings, device = self._job.settings, self._job.device
        training = settings.training
        entries = [self._entries[i] for i in batch]
        mirrored, unnamed = torch.rand(2, len(batch), generator=noise.generator(self._seed, "data", micro_step)).tolist()
        flips = [settings.dataset.flip and u < 0.5 for u in mirrored]
        framing = [framing_of(entry, flip) for entry, flip in zip(entries, flips, strict=True)]
        captions = [
            "" if u < settings.dataset.caption_dropout else entry.caption for entry, u in zip(entries, unnamed, strict=True)
        ]
        if settings.dataset.shuffle_captions:
            captions = self._in_some_order(captions, micro_step)
        noised = self._noised(entries, flips, micro_step)
        if self._drops:
            torch.manual_seed(noise.derived_seed(self._seed, "dropout", micro_step))
        with torch.autocast(
            device.type, dtype=self._job.dtype, enabled=device.type == "cuda" and self._job.dtype != torch.float32
        ):
            texts = self._texts.batch(captions)
            prediction = self._family.predict(noised.model_input, noised.timesteps, texts, framing)
        share = noised.timesteps.float() / 1000 if noised.sigma is None else noised.sigma
        value = losses.weighted_loss(prediction, noised.target, share, noised.snr, training, self._family.prediction)
        weights = [training.prior_weight if entry.regularisation else 1.0 for entry in entries]
        return value * torch.tensor(weights, device=device)

    def _noised(self, entries: Sequence[LedgerEntry], flips: Sequence[bool], micro_step: int) -> Noised:
        training, device = self._job.settings.training, self._job.device
        chosen = [self._latents.get(entry, flip) for entry, flip in zip(entries, flips, strict=True)]
        mean, std = (torch.stack([getattr(one, part) for one in chosen]) for part in ("mean", "std"))
        drawn = noise.draw(mean.shape, seed=self._seed, micro_step=micro_step, settings=training)
        latents = (mean + std * drawn.latent_noise).to(device)
        uniform = noise.high_noise_uniform(drawn.uniform, training.high_noise_bias)
        noised = self._family.add_noise(latents, drawn.noise.to(device), uniform)
        if training.input_perturbation:
            perturbed = self._family.add_noise(latents, drawn.input_noise.to(device), uniform)
            noised = replace(noised, model_input=perturbed.model_input)
        return noised

    def _in_some_order(self, captions: Sequence[str], micro_step: int) -> list[str]:
        """Each caption with its tags in one of the orders that were encoded."""
        chance = torch.rand(len(captions), generator=noise.generator(self._seed, "order", micro_step)).tolist()
        orders = [variants(caption, self._job.settings.dataset, self._seed) for caption in captions]
        return [order[int(u * len(order))] for order, u in zip(orders, chance, strict=True)]


def captions_to_encode(job: Job) -> list[str]:
    """Every caption that a run may draw, without the empty one."""
    settings = job.settings
    captions = (entry.caption for entry in job.ledger.images if entry.repeats)
    return [text for caption in captions for text in variants(caption, settings.dataset, settings.training.seed)]
