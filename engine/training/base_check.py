"""Reads an untouched base: how it predicts known noise on the person's own images, and whether its VAE restores images.

`engine.planning.base_readings` draws the conclusions.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.model import LatentDistribution, Model, PromptEmbeds, SizeConditioning
from loratui.engine.families.parts import on_device
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.base_readings import JUDGED, LEVELS, BaseReadings, judge
from loratui.engine.runs.probe import BaseRead
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.engine.training.diffusion_loss import texts_of
from loratui.engine.training.images import load_pixels, size_conditioning_of
from loratui.engine.training.noise import generator
from loratui.presets.schema import Family, Settings

SEED = 20_261
"""Of the noise, the same for every base and folder, so readings can be compared."""
DRAWS = 3
"""Draws of noise for each level, divided among the images."""
GIVEN_BACK_DB = 20.0
"""A VAE that restores one image this well is sound."""
LONGEST_S = 10.0
"""After this time no further noise is drawn: a large base on a CPU is read with one draw."""


@dataclass(frozen=True)
class Shown:
    """One image as the base is shown it."""

    pixels: Tensor
    """(3, H, W) in [−1, 1]."""
    latents: LatentDistribution
    prompt_embeds: PromptEmbeds
    empty: PromptEmbeds | None
    """Embeddings of the empty caption; None where the image's own caption is empty."""
    size: SizeConditioning


@dataclass(frozen=True)
class _Answer:
    """One forward pass of one image compared with its possible meanings; means over its values."""

    noise: float
    loss: float
    nothing: float
    linear: float
    other: float | None
    cosine: float
    without_text: float | None


def look_at_the_base(
    model: Model,
    entries: Sequence[LedgerEntry],
    settings: Settings,
    latents: LatentCache,
    texts: TextCache,
    autocast: torch.autocast,
) -> BaseRead:
    """Reads the base on a run's first images and judges it. A LoRA on it must be switched off."""
    empty, shown = texts.get(""), []
    for entry in [entry for entry in entries if entry.repeats][:DRAWS]:
        caption = texts_of(entry, settings)[0][0]
        pixels, encoded = load_pixels(entry.path, entry.fit, entry.bucket), latents.get(entry)
        text = texts.get(caption) if caption else empty
        shown.append(Shown(pixels, encoded, text, empty if caption else None, size_conditioning_of(entry, False)))
    read = read_base(model, shown, autocast, family=settings.base.family, embedded=settings.base.is_embedded)
    found = judge(read)
    return BaseRead(
        readings=read.to_json(),
        mistaken=found.variant if found else "",
        message=found.message if found else "",
        remedy=found.remedy if found else "",
    )


@torch.no_grad()
def read_base(
    model: Model, images: Sequence[Shown], autocast: torch.autocast, *, family: Family, embedded: bool
) -> BaseReadings:
    """Reads the base as it is, with at most `DRAWS` passes per noise level and as many without text. `images` is not empty."""
    began = time.monotonic()
    answers: list[list[_Answer]] = []
    for draw in range(DRAWS):
        if draw and time.monotonic() - began > LONGEST_S:
            break
        answers.append([_answer(model, images[draw % len(images)], at, draw, autocast) for at in range(len(LEVELS))])
    scale = model.latent_scale()
    psnr_db, correlation = _given_back(model, images)
    latents = torch.cat([one.latents.mean.flatten() for one in images])
    by_level = [[row[at] for row in answers] for at in range(len(LEVELS))]

    def means(name: str) -> tuple[float, ...]:
        return tuple(statistics.fmean(getattr(one, name) for one in level) for level in by_level)

    known = [one for row in answers for one in row if one.without_text is not None]
    lost = sum(one.loss / one.nothing for one in known)
    gain = sum((one.without_text or 0.0) / one.nothing for one in known) / lost if lost else None
    return BaseReadings(
        family=family,
        embedded=embedded,
        prediction=model.prediction,
        levels=LEVELS,
        noise=means("noise"),
        loss=means("loss"),
        nothing=means("nothing"),
        linear=means("linear"),
        other=() if model.prediction == "flow" else means("other"),
        cosine=means("cosine"),
        text_gain=gain,
        latent_mean=float(latents.mean()),
        latent_std=float(latents.std()),
        vae_scale=scale,
        vae_psnr_db=psnr_db,
        vae_correlation=correlation,
        images=len(images),
        draws=len(answers),
        seconds=round(time.monotonic() - began, 2),
    )


def _answer(model: Model, shown: Shown, at: int, draw: int, autocast: torch.autocast) -> _Answer:
    level, with_empty = LEVELS[at], at in range(len(LEVELS))[JUDGED]
    latents = on_device(shown.latents.mean[None], model.device)
    noise = on_device(torch.randn(latents.shape, generator=generator(SEED, "base", draw)), model.device)
    noisy = model.add_noise(latents, noise, torch.tensor([level]))

    def predict(text: PromptEmbeds) -> Tensor:
        with autocast:
            conditioning = model.conditioning([text], [shown.size])
            return model.predict(noisy.noisy_model_input, noisy.timesteps, conditioning).float()

    answer, target, given = predict(shown.prompt_embeds), noisy.target.float(), noisy.noisy_model_input.float()
    share = float((target * given).mean()) / float(given.square().mean())
    other = _other(model.prediction, latents, noise, noisy.snr)
    length = float(answer.norm() * target.norm())
    return _Answer(
        noise=float(noisy.noise_level) if noisy.snr is None else (1 + float(noisy.snr)) ** -0.5,
        loss=_square(answer - target),
        nothing=_square(target),
        linear=_square(target - share * given),
        other=None if other is None else _square(answer - other) / _square(other),
        cosine=float((answer * target).sum()) / length if length else 0.0,
        without_text=_square(predict(shown.empty) - target) if shown.empty is not None and with_empty else None,
    )


def _other(prediction: str, latents: Tensor, noise: Tensor, snr: Tensor | None) -> Tensor | None:
    """The target if the base predicted the other of epsilon and v."""
    if snr is None:
        return None
    if prediction == "v":
        return noise
    kept = float(snr) / (1 + float(snr))
    return math.sqrt(kept) * noise - math.sqrt(1 - kept) * latents


def _given_back(model: Model, images: Sequence[Shown]) -> tuple[float | None, float | None]:
    """PSNR in dB and correlation of the image that encoding and decoding restored best; None where memory is too small.

    One image proves most VAEs sound, but no VAE restores noise and fine patterns: then others are tried.
    The correlation is None for an image of one colour.
    """
    found: list[tuple[float, float | None]] = []
    try:
        for shown in images[:DRAWS]:
            psnr_db, correlation = _compared(model.decode_image(shown.latents.mean).float() / 127.5 - 1, shown.pixels)
            found.append((psnr_db, correlation))
            if psnr_db >= GIVEN_BACK_DB and correlation is not None:
                break
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    finally:
        model.free_vae()
    return max(found, key=lambda one: (one[1] is not None, one[0]), default=(None, None))


def _compared(back: Tensor, pixels: Tensor) -> tuple[float, float | None]:
    pair = torch.stack([back.flatten(), pixels.flatten().cpu()])
    spread = pair.std(dim=1)
    correlation = float(torch.corrcoef(pair)[0, 1]) if float(spread.min()) > 1e-3 else None
    return 10 * math.log10(4 / max(_square(pair[0] - pair[1]), 1e-9)), correlation


def _square(values: Tensor) -> float:
    return float(values.square().mean())
