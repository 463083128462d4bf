"""The families of base models: one folder each, with all in which they differ. Everything else asks for a trait, never for a name."""

from __future__ import annotations

from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.sd15.spec import SD15
from loratui.engine.families.sdxl.spec import SDXL
from loratui.engine.families.spec import FamilySpec

FAMILIES: tuple[FamilySpec, ...] = (SD15, SDXL, FLUX)
"""All that can be trained. Ask for it where it is needed and keep no table made of it, so that it can be added to."""


def family(name: str) -> FamilySpec:
    """The family of this name. Raises `KeyError` for a name that none has."""
    for spec in FAMILIES:
        if spec.name == name:
            return spec
    raise KeyError(name)
