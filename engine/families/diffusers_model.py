"""What the families have in common: parts of diffusers and transformers as the family's spec names them, each loaded when it is needed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.families import loading, streamed, vae
from loratui.engine.families.arriving import Arriving, arriving
from loratui.engine.families.model import (
    Joiner,
    LatentDistribution,
    LoadOptions,
    Prediction,
    PromptEmbeds,
    PromptTokens,
    SamplePlan,
    SizeConditioning,
)
from loratui.engine.families.parts import Parts, finite, is_mixed
from loratui.engine.families.spec import FamilySpec, PartName
from loratui.engine.families.stored import FP8
from loratui.engine.formats.base_parts import BaseFiles
from loratui.presets.schema import Settings


class DiffusersModel(ABC):
    """A base model of any family, as far as the families are alike. `Model` says what its methods do."""

    spec: FamilySpec
    prediction: Prediction

    def __init__(self, files: BaseFiles, settings: Settings, options: LoadOptions) -> None:
        """Downloads nothing, and loads no weights yet.

        Raises `UsageError` for a base of another family or with parts missing.
        """
        spec = self.spec
        if files.family != spec.name:
            raise UsageError(f"{files.path}: this is {files.title}, not {spec.title}.", f"Set base.family to {files.family}.")
        files.require_complete()
        self.device = options.device
        self._files, self._settings, self._options = files, settings, options
        self._encodes_on_cpu, self._decodes_in_tiles = False, options.vae_tiled
        wide = {"vae", *(part.name for part in spec.trainable_text)}
        weights = (spec.denoiser.name, "vae", *(part.name for part in spec.text_encoders))
        self._dtypes = {part: torch.float32 if part in wide else options.dtype for part in weights}
        self._tokenizers = {part: loading.load_tokenizer(files, part) for part in self._names("tokenizer")}
        loaders: dict[str, Callable[[], nn.Module]] = {part: functools.partial(self._load, part) for part in weights}
        self._parts = Parts(loaders, self.device)
        self._arriving: Arriving | None = None
        self._read_configs()

    def _read_configs(self) -> None:  # noqa: B027 - not every family has more to read
        """Reads what else the family needs to know of the base. Raises `UsageError`."""

    def _names(self, role: str) -> list[PartName]:
        return [part.name for part in self.spec.parts if part.role == role and part.name in self._files.parts]

    def _load(self, part: PartName) -> nn.Module:
        if self._options.text_streamed and part in self._never_trained_text:
            return self._streamed(part)
        is_denoiser = part == self.spec.denoiser.name
        model = loading.load_part(
            self._files,
            part,
            device=self._home_of(part),
            dtype=self._dtypes[part],
            as_stored=is_denoiser and self._options.denoiser_on_host,
            tensors=self._arriving.take if is_denoiser and self._arriving is not None else None,
        )
        wide = (value for value in model.parameters() if value.dtype not in FP8)  # whose range is smaller
        largest = torch.finfo(torch.float16).max
        if self._dtypes[part] == torch.float16 and not all(bool((value.abs() <= largest).all()) for value in wide):
            raise UsageError(f"The weights of this base ({part}) exceed the range of fp16.", "Set training.precision to fp32.")
        if is_denoiser:
            self._arriving = None  # freed, it is loaded again as any other part
            self._check_denoiser(model)
        return model

    def _home_of(self, part: PartName) -> torch.device:
        """Where a part is loaded to."""
        waits = self._options.denoiser_on_host and part == self.spec.denoiser.name
        return torch.device("cpu") if waits or (part == "vae" and self._encodes_on_cpu) else self.device

    @contextmanager
    def denoiser_arrives(self) -> Iterator[None]:
        part = self.spec.denoiser.name
        dtype = self._dtypes[part]
        with arriving(loading.reader(self._files, part, dtype), self._home_of(part), dtype) as self._arriving:
            yield
        self._arriving = None

    @property
    def _never_trained_text(self) -> list[PartName]:
        trained = self.spec.trainable_text
        return [part.name for part in self.spec.text_encoders if part not in trained]

    def _streamed(self, part: PartName) -> nn.Module:
        dtype = self._dtypes[part]
        model = loading.load_part(self._files, part, device=torch.device("cpu"), dtype=dtype, as_stored=True)
        streamed.stream(model, self.device, dtype)
        return model

    @property
    def captions_at_once(self) -> int:
        return streamed.AT_ONCE if self._options.text_streamed and self._never_trained_text else 1

    def _check_denoiser(self, denoiser: Any) -> None:  # noqa: B027 - not every family has such denoisers
        """Raises `UsageError` for a denoiser that cannot be trained as one of this family."""

    @staticmethod  # noqa: B027 - not every attention has a switch for it
    def join_projections(block: nn.Module, joiner: Joiner) -> None:
        pass

    def drop_weights(self) -> None:
        for part, changes in ((self.spec.denoiser.name, self.spec.fewest_layers), ("vae", {})):
            self._parts.load_by(part, functools.partial(self._without_weights, part, changes))

    def _without_weights(self, part: PartName, changes: Mapping[str, Any]) -> nn.Module:
        device = torch.device("meta") if part == "vae" else self._home_of(part)
        model = loading.part_without_weights(self._files, part, changes, device=device, dtype=self._dtypes[part])
        if part == self.spec.denoiser.name:
            self._check_denoiser(model)
        return model

    def empty_latents(self, width: int, height: int) -> LatentDistribution:
        latents = torch.zeros(self._latent_shape(width, height)[1:])
        return LatentDistribution(latents, latents)

    @property
    def denoiser(self) -> nn.Module:
        denoiser: nn.Module = self._parts[self.spec.denoiser.name]
        return denoiser

    @property
    def text_encoders(self) -> Mapping[str, nn.Module]:
        return {part.name: self._parts[part.name] for part in self.spec.trainable_text}

    @functools.cached_property
    def _fingerprints(self) -> tuple[str, str]:
        parts, base, dataset = self._files.parts, self._settings.base, self._settings.dataset
        reading = [*self._names("text_encoder"), *self._names("tokenizer")]
        formats = [str(self._dtypes[part.name]) for part in self.spec.text_encoders]
        settings = (self.spec.name, base.clip_skip, dataset.caption_tokens, formats)
        images = _joined([self._options.digests.of(parts["vae"]), str(self._dtypes["vae"])])
        texts = _joined([*(self._options.digests.of(parts[part]) for part in reading), repr(settings)])
        return images, f"{texts}\n{base.clip_skip}"  # clip skip twice: cache files of older runs are named so

    def fingerprints(self) -> tuple[str, str]:
        return self._fingerprints

    @abstractmethod
    def tokenize(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptTokens]: ...

    @abstractmethod
    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    @abstractmethod
    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]: ...

    def encode_prompts(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptEmbeds]:
        return [
            PromptEmbeds({name: finite(value, "text") for name, value in self.encode(read.tensors).items()}, read.tokens_cut)
            for read in self.tokenize(captions, known)
        ]

    def size_conditioning(self, sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:  # noqa: ARG002 - most denoisers read none
        return {}

    @abstractmethod
    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]: ...

    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        return self.sample_together([plan], on_step)[0]

    def conditioning(self, prompt_embeds: Sequence[PromptEmbeds], sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        return self.text_conditioning([one.tensors for one in prompt_embeds]) | self.size_conditioning(sizes)

    def encode_image(self, pixels: Tensor) -> LatentDistribution:
        # In tiles or fewer bits the latents would be others; on the CPU they differ in rounding alone.
        if not self._encodes_on_cpu:
            try:
                return vae.encode(self._parts["vae"], self.spec.vae, pixels)
            except torch.OutOfMemoryError:
                self._encodes_on_cpu = True
            self._parts.free("vae")
        return vae.encode(self._parts["vae"], self.spec.vae, pixels)

    @property
    def encodes_on_cpu(self) -> bool:
        return self._encodes_on_cpu

    def decode_image(self, latents: Tensor) -> Tensor:
        if not self._decodes_in_tiles:
            try:
                return vae.decode(self._parts["vae"], self.spec.vae, latents[None])
            except torch.OutOfMemoryError:
                if not self._options.tile_px:
                    raise
                self._decodes_in_tiles = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        with vae.tiles(self._parts["vae"], self.spec.vae, self._options.tile_px):
            return vae.decode(self._parts["vae"], self.spec.vae, latents[None])

    def latent_scale(self) -> tuple[float, float] | None:
        if self.spec.vae.normalisation != "scalar":
            return None
        shift, scale = vae.shift_and_scale(self._parts["vae"], self.spec.vae)
        return float(scale), float(shift)

    def _latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        return vae.latent_shape(self._parts["vae"], self.spec.vae, width, height)

    @property
    def has_frozen_text(self) -> bool:
        return self.spec.text_encoders != self.spec.trainable_text

    def free_text_encoders(self, *, but: Collection[str] = ()) -> None:
        if self.device.type == "cuda":  # when they are needed again, the denoiser has the card
            self._options = dataclasses.replace(self._options, text_streamed=True)
        self._parts.free(*(part for part in self._names("text_encoder") if part not in but))

    def free_vae(self) -> None:
        self._encodes_on_cpu = False
        self._parts.free("vae")

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """How the denoiser makes samples: as in training, but not compiled, since shapes and batches differ."""
        dtype = self._dtypes[self.spec.denoiser.name]
        mixed = is_mixed(self.device, dtype)
        with torch.compiler.set_stance("force_eager"), torch.autocast(self.device.type, dtype=dtype, enabled=mixed):
            yield


def _joined(values: list[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()
