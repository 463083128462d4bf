"""What a family of base models is, without torch: parts, sizes, names in files, licences, figures.

A family states its traits once, in `families/<name>/spec.py`; all other code asks for a trait, never for a name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loratui.engine.families.elsewhere import Elsewhere
from loratui.engine.families.figures import FamilyFigures
from loratui.engine.families.lora import LoraSpec
from loratui.engine.families.network import Config, Network, Sizes
from loratui.engine.untrusted import read_json
from loratui.presets.schema import Family

PartName = str
"""A part by the name that diffusers gives its folder: `unet`, `transformer`, `vae`, `text_encoder_2`, `tokenizer`."""

Board = Literal["image boards", "e621"]
"""Whose tags a base was trained on; `image boards` are Danbooru and those that took its tags over."""

Role = Literal["denoiser", "vae", "text_encoder", "tokenizer", "scheduler"]


@dataclass(frozen=True)
class Source:
    """A download from the hub: a file that holds a part, or a whole base."""

    repo: str
    file: str
    """Empty: everything in the repository that a base needs."""
    licence: str
    bytes: int
    gated: bool = False
    """Whether its terms must be accepted on its page first."""


@dataclass(frozen=True)
class PartSpec:
    """A part that training needs."""

    name: PartName
    role: Role
    cls: str = ""
    """Import path of its class, such as `diffusers.AutoencoderKL`; empty for the scheduler."""
    title: str = ""
    """For people."""
    networks: tuple[Network, ...] = ()
    """The networks that it can be; none for tokenizers and the scheduler."""
    sources: tuple[Source, ...] = ()
    """Where its file can be downloaded; the first is proposed. Sizes come from the hub's pages."""
    found_by_shape: bool = True
    """Whether its shape alone tells it from parts of other families, so that one found nearby may be used."""
    trainable: bool = False
    """Text encoders: whether a LoRA may train it too."""
    tokenizer: str = ""
    """Text encoders: the part that tokenizes its captions."""
    lora_prefix: str = ""
    """Trainable text encoders: the prefix of a module's name in kohya's layout."""
    lora_level: str = ""
    """Trainable text encoders: a level of modules that files have and classes may lack. CLIPTextModel has no `text_model.`
    since transformers 5.6, but other programs drop tensors without it."""
    window: int = 0
    """Text encoders: tokens that it reads at once, including the marks of beginning and end."""
    pooled: bool = False
    """Text encoders: whether its last layer is read as a pooled vector, whatever clip skip is."""
    patterns: tuple[str, ...] = ()
    """Tokenizers: regular expressions with which all versions split texts. Any other could run forever."""
    is_tokenizer: Callable[[Config], bool] = lambda _: False
    """Tokenizers: whether the `model` of a `tokenizer.json` found nearby is of this kind; it may raise `KeyError`, `TypeError`
    or `IndexError` for a damaged one."""
    bundled: Path | None = None
    """Tokenizers: the folder of the bundled one."""


@dataclass(frozen=True)
class VaeSpec:
    """How images become latents."""

    channels: int
    """Of the latents that the VAE makes."""
    px: int = 8
    """Pixels to a latent, along one side."""
    patch: int = 1
    """Latents to a token of the denoiser, along one side."""
    normalisation: Literal["scalar", "per_channel", "batch_norm"] = "scalar"
    """(z − shift)·scaling; (z − mean)/deviation of each channel; or the running statistics of a batch norm after the patching."""
    scaling: float = 1.0
    shift: float = 0.0
    """The family's usual values, where the normalisation is scalar."""
    frames: bool = False
    """Whether latents have an axis of frames, which is 1 for images: (B, C, 1, h, w)."""
    sampled: bool = True
    """Whether training draws from the VAE's distribution; else it takes the mode, as some families were trained."""


@dataclass(frozen=True)
class TextSpec:
    """How captions are read."""

    reader: PartName
    """The text encoder whose tokens count."""
    several_windows: bool = False
    """Whether a caption is read in as many of its windows as `dataset.caption_tokens` asks for; else in one."""
    clip_skip: int = 0
    """The lowest `base.clip_skip` with a meaning of its own; 0 where the family has no such choice."""


