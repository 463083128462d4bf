"""Which configuration fits a denoiser in a single file: the bundled one of its family, or that of an embedded base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loratui.engine import families
from loratui.engine.families.network import shown
from loratui.engine.families.spec import FamilySpec
from loratui.engine.formats.base_keys import FoundPart
from loratui.engine.formats.base_parts import NO_CHANGES, BaseRefused
from loratui.engine.formats.diffusers_folder import read_json
from loratui.presets import SHIPPED


@dataclass(frozen=True)
class Fit:
    """A configuration folder, and what a file has otherwise than it says."""

    folder: Path
    changes: Mapping[str, Any]


def family_of(denoiser: FoundPart) -> FamilySpec | None:
    """The family of a denoiser; None for any other part."""
    kind = denoiser.network
    return next((spec for spec in families.FAMILIES if kind in spec.denoiser.networks and spec.claims(denoiser.sizes)), None)


def fit(denoiser: FoundPart, spec: FamilySpec) -> Fit:
    """The configuration that a denoiser is loaded with. Raises `BaseRefused` for sizes that no configuration has."""
    network, have = denoiser.network, denoiser.sizes
    fixed = [name for name in network.words if name not in network.elastic]
    for folder in _folders(spec):
        own = network.config_sizes(read_json(folder / spec.denoiser.name / "config.json"))
        if own and all(have[name] == own[name] for name in fixed):
            changes = {key: have[name] for name, key in network.elastic.items() if have[name] != own[name]}
            return Fit(folder, MappingProxyType(changes) if changes else NO_CHANGES)
    usual = network.config_sizes(spec.config(spec.denoiser.name))
    others = [f"{shown(have[n])} {network.words[n]} (not {shown(usual[n])})" for n in fixed if have[n] != usual[n]]
    hint = f"; {spec.fewer_layers}" if spec.fewer_layers and have["layers"] < usual["layers"] else ""
    message = f"its {spec.denoiser.title} has {' and '.join(others)}, which is not that of {spec.title}{hint}."
    raise BaseRefused("base_other_shape", message, f"Choose a full checkpoint of {spec.choice}.")


def depth(denoiser: FoundPart, spec: FamilySpec) -> str:
    """How many blocks a denoiser has that was cut down to fewer, or grew to more; empty for the usual number."""
    network, have = denoiser.network, denoiser.sizes
    usual = network.config_sizes(spec.config(spec.denoiser.name))
    other = {name for name in network.words if have[name] != usual[name]}
    if not other or other - network.elastic.keys():
        return ""
    found = " and ".join(f"{have[name]} {network.words[name]}" for name in network.elastic)
    return f"{found} ({spec.title} has {' and '.join(str(usual[name]) for name in network.elastic)})"


def _folders(spec: FamilySpec) -> Iterator[Path]:
    """The bundled configuration first, then the embedded bases that have such a part."""
    yield spec.bundled
    yield from sorted(path.parents[1] for path in (SHIPPED / "bases").glob(f"*/{spec.denoiser.name}/config.json"))
