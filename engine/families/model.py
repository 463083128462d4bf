"""What training needs of a base model of any family: the protocol `Model`, its inputs and its outputs.

Latents have the shape that the VAE gives them: (C, h, w) for an image and (B, C, h, w) for a batch, or with an axis of frames
after C. Text tensors have any name, number and length. Only the family's own module knows more.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from loratui.engine import families
from loratui.engine.families.fingerprints import Digests
from loratui.engine.formats.base_parts import BaseFiles
from loratui.presets.schema import Settings

Prediction = Literal["epsilon", "v", "flow"]
"""What a denoiser predicts: the noise, the velocity of Salimans and Ho, or noise − data of flow matching."""


@dataclass(frozen=True)
class LatentDistribution:
    """The VAE's distribution for one image, already scaled to what the denoiser sees: (C, …, h, w) each, fp32.

    Both are kept, because a cache of one drawn sample would freeze the VAE's noise for the whole run.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class _Read:
    """What was read of one caption."""

    tensors: Mapping[str, Tensor]
    tokens_cut: int
    """Content tokens that did not fit into the encoder's window."""

    @property
    def shapes(self) -> frozenset[tuple[str, torch.Size]]:
        """The shape of each tensor."""
        return frozenset((name, value.shape) for name, value in self.tensors.items())


class PromptTokens(_Read):
    """What the text encoders that a LoRA may train read of a caption, and the embeddings that no LoRA can change."""


class PromptEmbeds(_Read):
    """What the denoiser reads of a caption: named tensors without a batch dimension, in the encoder's number format."""


@dataclass(frozen=True)
class SizeConditioning:
    """Where a training image comes from within its photo, px, as (width, height) and (left, top). Some bases read it."""

    original: tuple[int, int]
    """Of the file, upright."""
    crop: tuple[int, int]
    """In the photo after scaling for its bucket."""
    target: tuple[int, int]
    """The training image itself."""

    @classmethod
    def whole(cls, width: int, height: int) -> SizeConditioning:
        """An image that is not cropped, such as a sample."""
        return cls((width, height), (0, 0), (width, height))


@dataclass(frozen=True)
class NoisyInput:
    """One batch ready for the denoiser."""

    noisy_model_input: Tensor
    """(B, C, …, h, w) fp32."""
    timesteps: Tensor
    """(B,) in the unit that the denoiser expects."""
    target: Tensor
    """(B, C, …, h, w) fp32: what the denoiser should predict."""
    noise_level: Tensor
    """(B,) fp32: each image's share of the way to pure noise, 0 to 1; t/T of a diffusion schedule, σ of flow matching."""
    snr: Tensor | None = None
    """(B,) signal-to-noise ratio of a diffusion schedule; None for flow matching."""


@dataclass(frozen=True)
class SamplePlan:
    """One image to make."""

    prompt_embeds: PromptEmbeds
    negative_prompt_embeds: PromptEmbeds
    seed: int
    """Of its noise, which is drawn on the CPU, so a seed means the same everywhere."""
    width: int
    height: int
    steps: int
    guidance: float
    negative_given: bool = False
    """Whether a person gave this negative prompt; without one, some bases take zeros instead of the empty text."""

    @property
    def kind(self) -> object:
        """What plans must have in common to be sampled together."""
        texts = (self.prompt_embeds.shapes, self.negative_prompt_embeds.shapes)
        return (*texts, self.width, self.height, self.steps, self.guidance, self.negative_given)


def first_noise(plans: Sequence[SamplePlan], shape: tuple[int, ...]) -> Tensor:
    """(B, C, …, h, w): the noise of each plan by its own seed, so an image is the same alone and among others."""
    return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(plan.seed)) for plan in plans])


class Joiner(Protocol):
    """Has layers with a LoRA computed together. A layer without one, or with more than a plain one, changes nothing."""

    def joined(self, *groups: Sequence[nn.Module], appended: bool = False) -> list[nn.Module]:
        """From lists of layers that read the same input, one module for each list, whose output is theirs side by side. Empty if a
        list cannot be joined; then nothing is changed.

        `appended`: as `append` does it.
        """

    def in_turn(self, *groups: Sequence[nn.Module]) -> list[nn.Module]:
        """From lists of layers that all read the same input, one module for each list, whose output is theirs side by side; a pass calls
        each of these once, in this order, with that input. Empty if they cannot be joined; then nothing is changed. What their
        LoRAs add is computed as `append` does it."""

    def append(self, *layers: nn.Module) -> None:
        """Has the product of each layer's base make what its LoRA adds, where that is faster. They read a whole image's tokens."""


