"""The loss of a batch, from its images and captions to one number per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from loratui.engine.dataset.caption_choice import Texts, drawn, texts
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.model import Model, NoisyInput
from loratui.engine.families.parts import on_device
from loratui.engine.training import losses, noise
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.engine.training.data import AccumulationWindow
from loratui.engine.training.images import size_conditioning_of
from loratui.engine.training.setup import Job
from loratui.presets.schema import Settings


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of B images as a step takes it: tensors on the device, and what is drawn by within the step."""

    noisy: NoisyInput
    conditioning: Mapping[str, Tensor]
    """What else the model's `predict` takes."""
    weights: Tensor
    """(B,) of each image's loss."""
    window_images: Tensor
    """() images of the whole optimizer step, this batch's included."""
    tokens: tuple[Mapping[str, Tensor], ...] = ()
    """Of each caption, where a text encoder is trained: the embeddings are a part of the step. Else `conditioning` has them."""
    seed: int | None = None
    """What dropout draws by; None: nothing is dropped."""
    masks: Tensor | None = None
    """(B, h, w) weights of the latents' cells, as `losses.per_sample_loss` takes them; None: all count the same."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        named = {field.name: getattr(self.noisy, field.name) for field in fields(self.noisy)}
        noisy = {name: value for name, value in named.items() if value is not None}
        conditioning = {f"{_CONDITIONING}{name}": value for name, value in self.conditioning.items()}
        tokens = {f"{number}.{name}": value for number, one in enumerate(self.tokens) for name, value in one.items()}
        masks = {} if self.masks is None else {"masks": self.masks}
        return {**noisy, **conditioning, **tokens, **masks, "weights": self.weights, "window_images": self.window_images}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> TrainingBatch:
        """The same with other tensors, named as in `tensors()`."""
        noisy = {field.name: tensors.get(field.name) for field in fields(self.noisy)}
        conditioning = {name: tensors[f"{_CONDITIONING}{name}"] for name in self.conditioning}
        tokens = tuple({name: tensors[f"{number}.{name}"] for name in one} for number, one in enumerate(self.tokens))
        made = NoisyInput(**noisy)  # type: ignore[arg-type]  # the fields that must not be None are in every `tensors()`
        weights, images = tensors["weights"], tensors["window_images"]
        return TrainingBatch(made, conditioning, weights, images, tokens, self.seed, tensors.get("masks"))

    def split(self) -> list[TrainingBatch]:
        """Its images as batches of one: the same gradients but for rounding, since each loss is divided by the window's images.
        A batch with dropout is never split: what it draws is for the whole."""
        each = []
        for number in range(len(self.weights)):
            own = {name: value[number : number + 1] if value.dim() else value for name, value in self.tensors().items()}
            tokens = self.tokens[number : number + 1]
            each.append(replace(self.with_tensors(own), tokens=tokens))
        return each

    def seed_draws(self) -> None:
        """Has dropout draw what it draws for this batch, whatever was drawn before."""
        if self.seed is not None:
            torch.manual_seed(self.seed)


_CONDITIONING = "conditioning."


class DiffusionLoss:
    """What is minimised. Everything is a pure function of the trained values and the batch's number."""

    def __init__(self, job: Job, model: Model, latents: LatentCache, texts: TextCache) -> None:
        self._job, self._model = job, model
        self._entries = job.ledger.images
        self._latents, self._texts = latents, texts
        self._seed = job.settings.training.seed
        self._ahead: tuple[tuple[object, ...], TrainingBatch] | None = None

    def look_ahead(self, batch: tuple[int, ...], micro_step: int, window_images: int, shown: tuple[int, ...] = ()) -> None:
        """Prepares the next batch while the GPU is busy."""
        asked = (batch, micro_step, window_images, shown)
        self._ahead = asked, self._prepared(*asked)

    def prepare(
        self, batch: tuple[int, ...], micro_step: int, window_images: int, shown: tuple[int, ...] = ()
    ) -> TrainingBatch:
        """The images with these numbers as batch number `micro_step` of the run, in a window of `window_images`.

        `shown` is how often each image was shown before, which decides its caption; empty: never.
        """
        asked = (batch, micro_step, window_images, shown)
        ahead, self._ahead = self._ahead, None
        return ahead[1] if ahead is not None and ahead[0] == asked else self._prepared(*asked)

    def has_one_shape(self, windows: Iterable[AccumulationWindow]) -> bool:
        """Whether all batches of these windows are surely of one shape."""
        split = self._job.memory_plan.split
        batches = {
            (self._entries[batch[0]].bucket, 1 if split else len(batch)) for window in windows for batch in window.batches
        }
        texts = [*captions_to_encode(self._job), *[""] * bool(self._job.settings.dataset.caption_dropout)]
        captions = {read.shapes for read in self._texts.batch(texts)}
        return len(batches) == 1 and len(captions) == 1

    def compute(self, batch: TrainingBatch) -> Tensor:
        """(B,) weighted losses of a batch."""
        noisy, training = batch.noisy, self._job.settings.training
        conditioning = batch.conditioning
        with self.autocast():
            if batch.tokens:
                encoded = [self._model.encode(one) for one in batch.tokens]
                conditioning = {**conditioning, **self._model.text_conditioning(encoded)}
            model_pred = self._model.predict(noisy.noisy_model_input, noisy.timesteps, conditioning)
        predicts = self._model.prediction
        loss = losses.weighted_loss(
            model_pred, noisy.target, noisy.noise_level, noisy.snr, training, predicts, masks=batch.masks
        )
        return loss * batch.weights

    def autocast(self) -> torch.autocast:
        """The number format that a forward pass of the base computes in."""
        job = self._job
        # Without its cache: every weight is used once per pass, and a recording must not keep casts of values that change.
        return torch.autocast(job.device.type, dtype=job.dtype, enabled=job.mixed, cache_enabled=False)

    def _prepared(self, batch: tuple[int, ...], micro_step: int, window_images: int, shown: tuple[int, ...]) -> TrainingBatch:
        settings, device = self._job.settings, self._job.device
        training = settings.training
        entries = [self._entries[i] for i in batch]
        mirrored, unnamed = torch.rand(2, len(batch), generator=noise.generator(self._seed, "data", micro_step)).tolist()
        flips = [settings.dataset.flip and u < 0.5 for u in mirrored]
        sizes = [size_conditioning_of(entry, flip) for entry, flip in zip(entries, flips, strict=True)]
        captions = [
            "" if u < settings.dataset.caption_dropout else self._caption(entry, before)
            for entry, u, before in zip(entries, unnamed, shown or (0,) * len(batch), strict=True)
        ]
        noisy = self._noisy_input(entries, flips, micro_step)
        tensors = [read.tensors for read in self._texts.batch(captions)]
        conditioning = self._model.size_conditioning(sizes)
        tokens: tuple[Mapping[str, Tensor], ...] = ()
        if training.train_text_encoder:
            tokens = tuple({name: on_device(value, device) for name, value in one.items()} for one in tensors)
        else:
            with self.autocast():
                conditioning |= self._model.text_conditioning(tensors)
        weights = torch.tensor([training.prior_weight if entry.regularisation else 1.0 for entry in entries])
        images = torch.tensor(float(window_images))
        seed = noise.derived_seed(self._seed, "dropout", micro_step) if settings.adapter.drops else None
        masks = [
            mask for entry, flip in zip(entries, flips, strict=True) if (mask := self._latents.mask(entry, flip)) is not None
        ]
        placed = on_device(torch.stack(masks), device) if masks else None
        return TrainingBatch(noisy, conditioning, on_device(weights, device), on_device(images, device), tokens, seed, placed)

    def _noisy_input(self, entries: Sequence[LedgerEntry], flips: Sequence[bool], micro_step: int) -> NoisyInput:
        training, device = self._job.settings.training, self._job.device
        chosen = [self._latents.get(entry, flip) for entry, flip in zip(entries, flips, strict=True)]
        mean, std = (torch.stack([getattr(one, part) for one in chosen]) for part in ("mean", "std"))
        drawn = noise.draw(mean.shape, seed=self._seed, micro_step=micro_step, settings=training)
        latents = on_device(mean + std * drawn.latent_noise, device)
        uniform = noise.high_noise_uniform(drawn.uniform, training.high_noise_bias)
        noisy = self._model.add_noise(latents, on_device(drawn.noise, device), uniform)
        if training.input_perturbation:
            perturbed = self._model.add_noise(latents, on_device(drawn.input_noise, device), uniform)
            noisy = replace(noisy, noisy_model_input=perturbed.noisy_model_input)
        return noisy

    def _caption(self, entry: LedgerEntry, shown: int) -> str:
        """The caption of an image that was shown `shown` times before: one of the encoded texts."""
        return drawn(texts_of(entry, self._job.settings), self._seed, entry.relative, shown)


def captions_to_encode(job: Job) -> list[str]:
    """Every caption that a run may draw, without the empty one."""
    shown = (entry for entry in job.ledger.images if entry.repeats)
    return [text for entry in shown for line in texts_of(entry, job.settings) for text in line]


def captions_measured(job: Job) -> list[str]:
    """The caption of each image that is held out."""
    return [texts_of(entry, job.settings)[0][0] for entry in job.ledger.images if entry.held_out]


def texts_of(entry: LedgerEntry, settings: Settings) -> Texts:
    """For each caption of an image the texts that training draws from."""
    return texts(entry.lines or (entry.caption,), settings.dataset, settings.training.seed)
