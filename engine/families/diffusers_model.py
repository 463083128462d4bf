"""What all families share: parts that are loaded when they are needed, a VAE, text encoders, and one denoiser."""

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
from loratui.engine.families.model import LatentDistribution
from loratui.engine.families.parts import Parts, is_mixed
from loratui.engine.formats.base_parts import FAMILY_PARTS, BaseFiles, PartName
from loratui.presets.schema import Family, Settings

TEXT_ENCODERS: tuple[PartName, ...] = ("text_encoder", "text_encoder_2")


class BaseModel:
    """A base model of any family, as far as the families are alike."""

    name: Family
    latent_channels: int
    size_step: int
    trainable_encoders: tuple[PartName, ...]
    """Text encoders that a LoRA may train."""

    def __init__(
        self,
        files: BaseFiles,
        settings: Settings,
        *,
        device: torch.device,
        dtypes: Mapping[PartName, torch.dtype],
        digests: Digests | None,
    ) -> None:
        """`dtypes` are those of the parts with weights. Raises `UsageError` for a base of another family or one with parts missing."""
        if files.family != self.name:
            raise UsageError(f"{files.path}: this is {files.title}, not {self.name}.", f"Set base.family to {files.family}.")
        files.require_complete()
        self.device = device
        self._files, self._settings, self._dtypes = files, settings, dtypes
        self._digests = digests or Digests()
        self._tokenizers = {part: loading.load_tokenizer(files, part) for part in files.parts if part.startswith("tokenizer")}
        self._encoder_parts = tuple(part for part in TEXT_ENCODERS if part in FAMILY_PARTS[self.name])
        self._denoiser_part = FAMILY_PARTS[self.name][0]
        loaders: dict[str, Callable[[], nn.Module]] = {part: functools.partial(self._load, part) for part in dtypes}
        self._parts = Parts(loaders, device)

    def _load(self, part: PartName) -> nn.Module:
        model = loading.load_part(self._files, part, device=self.device, dtype=self._dtypes[part])
        if self._dtypes[part] == torch.float16 and not all(bool(torch.isfinite(value).all()) for value in model.parameters()):
            raise UsageError(
                f"The weights of this base ({part}) go beyond the range of fp16.", "Set training.precision to fp32 for it."
            )
        if part == self._denoiser_part:
            self._check_denoiser(model)
        return model

    def _check_denoiser(self, denoiser: Any) -> None:
        """Raises `UsageError` for a denoiser that cannot be trained as one of this family."""

    @property
    def denoiser(self) -> nn.Module:
        """The UNet or transformer, frozen but for its LoRA."""
        denoiser: nn.Module = self._parts[self._denoiser_part]
        return denoiser

    @property
    def text_encoders(self) -> Mapping[str, nn.Module]:
        """The text encoders that a LoRA may train too, by the name of their part."""
        return {part: self._parts[part] for part in self.trainable_encoders}

    @functools.cached_property
    def _fingerprints(self) -> tuple[str, str]:
        parts, base, dataset = self._files.parts, self._settings.base, self._settings.dataset
        reading = [part for part in (*TEXT_ENCODERS, "tokenizer", "tokenizer_2") if part in parts]
        settings = (
            self.name,
            base.clip_skip,
            dataset.caption_tokens,
            [str(self._dtypes[part]) for part in self._encoder_parts],
        )
        images = [self._digests.of(parts["vae"]), str(self._dtypes["vae"])]
        texts = [*(self._digests.of(parts[part]) for part in reading), repr(settings)]
        return _joined(images), _joined(texts)

    def fingerprints(self) -> tuple[str, str]:
        """SHA-256 of all that makes latents and of all that makes text states. Loads no part."""
        return self._fingerprints

    def encode_image(self, pixels: Tensor) -> LatentDistribution:
        """The latents of one image (3, H, W) in [-1, 1] fp32, on the CPU."""
        return vae.encode(self._parts["vae"], pixels)

    def decode_image(self, latents: Tensor) -> Tensor:
        """The image (3, H, W) uint8 on the CPU of latents (C, h, w)."""
        return vae.decode(self._parts["vae"], latents[None].to(self.device))

    def latent_scale(self) -> tuple[float, float]:
        """Scaling factor and shift of the VAE."""
        return vae.scale_and_shift(self._parts["vae"])

    @property
    def has_frozen_text(self) -> bool:
        """Whether a text encoder stays frozen even where the others are trained, so that its states can be kept."""
        return set(self._encoder_parts) != set(self.trainable_encoders)

    def free_text_encoders(self, *, but: Collection[str] = ()) -> None:
        """Forgets the text encoders, `but` these parts; they are loaded again if they are needed again."""
        self._parts.free(*(part for part in self._encoder_parts if part not in but))

    def free_image_encoder(self) -> None:
        """Forgets the VAE; it is loaded again if it is needed again."""
        self._parts.free("vae")

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """How the denoiser works while it makes samples: as in training, but not compiled, since their shapes and batches differ."""
        dtype = self._dtypes[self._denoiser_part]
        mixed = is_mixed(self.device, dtype)
        with torch.compiler.set_stance("force_eager"), torch.autocast(self.device.type, dtype=dtype, enabled=mixed):
            yield

    def enable_gradient_checkpointing(self) -> None:
        """From now on training computes activations twice instead of keeping them; the gradients stay the same."""
        self._parts[self._denoiser_part].enable_gradient_checkpointing()


def _joined(values: list[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()