@dataclass(frozen=True)
class Layer:
    """A Linear (kernel 0) or a convolution of kernel × kernel, by its diffusers name."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 0


@dataclass(frozen=True, kw_only=True)
class FamilySpec:
    """A family of base models. Where a base's own files differ from these usual facts, the files count."""

    name: Family
    title: str
    """For people, short: `SD1.5`."""
    long_title: str
    choice: str
    """The kind of model to choose, for people: `SDXL (Pony too)`."""
    model: str
    """The module with torch that loads a base (`ModelLoader`)."""
    objective: Literal["diffusion", "flow"]
    """Noise or v on a DDPM schedule; or the velocity of rectified flow."""
    parts: tuple[PartSpec, ...]
    """What training needs, the denoiser first."""
    claims: Callable[[Sizes], bool] = lambda _: True
    """Whether a denoiser of these sizes is of this family, where others have the same network."""
    reads: Callable[[Sizes, Config], Mapping[PartName, int]]
    """Part -> the width that a denoiser was made for, from its sizes and configuration; 0: unknown."""
    fewer_layers: str = ""
    """What a denoiser with fewer layers than usual may be."""
    pipelines: tuple[str, ...]
    """Classes of diffusers' pipelines of this family that have ordinary weights."""
    other_pipelines: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Pipelines whose weights may look ordinary -> what they are, and the id of the refusal."""
    vae: VaeSpec
    text: TextSpec
    embedded_guidance: bool = False
    """Whether the denoiser takes the guidance scale as an input."""
    highest_guidance: float = 0.0
    """`samples.guidance` above which images degrade, in families where people slip; 0: no warning."""
    fp16: bool = True
    """Whether its activations stay within the range of fp16."""
    native_px: tuple[int, int]
    """Smallest and largest usual resolution of training images."""
    usual_rates: tuple[float, float]
    """Effective learning rates of AdamW in guides and common trainers, with some margin."""
    targets: Mapping[str, tuple[str, ...]]
    """Target set -> patterns of whole module paths, each of which must match something."""
    lora: LoraSpec
    convolutions: str = ""
    """Pattern of what `+conv` adds; empty where the denoiser has no convolutions."""
    layers: Callable[[Config], Iterator[Layer]]
    """The denoiser's layers that a LoRA can adapt, from its configuration. Raises `ValueError`, `KeyError` or `TypeError`
    for sizes that no model has."""
    blocks: tuple[str, ...]
    """Class names of the denoiser's blocks whose activations can be computed again, one block at a time."""
    pass_order: tuple[str, ...] = ()
    """The denoiser's parts in the order of a pass, where it lists them otherwise."""
    fewest_layers: Config = field(default_factory=dict)
    """What of a denoiser's configuration leaves it one block of each kind, which is enough to compile them."""
    cross_attention_width: int = 0
    """Width of the text states that the layers `attn2.to_k` read, which tells LoRA files apart; 0: it has no such layers."""
    tag_bases: Mapping[str, Board] = field(default_factory=dict)
    """Word in a base's name -> whose tags it was trained on, in place of sentences. What is known of a base is its name alone."""
    folders: tuple[str, ...] = ()
    """Lower-case names of folders in which other programs keep this family's models."""
    bundled: Path
    """A folder in diffusers layout with the usual configuration of every part, for files without one."""
    figures: FamilyFigures
    bases: tuple[Source, ...]
    """Bases of this family that presets name. Sizes are those of the download, roughly."""
    default_preset: str
    demo_preset: str
    licence: str
    """What to know about the base's licence, in one sentence."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    licences: Mapping[str, str] = field(default_factory=dict)
    """Word in a base's name -> what to know instead."""

    @property
    def side_px(self) -> int:
        """Sides of images must be multiples of it."""
        return self.vae.px * self.vae.patch

    @property
    def denoiser(self) -> PartSpec:
        """The UNet or transformer."""
        return self.parts[0]

    @property
    def text_encoders(self) -> tuple[PartSpec, ...]:
        """In the order of their names."""
        return tuple(part for part in self.parts if part.role == "text_encoder")

    @property
    def trainable_text(self) -> tuple[PartSpec, ...]:
        """The text encoders that a LoRA may train too."""
        return tuple(part for part in self.text_encoders if part.trainable)

    @property
    def caption_tokenizer(self) -> PartSpec:
        """The tokenizer whose tokens count."""
        return self.part(self.part(self.text.reader).tokenizer)

    @property
    def caption_tokens(self) -> int:
        """Tokens of a caption that are read; 0 where `dataset.caption_tokens` decides."""
        return 0 if self.text.several_windows else self.part(self.text.reader).window

    def part(self, name: str) -> PartSpec:
        """The part of this name. Raises `KeyError` where the family has none."""
        return {part.name: part for part in self.parts}[name]

    def has(self, name: str) -> bool:
        """Whether it has a part of this name."""
        return any(part.name == name for part in self.parts)

    def config(self, part: str) -> Config:
        """The usual configuration of a part."""
        return _config(self.bundled / part / "config.json")


@functools.cache
def _config(path: Path) -> Config:
    config: Config = read_json(path)
    return config
