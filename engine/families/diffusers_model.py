"""What the families have in common: parts of diffusers and transformers, loaded when they are needed, as the family's spec names them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.families import loading, vae
from loratui.engine.families.fingerprints import Digests
from loratui.engine.families.model import LatentDistribution, Prediction
from loratui.engine.families.parts import Parts, is_mixed
from loratui.engine.families.spec import FamilySpec, PartName
from loratui.engine.formats.base_parts import BaseFiles
from loratui.presets.schema import Settings


class DiffusersModel:
    """A base model of any family, as far as the families are alike."""

    spec: FamilySpec
    prediction: Prediction

    def __init__(
        self, files: BaseFiles, settings: Settings, *, device: torch.device, dtype: torch.dtype, digests: Digests | None = None
    ) -> None:
        """Nothing is fetched, and no weights are loaded yet. `dtype` is that of the denoiser and of text encoders that are
        never trained; the VAE and the others stay in fp32, since each image and caption is encoded once.

        Raises `UsageError` for a base of another family or one with parts missing.
        """
        spec = self.spec
        if files.family != spec.name:
            raise UsageError(f"{files.path}: this is {files.title}, not {spec.title}.", f"Set base.family to {files.family}.")
        files.require_complete()
        self.device = device
        self._files, self._settings = files, settings
        self._digests = digests or Digests()
        wide = {"vae", *(part.name for part in spec.trainable_text)}
        weights = (spec.denoiser.name, "vae", *(part.name for part in spec.text_encoders))
        self._dtypes = {part: torch.float32 if part in wide else dtype for part in weights}
        self._tokenizers = {part: loading.load_tokenizer(files, part) for part in self._names("tokenizer")}
        loaders: dict[str, Callable[[], nn.Module]] = {part: functools.partial(self._load, part) for part in weights}
        self._parts = Parts(loaders, device)

    def _names(self, role: str) -> list[PartName]:
        return [part.name for part in self.spec.parts if part.role == role and part.name in self._files.parts]

    def _load(self, part: PartName) -> nn.Module:
        model = loading.load_part(self._files, part, device=self.device, dtype=self._dtypes[part])
        if self._dtypes[part] == torch.float16 and not all(bool(torch.isfinite(value).all()) for value in model.parameters()):
            raise UsageError(
                f"The weights of this base ({part}) go beyond the range of fp16.", "Set training.precision to fp32 for it."
            )
        if part == self.spec.denoiser.name:
            self._check_denoiser(model)
        return model

    def _check_denoiser(self, denoiser: Any) -> None:
        """Raises `UsageError` for a denoiser that cannot be trained as one of this family."""

    @property
    def denoiser(self) -> nn.Module:
        """The UNet or transformer, frozen but for its LoRA."""
        denoiser: nn.Module = self._parts[self.spec.denoiser.name]
        return denoiser

    @property
    def text_encoders(self) -> Mapping[str, nn.Module]:
        """The text encoders that a LoRA may train too, by the name of their part."""
        return {part.name: self._parts[part.name] for part in self.spec.trainable_text}

    @functools.cached_property
    def _fingerprints(self) -> tuple[str, str]:
        parts, base, dataset = self._files.parts, self._settings.base, self._settings.dataset
        reading = [*self._names("text_encoder"), *self._names("tokenizer")]
        formats = [str(self._dtypes[part.name]) for part in self.spec.text_encoders]
        settings = (self.spec.name, base.clip_skip, dataset.caption_tokens, formats)
        images = _joined([self._digests.of(parts["vae"]), str(self._dtypes["vae"])])
        texts = _joined([*(self._digests.of(parts[part]) for part in reading), repr(settings)])
        return images, f"{texts}\n{base.clip_skip}"  # twice, as files in the caches of older runs are called by it

    def fingerprints(self) -> tuple[str, str]:
        """What names all that makes latents, and all that makes prompt embeddings. Loads no part."""
        return self._fingerprints

    def encode_image(self, pixels: Tensor) -> LatentDistribution:
        """The latents of one image (3, H, W) in [-1, 1] fp32, on the CPU."""
        return vae.encode(self._parts["vae"], self.spec.vae, pixels)

    def decode_image(self, latents: Tensor) -> Tensor:
        """The image (3, H, W) uint8 on the CPU of latents (C, …, h, w)."""
        return vae.decode(self._parts["vae"], self.spec.vae, latents[None].to(self.device))

    def latent_scale(self) -> tuple[float, float] | None:
        """Scaling factor and shift of the VAE; None where each channel has its own."""
        if self.spec.vae.normalisation != "scalar":
            return None
        shift, scale = vae.shift_and_scale(self._parts["vae"], self.spec.vae)
        return float(scale), float(shift)

    def _latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """(1, C, …, h, w) of the latents of an image."""
        return vae.latent_shape(self._parts["vae"], self.spec.vae, width, height)

    @property
    def has_frozen_text(self) -> bool:
        """Whether a text encoder stays frozen even where the others are trained, so that its states can be kept."""
        return self.spec.text_encoders != self.spec.trainable_text

    def free_text_encoders(self, *, but: Collection[str] = ()) -> None:
        """Forgets the text encoders, `but` these parts; they are loaded again if they are needed again."""
        self._parts.free(*(part for part in self._names("text_encoder") if part not in but))

    def free_vae(self) -> None:
        """Forgets the VAE; it is loaded again if it is needed again."""
        self._parts.free("vae")

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """How the denoiser works while it makes samples: as in training, but not compiled, since their shapes and batches differ."""
        dtype = self._dtypes[self.spec.denoiser.name]
        mixed = is_mixed(self.device, dtype)
        with torch.compiler.set_stance("force_eager"), torch.autocast(self.device.type, dtype=dtype, enabled=mixed):
            yield

    def enable_gradient_checkpointing(self) -> None:
        """From now on training computes activations twice instead of keeping them; the gradients stay the same."""
        self._parts[self.spec.denoiser.name].enable_gradient_checkpointing()


def _joined(values: list[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()
