"""What is known of a base model before it is loaded: its family, where each of its parts lies, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.families.spec import PartName, PartSpec, Source
from loratui.engine.findings import Finding
from loratui.engine.words import size
from loratui.presets.schema import KEYS, Family

Layout = Literal["diffusers", "single_file", "parts"]
"""A diffusers folder; one checkpoint that holds the denoiser and more; or parts that lie in places of their own."""

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})


class BaseRefused(UsageError):
    """A file or folder that cannot serve as a base; `code` is that of the finding."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.finding = Finding.of(code, problem=message, remedy=remedy)
        self.code = code


@dataclass(frozen=True)
class PartFile:
    """Where one part of a base lies, and how its tensors are named and stored."""

    path: Path
    """The part's own folder (weights with their `config.json`, or tokenizer or scheduler files), or a .safetensors
    file. For a file in shards, the `.index.json` that lists them."""
    in_folder: bool = True
    """Whether `path` is such a folder, so that `from_pretrained(path, variant=variant or None)` loads it."""
    files: tuple[Path, ...] = ()
    """The .safetensors files that hold the tensors; none for tokenizers and schedulers."""
    prefix: str = ""
    """What stands before every key of the part in its file. CLIP's keys may go on with `text_model.` or without it."""
    names: Literal["diffusers", "original"] = "diffusers"
    """Keys as diffusers and transformers name their modules, or as the model's makers do (LDM, OpenCLIP, FLUX)."""
    dtype: str = ""
    """Number format of most weights: `fp32 fp16 bf16 fp8_e4m3 fp8_e5m2`."""
    fp8: Literal["", "plain", "scaled"] = ""
    """Plain fp8 is cast to a wider type and right. A scaled weight is `weight.float() * scale`, else it is silently wrong."""
    scale_suffix: str = ""
    """For scaled fp8: `<module>.weight` has its scale in `<module><scale_suffix>`."""
    variant: str = ""
    """For folders whose only weights are named so, such as `fp16`."""
    bytes: int = 0
    """Of the weights on disk."""
    config_changes: Mapping[str, Any] = field(default_factory=lambda: NO_CHANGES)
    """Values of the bundled configuration that are otherwise in this file, such as `num_layers`."""


@dataclass(frozen=True)
class MissingPart:
    """A part that a base needs and does not bring along."""

    part: PartName
    title: str
    setting: str
    """The key that names the part's file, such as `base.text_encoder_2`; empty where there is none."""
    sources: tuple[Source, ...] = ()
    note: str = ""
    """Why the one that the base brings along is not taken; empty where it brings none."""

    @classmethod
    def of(cls, part: PartSpec, note: str = "") -> MissingPart:
        """What is known of a part that is not there."""
        setting = f"base.{part.name}"
        return cls(part.name, part.title, setting if setting in KEYS else "", part.sources, note)

    def __str__(self) -> str:
        """A sentence: what, how large, from where, under which licence."""
        missing = f"{self.title} is missing" + (f" ({self.note})" if self.note else "")
        if not self.sources:
            return f"{missing}."
        first = self.sources[0]
        gate = "; its terms must be accepted first" if first.gated else ""
        return f"{missing}: {first.file} of {first.repo}, {size(first.bytes)}, {first.licence}{gate}."


@dataclass(frozen=True)
class BaseFiles:
    """A base model as it was found. `identify` and `find_base` make them; loaders take nothing else."""

    path: Path
    """The folder or file that was identified."""
    family: Family
    layout: Layout
    parts: Mapping[PartName, PartFile]
    config: Path
    """A folder in diffusers layout with every part's configuration: the base's own, or the bundled one of its family."""
    prediction: Literal["epsilon", "v"] | None
    """What the denoiser predicts as far as the files tell, epsilon where they are silent; None for a flow."""
    zero_terminal_snr: bool
    title: str
    """For people: `SDXL checkpoint, fp16, v-prediction`."""
    missing: tuple[MissingPart, ...] = ()

    @property
    def denoiser(self) -> PartFile:
        """The UNet or transformer."""
        return self.parts[families.family(self.family).denoiser.name]

    @property
    def complete(self) -> bool:
        """Whether every part that training needs is there."""
        return not self.missing

    @property
    def bytes(self) -> int:
        """Of all weights on disk."""
        return sum(part.bytes for part in self.parts.values())

    def require_complete(self) -> BaseFiles:
        """Itself. Raises `BaseRefused` that names what is missing and where to get it."""
        if self.missing:
            settings = ", ".join(m.setting for m in self.missing if m.setting)
            remedy = f"Put it beside the model, or name its file with --set {settings}." if settings else ""
            raise BaseRefused("base_incomplete", f"{self.path}: " + " ".join(str(m) for m in self.missing), remedy)
        return self
