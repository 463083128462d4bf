"""Measures the losses of photos and images at fixed noise: which photos a LoRA has learnt, and whether texts fit what they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch

from loratui.engine.dataset.decoding import ImageError, load_rgb
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.errors import DatasetError, NotFiniteError
from loratui.engine.families.model import LatentDistribution, Model, NoisyInput, PromptEmbeds, SizeConditioning
from loratui.engine.families.parts import on_device
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.validation_grid import Cell, filled, prompt_read
from loratui.engine.proof.losses import LEVELS, Losses, Pair, Row, parse_row
from loratui.engine.proof.readings import Readings
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.engine.training.images import size_conditioning_of, to_tensor
from loratui.engine.training.losses import per_sample_loss
from loratui.engine.training.noise import generator
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

    def __init__(self, job: Job, cells: Sequence[Cell], paths: Sequence[str], sums: Mapping[str, str]) -> None:
        """`cells` with the paths of their images; `sums`: SHA-256 of each LoRA file, empty for the base."""
        settings = job.settings
        self._job, self._sums = job, sums
        self._kept = Readings(job.run.validation / "losses.json")
        self._strength = settings.validation.likely_strength
        trained = [one for one in job.ledger.images if one.repeats and not one.regularisation]
        few = min(MOST_PHOTOS, len(trained))
        self.photos = [trained[at * len(trained) // few] for at in range(few)]
        files = list(dict.fromkeys(cell.file for cell in cells if cell.file))
        few = min(MOST_FILES, len(files) - 1)
        # The first is the one whose strengths are looked at.
        self._files = files[:1] + [files[1:][round((at + 1) * (len(files) - 1) / few) - 1] for at in range(few)]
        shown = [(path, cell) for path, cell in zip(paths, cells, strict=True) if cell.grid == "strengths"]
        self._cells = {path: cell for path, cell in shown if self._says_more(cell)}
        side = settings.dataset.resolution
        self._made_of = _hash(settings.base.model, settings.base.clip_skip, settings.base.prediction, side, VERSION)

    @property
    def texts(self) -> list[str]:
        """All texts that are encoded for it."""
        own = [entry.caption for entry in self.photos]
        return list(dict.fromkeys([*own, *map(self._plain, own), *map(self._read, self._cells.values()), self._class_alone]))

    def told(self, measurer: Measurer | None) -> Losses:
        """All that is known, with what `measurer` can add."""
        photos, of_file = self._of_photos("", measurer), {}
        for file in self._files:
            if measurer:
                measurer.use(file)
            of_file[file] = self._of_photos(file, measurer)
        captions = {entry.relative: found for entry in self.photos if (found := self._with_captions(entry, measurer))}
        alone = {entry.relative: pair for entry in self.photos if (pair := self._pair(entry, self._class_alone, measurer))}
        prompts = {
            path: Pair(own, other)
            for path, cell in self._cells.items()
            if (own := self._of_image(path, self._read(cell), measurer))
            and (other := self._of_image(path, self._class_alone, measurer))
        }
        self._kept.save()
        return Losses(photos, of_file, self._strength, self._job.settings.dataset.flip, captions, alone, prompts)

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
        key = f"{entry.sha256[:24]}/{int(flip)}/{_hash(text, str(entry.fit), str(entry.bucket))}"
        return self._known(reader, key, None if measurer is None else partial(measurer.photo, entry, flip, text, strength))

    def _of_image(self, path: str, text: str, measurer: Measurer | None) -> Row | None:
        reader = f"{self._made_of}/images"
        return self._known(reader, f"{path}/{_hash(text)}", None if measurer is None else partial(measurer.image, path, text))

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
        """A caption as the base reads it: the class word in place of the trigger, which it does not know."""
        dataset = self._job.settings.dataset
        if not dataset.trigger:
            return text
        words = text.replace(f"{dataset.trigger} {dataset.class_word}", dataset.class_word or dataset.trigger)
        return " ".join(words.replace(dataset.trigger, dataset.class_word).split())

    @property
    def _class_alone(self) -> str:
        dataset = self._job.settings.dataset
        return filled(dataset.class_prompt, {"{class}": dataset.class_word})

    def _read(self, cell: Cell) -> str:
        """Its prompt as the base reads it."""
        return prompt_read(Cell(cell.grid, cell.prompt, cell.template, cell.seed, "", 0.0), self._job.settings)

    def _says_more(self, cell: Cell) -> bool:
        return len(self._read(cell).split()) > len(self._class_alone.split()) + 2


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
        return self._losses(self._latents.get(entry, flip), text, size_conditioning_of(entry, flip), strength)

    def image(self, path: str, text: str) -> Row:
        """The losses of an image of the validation, with the base alone."""
        pixels = to_tensor(load_rgb(self._job.run.path / path))
        size = SizeConditioning.whole(pixels.shape[2], pixels.shape[1])
        return self._losses(self._model.encode_image(pixels), text, size, 0.0)

    @torch.no_grad()
    def _losses(self, latents: LatentDistribution, text: str, size: SizeConditioning, strength: float) -> Row:
        model, mean = self._model, latents.mean
        # The same noise for all: what differs between two losses is not the noise.
        noise = torch.stack([torch.randn(mean.shape, generator=generator(_SEED, "photo", n)) for n in range(len(LEVELS))])
        clean = on_device(mean.expand(len(LEVELS), *mean.shape).contiguous(), model.device)
        noisy = model.add_noise(clean, on_device(noise, model.device), torch.tensor(LEVELS))
        with self._strength(strength):
            states = self._texts.get(text)
            while True:
                self._stop_if_asked()
                try:
                    return self._answers(noisy, states, size)
                except RuntimeError as error:
                    if self._at_once == 1 or not is_out_of_memory(error):
                        raise
                self._at_once = 1
                torch.cuda.empty_cache()

    def _answers(self, noisy: NoisyInput, states: PromptEmbeds, size: SizeConditioning) -> Row:
        job, model, found = self._job, self._model, []
        for first in range(0, len(LEVELS), self._at_once):
            some = slice(first, first + self._at_once)
            inputs = noisy.noisy_model_input[some]
            with torch.autocast(job.device.type, dtype=job.dtype, enabled=job.mixed, cache_enabled=False):
                conditioning = model.conditioning([states] * len(inputs), [size] * len(inputs))
                answer = model.predict(inputs, noisy.timesteps[some], conditioning)
            found += per_sample_loss(answer, noisy.target[some]).tolist()
        return tuple(found)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:16]
