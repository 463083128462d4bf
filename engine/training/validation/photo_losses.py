"""Measures the losses of photos at fixed noise: how much of them a LoRA has learnt, and whether their captions fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.errors import DatasetError, NotFiniteError
from loratui.engine.families.model import LatentDistribution, Model, SizeConditioning
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.proof.losses import LEVELS, Losses, Pair, Row, parse_row
from loratui.engine.proof.prompts import plain
from loratui.engine.proof.readings import Readings
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.engine.training.fixed_loss import losses_of, noisy_at
from loratui.engine.training.images import size_conditioning_of
from loratui.engine.training.setup import Job

VERSION = 2
"""Of how the losses are measured; those of another one are measured again."""
MOST_PHOTOS = 8
"""So many are measured, evenly spread."""
MOST_FILES = 3
"""LoRA files of epochs that are measured on the photos, evenly spread, with the last."""
OTHERS = 2
"""Captions of other photos that each photo is measured with."""
_SEED = 20_281


class PhotoLosses:
    """The losses that belong to a validation, by what they depend on. What was measured before is kept."""

    def __init__(self, job: Job, files: Iterable[str], sums: Mapping[str, str]) -> None:
        """`files`: the LoRA files, first the one whose strengths are looked at; `sums`: SHA-256 of each."""
        settings = job.settings
        self._job, self._sums = job, sums
        self._kept = Readings(job.run.validation / "losses.json")
        self._strength = settings.validation.likely_strength
        trained = [one for one in job.ledger.images if one.repeats and not one.regularisation]
        few = min(MOST_PHOTOS, len(trained))
        self.photos = [trained[at * len(trained) // few] for at in range(few)]
        chosen = list(dict.fromkeys(files))
        few = min(MOST_FILES, len(chosen) - 1)
        self._files = chosen[:1] + [chosen[round((at + 1) * (len(chosen) - 1) / few)] for at in range(few)]
        side = settings.dataset.resolution
        self._made_of = _hash(settings.base.model, settings.base.clip_skip, settings.base.prediction, side, VERSION)

    @property
    def texts(self) -> list[str]:
        """All texts that are encoded for it."""
        own = [entry.caption for entry in self.photos]
        return list(dict.fromkeys([*own, *map(self._plain, own)]))

    def told(self, measurer: Measurer | None) -> Losses:
        """All that is known, with what `measurer` can add."""
        photos, of_file = self._of_photos("", measurer), {}
        for file in self._files:
            if measurer:
                measurer.use(file)
            of_file[file] = self._of_photos(file, measurer)
        captions = {entry.relative: found for entry in self.photos if (found := self._with_captions(entry, measurer))}
        self._kept.save()
        return Losses(photos, of_file, self._strength, self._job.settings.dataset.flip, captions)

    def _of_photos(self, file: str, measurer: Measurer | None) -> dict[str, Pair]:
        found = {}
        strength = self._strength if file else 0.0
        for entry in self.photos:
            text = entry.caption if file else self._plain(entry.caption)
            rows = [self._of_photo(entry, flip, text, file, strength, measurer) for flip in (False, True)]
            if rows[0] and rows[1]:
                found[entry.relative] = Pair(rows[0], rows[1])
        return found

    def _with_captions(self, entry: LedgerEntry, measurer: Measurer | None) -> list[Pair]:
        at, count = self.photos.index(entry), len(self.photos)
        others = [self._plain(self.photos[(at + 1 + step * count // OTHERS) % count].caption) for step in range(OTHERS)]
        return [pair for other in dict.fromkeys(others) if (pair := self._pair(entry, other, measurer))]

    def _pair(self, entry: LedgerEntry, other: str, measurer: Measurer | None) -> Pair | None:
        """The base's losses of a photo with its caption and with another text; None where they are the same text, or unknown."""
        own = self._plain(entry.caption)
        rows = [self._of_photo(entry, False, text, "", 0.0, measurer) for text in (own, other) if own != other]
        return Pair(*known) if len(known := [row for row in rows if row]) == 2 else None

    def _of_photo(
        self, entry: LedgerEntry, flip: bool, text: str, file: str, strength: float, measurer: Measurer | None
    ) -> Row | None:
        reader = f"{self._made_of}/{self._sums.get(file, '')[:24] if file else 'base'}/{strength:g}"
        weighted = (entry.mask_sha256, self._job.settings.dataset.mask_outside) if entry.mask else ()
        key = f"{entry.sha256[:24]}/{int(flip)}/{_hash(text, str(entry.fit), str(entry.bucket), *weighted)}"
        return self._known(reader, key, None if measurer is None else partial(measurer.photo, entry, flip, text, strength))

    def _known(self, reader: str, key: str, make: Callable[[], Row] | None) -> Row | None:
        found = self._kept.get(reader, key, parse_row)
        if found is None and make is not None:
            try:
                found = parse_row(make())
            except (
                DatasetError,
                NotFiniteError,
                ImageError,
                OSError,
                ValueError,
            ) as error:  # a photo that is gone, or no numbers: unknown
                print(f"{key}: its loss is not measured: {error}", flush=True)
                return None
            self._kept.put(reader, key, [float(f"{one:.6g}") for one in found])
        return found

    def _plain(self, text: str) -> str:
        """A caption as the base reads it."""
        return plain(text, self._job.settings.dataset.trigger, self._job.settings.dataset.class_word)


class Measurer:
    """Measures with the base and its LoRA on it."""

    def __init__(
        self,
        job: Job,
        model: Model,
        latents: LatentCache,
        texts: TextCache,
        strength: Callable[[float], AbstractContextManager[None]],
        use: Callable[[str], object],
        stop_if_asked: Callable[[], object],
    ) -> None:
        """`strength`: the LoRA's, as a context; `use` puts a file's values into the LoRA."""
        self._job, self._model, self._latents, self._texts = job, model, latents, texts
        self._strength, self.use, self._stop_if_asked = strength, use, stop_if_asked
        self._at_once = len(LEVELS)
        """Levels that are computed together: all that memory allows."""

    def photo(self, entry: LedgerEntry, flip: bool, text: str, strength: float) -> Row:
        """The losses of a photo."""
        self._latents.fill([entry], (flip,), lambda *_: None)
        mask = self._latents.mask(entry, flip)
        return self._losses(self._latents.get(entry, flip), mask, text, size_conditioning_of(entry, flip), strength)

    @torch.no_grad()
    def _losses(
        self, latents: LatentDistribution, mask: Tensor | None, text: str, size: SizeConditioning, strength: float
    ) -> Row:
        # The same noise for all: what differs between two losses is not the noise.
        noisy = noisy_at(self._model, latents.mean, LEVELS, _SEED, "photo")
        with self._strength(strength):
            states = self._texts.get(text)
            while True:
                self._stop_if_asked()
                try:
                    return tuple(losses_of(self._model, noisy, states, size, self._autocast, self._at_once, mask))
                except RuntimeError as error:
                    if self._at_once == 1 or not is_out_of_memory(error):
                        raise
                self._at_once = 1
                torch.cuda.empty_cache()

    def _autocast(self) -> torch.autocast:
        job = self._job
        return torch.autocast(job.device.type, dtype=job.dtype, enabled=job.mixed, cache_enabled=False)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:16]
