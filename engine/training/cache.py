"""Latents and text states on disk, keyed by everything that they depend on, so that a stale one can never be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.durable import write_file
from loratui.engine.errors import DatasetError, NotFiniteError, UsageError
from loratui.engine.families.model import LatentDistribution, Model, PromptEmbeds
from loratui.engine.formats.safetensors_file import read_checked
from loratui.engine.training.images import load_pixels
from loratui.engine.untrusted import open_regular

VERSION = 1
"""Raised when the same image or caption would be encoded differently by newer code."""

_MOST_BYTES = 1 << 30
"""Of one image's latents, or one caption's states; T5's take 4 MB."""

Progress = Callable[[int, int], None]


def cache_key(*parts: object) -> str:
    """A name for what these parts make: 40 hexadecimal digits."""
    text = "\n".join(str(part) for part in (VERSION, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class LatentCache:
    """The latents of a run's images, encoded once."""

    def __init__(self, folder: Path, model: Model, *, on_disk: bool = True) -> None:
        self._folder = folder
        self._model = model
        self._vae, _ = model.fingerprints()
        self._on_disk = on_disk
        self._known: dict[tuple[str, bool], LatentDistribution] = {}

    def fill(self, entries: Sequence[LedgerEntry], flips: Iterable[bool], progress: Progress) -> None:
        """Encodes what is not there yet. `progress(done, total)` is called after each image and may raise to stop.

        Raises `DatasetError` for an image that is gone, changed or damaged, `NotFiniteError` for one that the VAE cannot encode.
        """
        wanted = [(entry, flip) for entry in entries if entry.repeats for flip in flips]
        for done, (entry, flip) in enumerate(wanted, 1):
            if (entry.relative, flip) not in self._known:
                known = _with_sum(entry)
                self._known[entry.relative, flip] = self._stored(known, flip) or self._encode(known, flip)
            progress(done, len(wanted))

    def get(self, entry: LedgerEntry, flip: bool = False) -> LatentDistribution:
        """The latents of an image that `fill` was given."""
        return self._known[entry.relative, flip]

    def _path(self, entry: LedgerEntry, flip: bool) -> Path:
        return self._folder / f"latents-{cache_key(entry.sha256, entry.bucket, entry.fit, flip, self._vae)}.safetensors"

    def _stored(self, entry: LedgerEntry, flip: bool) -> LatentDistribution | None:
        tensors = _read(self._path(entry, flip), {"mean", "std"}) if self._on_disk else None
        return LatentDistribution(tensors["mean"], tensors["std"]) if tensors else None

    def _encode(self, entry: LedgerEntry, flip: bool) -> LatentDistribution:
        try:
            with open_regular(entry.path) as file:
                unchanged = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
            pixels = load_pixels(entry.path, entry.fit, entry.bucket) if unchanged else None
        except (OSError, ImageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise DatasetError(f"{entry.path}: {reason}.", "Put it back or start a new run without it.") from error
        if pixels is None:
            raise DatasetError(f"{entry.path}: changed since the run was planned.", "Put the old file back or start a new run.")
        try:
            # A mirrored image is encoded anew: the VAE of a mirror image is not the mirror image of its latents.
            latents = self._model.encode_image(pixels.flip(-1) if flip else pixels)
        except NotFiniteError as error:
            raise NotFiniteError(f"{entry.path}: the VAE made numbers that are not finite.", error.remedy) from error
        if self._on_disk:
            write_file(self._path(entry, flip), save({"mean": latents.mean, "std": latents.std}), durable=False)
        return latents


class Texts(Protocol):
    """Where the text states of captions and prompts come from."""

    def fill(self, captions: Iterable[str], progress: Progress) -> None:
        """Makes ready what will be asked for."""
        ...

    def get(self, caption: str) -> PromptEmbeds:
        """The states of a caption that `fill` was given, without gradients."""
        ...

    def batch(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        """The states of captions that `fill` was given, with gradients where they are enabled and can be."""
        ...

    def cut(self) -> Mapping[str, int]:
        """Captions that did not fit, with the number of tokens that were cut."""
        ...


def text_states(folder: Path, model: Model, *, trained: bool) -> Texts:
    """From the disk, or made anew each time where the text encoders are `trained`."""
    return LiveTexts(folder, model) if trained else TextCache(folder, model)


class LiveTexts:
    """Text states that are made anew each time, because a text encoder is being trained; what stays frozen is kept."""

    def __init__(self, folder: Path, model: Model) -> None:
        self._model = model
        self._frozen = TextCache(folder, model) if model.has_frozen_text else None
        self._cut: dict[str, int] = {}

    def fill(self, captions: Iterable[str], progress: Progress) -> None:
        """Keeps what no LoRA changes; of the rest it looks only which captions are cut."""
        wanted = list(dict.fromkeys(captions))
        if self._frozen is not None:
            self._frozen.fill(wanted, progress)
            self._cut = dict(self._frozen.cut())
            return
        for done, caption in enumerate(wanted, 1):
            self._cut[caption] = self.get(caption).tokens_cut
            progress(done, len(wanted))

    def get(self, caption: str) -> PromptEmbeds:
        """The states of a caption as the encoders make them now, without gradients."""
        with torch.no_grad():
            return self.batch([caption])[0]

    def batch(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        """The states of captions as the encoders make them now, with gradients where they are enabled."""
        known = None if self._frozen is None else self._frozen.batch(captions)
        return self._model.encode_prompts(captions, known)

    def cut(self) -> Mapping[str, int]:
        """Captions that did not fit, with the number of tokens that were cut."""
        return {caption: tokens for caption, tokens in self._cut.items() if tokens}


class TextCache:
    """The text states of captions and prompts, encoded once."""

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder = folder
        self._model = model
        _, self._encoder = model.fingerprints()
        self._known: dict[str, PromptEmbeds] = {}

    def fill(self, captions: Iterable[str], progress: Progress) -> None:
        """Encodes what is not there yet. `progress(done, total)` is called after each text and may raise to stop."""
        wanted = list(dict.fromkeys(captions))
        for done, caption in enumerate(wanted, 1):
            if caption not in self._known:
                path = self._folder / f"text-{cache_key(self._encoder, caption)}.safetensors"
                self._known[caption] = self._stored(path) or self._encode(caption, path)
            progress(done, len(wanted))

    def get(self, caption: str) -> PromptEmbeds:
        """The states of a caption that `fill` was given."""
        return self._known[caption]

    def batch(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        """The states of captions that `fill` was given; they have no gradients."""
        return [self.get(caption) for caption in captions]

    def cut(self) -> Mapping[str, int]:
        """Captions that did not fit, with the number of tokens that were cut."""
        return {caption: states.tokens_cut for caption, states in self._known.items() if states.tokens_cut}

    @staticmethod
    def _stored(path: Path) -> PromptEmbeds | None:
        tensors = _read(path, {"tokens_cut"})
        if tensors is None:
            return None
        return PromptEmbeds({name: t for name, t in tensors.items() if name != "tokens_cut"}, int(tensors["tokens_cut"]))

    def _encode(self, caption: str, path: Path) -> PromptEmbeds:
        with torch.no_grad():  # one at a time: a caption's states must not depend on what else is in a batch
            (states,) = self._model.encode_prompts([caption])
        states = PromptEmbeds({name: value.cpu() for name, value in states.tensors.items()}, states.tokens_cut)
        write_file(path, save({**states.tensors, "tokens_cut": torch.tensor(states.tokens_cut)}), durable=False)
        return states


def _with_sum(entry: LedgerEntry) -> LedgerEntry:
    """`entry` with the hash of its file, which nobody could know before the base had made it."""
    if not entry.made:
        return entry
    with open_regular(entry.path) as file:
        return replace(entry, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _read(path: Path, needed: set[str]) -> dict[str, Tensor] | None:
    """The tensors of a cache file, or None if it is missing, torn or not finite, so that it is made anew."""
    try:
        tensors = load(read_checked(path, _MOST_BYTES)[1])
    except (UsageError, SafetensorError):
        return None
    if not needed <= tensors.keys() or not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        return None
    return tensors
