"""Latents and text states on disk, keyed by everything they depend on, with a sum, so a stale or damaged one is never used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.durable import remove_tree, write_file
from loratui.engine.errors import DatasetError, NotFiniteError, UsageError
from loratui.engine.families.model import LatentDistribution, Model, PromptEmbeds, PromptTokens
from loratui.engine.formats.safetensors_file import read_checked
from loratui.engine.training import loss_masks
from loratui.engine.training.images import load_pixels
from loratui.engine.untrusted import open_regular

VERSION = 1
"""Increased when newer code would encode the same image or caption differently."""

_MOST_BYTES = 1 << 30
"""Limit for one image's latents or one caption's states; T5's take 4 MB."""

_SUM = "sha256"
"""Name of the sum in a cache file's metadata. Files of older versions have no metadata; they are still read, since to make them
again takes the card for minutes."""

Progress = Callable[[int, int], None]


def cache_key(*parts: object) -> str:
    """A name for what these parts make: 40 hexadecimal digits."""
    text = "\n".join(str(part) for part in (VERSION, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class LatentCache:
    """The latents of a run's images, encoded once."""

    def __init__(self, folder: Path, model: Model, *, on_disk: bool = True, mask_outside: float | None = None) -> None:
        """`mask_outside`: weight of what an image's mask leaves out; None: no masks."""
        self._folder = folder
        self._model = model
        self._vae, _ = model.fingerprints()
        self._on_disk = on_disk
        self._known: dict[tuple[str, bool], LatentDistribution] = {}
        self._outside = mask_outside
        self._masks: dict[str, Tensor] = {}
        self.damaged: list[str] = []
        """Names of files that were not what was written, and so were made again."""
        self.empty_masks: list[str] = []
        """Images whose mask marks nothing of what is trained on, so all of them counts."""

    def fill(self, entries: Sequence[LedgerEntry], flips: Iterable[bool], progress: Progress) -> None:
        """Encodes what is missing. `progress(done, total)` is called after each image and may raise to stop.

        Raises `DatasetError` for an image that is missing, changed or damaged, `NotFiniteError` for one the VAE cannot encode.
        """
        wanted = [(entry, flip) for entry in entries if entry.repeats or entry.held_out for flip in flips]
        for done, (entry, flip) in enumerate(wanted, 1):
            if (entry.relative, flip) not in self._known:
                known = _with_sum(entry)
                stored = _read(self._path(known, flip), {"mean", "std"}, self.damaged) if self._on_disk else None
                self._known[entry.relative, flip] = (
                    LatentDistribution(stored["mean"], stored["std"]) if stored else self._encode(known, flip)
                )
            if self._outside is not None and entry.mask and entry.relative not in self._masks:
                self._masks[entry.relative] = self._weights(entry, self.get(entry, flip).mean.shape[-2:], self._outside)
            progress(done, len(wanted))

    def get(self, entry: LedgerEntry, flip: bool = False) -> LatentDistribution:
        """The latents of an image that `fill` was given."""
        return self._known[entry.relative, flip]

    def mask(self, entry: LedgerEntry, flip: bool = False) -> Tensor | None:
        """(h, w) weights of the cells of an image's latents, with a mean of 1; None where the run has no masks."""
        if self._outside is None:
            return None
        known = self._masks.get(entry.relative)
        if known is None:
            return torch.ones(self.get(entry, flip).mean.shape[-2:])
        return known.flip(-1) if flip else known

    def _weights(self, entry: LedgerEntry, size: torch.Size, outside: float) -> Tensor:
        of_image = entry.mask == entry.path
        path = self._folder / f"mask-{cache_key(entry.mask_sha256, of_image, entry.bucket, entry.fit, *size)}.safetensors"
        stored = _read(path, {"marked"}, self.damaged) if self._on_disk else None
        marked = stored["marked"] if stored else loss_masks.marked(entry, size)
        if self._on_disk and not stored:
            _write(path, {"marked": marked})
        if not marked.any():
            self.empty_masks.append(entry.relative)
        return loss_masks.weights(marked, outside)

    def _path(self, entry: LedgerEntry, flip: bool) -> Path:
        return self._folder / f"latents-{cache_key(entry.sha256, entry.bucket, entry.fit, flip, self._vae)}.safetensors"

    def _encode(self, entry: LedgerEntry, flip: bool) -> LatentDistribution:
        try:
            with open_regular(entry.path) as file:
                unchanged = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
            pixels = load_pixels(entry.path, entry.fit, entry.bucket) if unchanged else None
        except (OSError, ImageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise DatasetError(f"{entry.path}: {reason}.", "Restore it, or start a new run without it.") from error
        if pixels is None:
            raise DatasetError(f"{entry.path}: changed since the run was planned.", "Restore the old file, or start a new run.")
        try:
            # A mirrored image is encoded itself: the VAE of a mirror image is not the mirror image of its latents.
            latents = self._model.encode_image(pixels.flip(-1) if flip else pixels)
        except NotFiniteError as error:
            raise NotFiniteError(f"{entry.path}: the VAE produced values that are not finite.", error.remedy) from error
        if self._on_disk:
            _write(self._path(entry, flip), {"mean": latents.mean, "std": latents.std})
        return latents


class TextCache:
    """The text states of captions and prompts, encoded once."""

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder = folder
        self._model = model
        _, self._encoder = model.fingerprints()
        self._known: dict[str, PromptEmbeds] = {}
        self.damaged: list[str] = []
        """Names of files that were not what was written, and so were made again."""

    def fill(self, captions: Iterable[str], progress: Progress) -> None:
        """Prepares what `get` and `batch` will be asked for. `progress(done, total)` is called after each text and may raise to stop."""
        wanted = list(dict.fromkeys(captions))
        missing = [caption for caption in wanted if not self._is_known(caption)]
        progress(len(wanted) - len(missing), len(wanted))
        at_once = self._model.captions_at_once
        for first in range(0, len(missing), at_once):
            some = missing[first : first + at_once]
            self._known |= zip(some, self._prepared(some), strict=True)
            progress(len(wanted) - len(missing) + first + len(some), len(wanted))

    def get(self, caption: str) -> PromptEmbeds:
        """The states of a caption that `fill` was given, without gradients."""
        return self._known[caption]

    def batch(self, captions: Sequence[str]) -> Sequence[PromptEmbeds | PromptTokens]:
        """What a step reads of captions that `fill` was given: their states, or tokens where they are encoded within the step."""
        return [self._known[caption] for caption in captions]

    def cut(self) -> Mapping[str, int]:
        """Captions that did not fit, with the number of tokens that were cut."""
        return {caption: states.tokens_cut for caption, states in self._known.items() if states.tokens_cut}

    def _is_known(self, caption: str) -> bool:
        """Whether the states of a caption are there, or on the disk."""
        if caption not in self._known and (stored := self._stored(caption)):
            self._known[caption] = stored
        return caption in self._known

    def _stored(self, caption: str) -> PromptEmbeds | None:
        stored = _read(self._path(caption), {"tokens_cut"}, self.damaged)
        if not stored:
            return None
        return PromptEmbeds({name: t for name, t in stored.items() if name != "tokens_cut"}, int(stored["tokens_cut"]))

    def _path(self, caption: str) -> Path:
        return self._folder / f"text-{cache_key(self._encoder, caption)}.safetensors"

    def _prepared(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        with torch.no_grad():  # a caption's states do not depend on the others
            made = self._model.encode_prompts(captions)
        made = [PromptEmbeds({name: value.cpu() for name, value in one.tensors.items()}, one.tokens_cut) for one in made]
        for caption, states in zip(captions, made, strict=True):
            _write(self._path(caption), {**states.tensors, "tokens_cut": torch.tensor(states.tokens_cut)})
        return made


class LiveTexts(TextCache):
    """Text states that are made again each time, because a text encoder is being trained; what stays frozen is kept."""

    def get(self, caption: str) -> PromptEmbeds:
        with torch.no_grad():
            return self._model.encode_prompts([caption], self._frozen([caption]))[0]

    def batch(self, captions: Sequence[str]) -> Sequence[PromptTokens]:
        return self._model.tokenize(captions, self._frozen(captions))

    def _frozen(self, captions: Sequence[str]) -> list[PromptEmbeds] | None:
        return [self._known[caption] for caption in captions] if self._model.has_frozen_text else None

    def _stored(self, caption: str) -> PromptEmbeds | None:
        return super()._stored(caption) if self._model.has_frozen_text else None

    def _prepared(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        if self._model.has_frozen_text:
            return super()._prepared(captions)
        return [PromptEmbeds({}, self.get(caption).tokens_cut) for caption in captions]


class EmptyLatents(LatentCache):
    """Zeros in place of any image's latents."""

    def __init__(self, model: Model, *, mask_outside: float | None = None) -> None:
        self._model = model
        self._outside = mask_outside
        self._masks = {}

    def get(self, entry: LedgerEntry, flip: bool = False) -> LatentDistribution:  # noqa: ARG002 - mirrored, it has the same shape
        return self._model.empty_latents(entry.bucket.width, entry.bucket.height)


class EmptyTexts(TextCache):
    """Zeros in place of any caption's states."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def get(self, caption: str) -> PromptEmbeds:  # noqa: ARG002 - every caption has the same shapes
        return self._model.empty_texts()

    def batch(self, captions: Sequence[str]) -> Sequence[PromptEmbeds | PromptTokens]:
        return [self.get(caption) for caption in captions]


class EmptyLiveTexts(EmptyTexts):
    """The same for text encoders that are trained: what they read of a caption, beside zeros for those that are not."""

    def batch(self, captions: Sequence[str]) -> Sequence[PromptTokens]:
        return self._model.tokenize(captions, [self.get(caption) for caption in captions])


def _with_sum(entry: LedgerEntry) -> LedgerEntry:
    """`entry` with the hash of its file, which is unknown until the base has made it."""
    if not entry.made:
        return entry
    with open_regular(entry.path) as file:
        return replace(entry, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _read(path: Path, needed: set[str], damaged: list[str]) -> dict[str, Tensor] | None:
    """The tensors of a cache file; None if it is missing, or damaged and must be made again: then its name joins `damaged`."""
    if not path.exists():
        return None
    try:
        header, data = read_checked(path, _MOST_BYTES)
        tensors = load(data)
    except (UsageError, SafetensorError):
        tensors = {}
    whole = needed <= tensors.keys() and (not header.metadata or header.metadata.get(_SUM) == _sum(path, tensors))
    if whole and all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        return tensors
    print(f"{path}: not what was written; it is made again", flush=True)
    damaged.append(path.name)
    return None


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a cache file with its sum, in place of whatever has its name. Raises `DiskError`."""
    if path.is_dir():
        remove_tree(path)
    write_file(path, save(dict(tensors), {_SUM: _sum(path, tensors)}), durable=False)


def _sum(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Of the file's name, which says what they were made of, and of each tensor: name, format, shape and values."""
    digest = hashlib.sha256(path.name.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