@dataclass(frozen=True)
class LoadOptions:
    """How a base is loaded, and how it saves GPU memory."""

    device: torch.device
    dtype: torch.dtype
    """Of the denoiser and of text encoders that are never trained; the VAE and the others stay in fp32, since each image and caption
    is encoded once."""
    digests: Digests = field(default_factory=Digests)
    denoiser_on_host: bool = False
    """Whether the denoiser is loaded into host memory, as it is stored, until it is moved to the card layer by layer."""
    text_streamed: bool = False
    """Whether text encoders that are never trained stay in host memory, and their blocks come to the card one after another."""
    vae_tiled: bool = False
    """Whether images are decoded in tiles."""
    tile_px: int = 0
    """Side of these tiles. They are also taken for an image that is too large for the free memory; 0: never."""


class Model(Protocol):
    """A base model. Each part is loaded when it is first needed. Methods run without gradients unless they say otherwise."""

    prediction: Prediction
    device: torch.device

    @property
    def denoiser(self) -> nn.Module:
        """The UNet or transformer that the LoRA adapts; frozen."""

    def denoiser_arrives(self) -> AbstractContextManager[None]:
        """Within the block, threads bring the denoiser's weights to the device, while other parts are loaded and compute. It is as
        exact as loading it when it is needed. Not for a denoiser that stays in host memory."""

    @property
    def text_encoders(self) -> Mapping[str, nn.Module]:
        """The text encoders that a LoRA may train too, by the name of their part; frozen."""

    def fingerprints(self) -> tuple[str, str]:
        """Names of everything that makes latents, and of everything that makes prompt embeddings, for cache keys. Loads no part."""

    @property
    def has_frozen_text(self) -> bool:
        """Whether a text encoder stays frozen even while the others are trained, so its states can be kept."""

    @property
    def captions_at_once(self) -> int:
        """How many captions `encode_prompts` should get, so that it is fast; the embeddings of each are the same in any case."""

    def tokenize(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptTokens]:
        """What `encode` reads of each caption.

        Where `known`, embeddings of the same captions, are given, what no LoRA can change is taken from them.
        """

    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The embeddings of a caption from its tokens, on the device, with gradients where they are enabled. It never waits for the
        device, so it can be recorded."""

    def encode_prompts(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptEmbeds]:
        """The same from captions; `known` as for `tokenize`. Raises `NotFiniteError` for embeddings that are not finite."""

    def encode_image(self, pixels: Tensor) -> LatentDistribution:
        """The latents of one image (3, H, W) in [-1, 1] fp32, on the CPU. H and W are multiples of the family's `side_px`."""

    @property
    def encodes_on_cpu(self) -> bool:
        """Whether `encode_image` computes on the CPU, because the device has too little memory for one of the images so far."""

    def decode_image(self, latents: Tensor) -> Tensor:
        """The image (3, H, W) uint8 on the CPU of latents (C, …, h, w), as `encode_image` makes them."""

    def latent_scale(self) -> tuple[float, float] | None:
        """Scaling factor and shift of the VAE: latents are (z − shift) · scaling. None where each channel has its own."""

    def free_text_encoders(self, *, but: Collection[str] = ()) -> None:
        """Drops the text encoders, `but` these parts; the next use loads them again."""

    def free_vae(self) -> None:
        """Drops what only `encode_image` and `decode_image` need; the next use loads it again."""

    @staticmethod
    def join_projections(block: nn.Module, joiner: Joiner) -> None:
        """Lets the layers of a block that read the same input, such as an attention's projections, be computed together."""

    def drop_weights(self) -> None:
        """Makes a denoiser of one block of each kind, and a VAE, both without weights: enough to compile these blocks."""

    def empty_latents(self, width: int, height: int) -> LatentDistribution:
        """Zeros in place of what an image of this size is encoded to."""

    def empty_texts(self) -> PromptEmbeds:
        """Zeros in place of what a short caption is encoded to, by the denoiser's configuration."""

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        """A training input from (B, C, …, h, w) latents and noise, and (B,) uniform numbers in [0, 1), 1 being pure noise."""

    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What `predict` needs of the embeddings of B captions of any length: tensors on the device with B as their first dimension,
        with gradients where they are enabled and the embeddings have them."""

    def size_conditioning(self, sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        """What else `predict` needs of B images."""

    def conditioning(self, prompt_embeds: Sequence[PromptEmbeds], sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        """Both."""

    def predict(self, noisy_model_input: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        """The denoiser's prediction (B, C, …, h, w), with gradients where they are enabled. Batches of one shape differ in the
        given tensors alone, which are on the device."""

    def sample(self, plan: SamplePlan, on_step: Callable[[int, int], None]) -> Tensor:
        """An image as (3, H, W) uint8 on the CPU. `on_step(done, total)` is called after each step and may raise to stop."""

    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        """The same of several plans of one `kind`, in one batch: alike but for rounding."""


ModelLoader = Callable[[BaseFiles, Settings, LoadOptions], Model]
"""Makes the model of a base; its parts are loaded later. Raises `UsageError` for an incomplete base, or for settings that do not fit it."""


def load_model(files: BaseFiles, settings: Settings, options: LoadOptions) -> Model:
    """The base in the files, made by its family's own module."""
    load: ModelLoader = importlib.import_module(families.family(settings.base.family).model).load
    return load(files, settings, options)
