"""The families of base models: one folder each, with all in which they differ. Everything else asks for a trait, never for a name."""

from __future__ import annotations

from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.network import Network
from loratui.engine.families.sd15.spec import SD15
from loratui.engine.families.sdxl.spec import SDXL
from loratui.engine.families.spec import FamilySpec, PartName, Source

FAMILIES: tuple[FamilySpec, ...] = (SD15, SDXL, FLUX)
"""All that can be trained. Ask for it where it is needed and keep no table made of it, so that it can be added to."""


def family(name: str) -> FamilySpec:
    """The family of this name. Raises `KeyError` for a name that none has."""
    for spec in FAMILIES:
        if spec.name == name:
            return spec
    raise KeyError(name)


def networks() -> tuple[Network, ...]:
    """Every kind of network that a part of a base can be, the denoisers first."""
    denoisers = [network for spec in FAMILIES for network in spec.denoiser.networks]
    others = [network for spec in FAMILIES for part in spec.parts[1:] for network in part.networks]
    return tuple({network.name: network for network in (*denoisers, *others)}.values())


def weight_parts() -> tuple[PartName, ...]:
    """Names of the parts with weights, of all families, the denoisers first."""
    named = [spec.denoiser.name for spec in FAMILIES]
    return tuple(dict.fromkeys(named + [part.name for spec in FAMILIES for part in spec.parts if part.networks]))


def choices() -> str:
    """What a base can be chosen of, for people."""
    *most, last = (spec.choice for spec in FAMILIES)
    return f"{', '.join(most)} or {last}"


def known_base(model: str) -> Source | None:
    """Where a base that a preset names can be had; None for any other."""
    return next((base for spec in FAMILIES for base in spec.bases if base.repo == model), None)
