"""Whether what a file holds can be a part of a base: in words where it cannot, so that nobody learns it from a loader's traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from loratui.engine.families.network import Network, Sizes, shown
from loratui.engine.families.spec import FamilySpec, PartSpec
from loratui.engine.formats.diffusers_folder import read_json


class Held(Protocol):
    """What of a part inside a file decides what it can be."""

    @property
    def network(self) -> Network: ...
    @property
    def sizes(self) -> Sizes: ...


def wanted_sizes(config: Path, spec: FamilySpec) -> Mapping[str, Sizes]:
    """Part -> the sizes that it must have in a base of the family that has this folder of configurations."""
    wanted: dict[str, Sizes] = {"vae": {"width": spec.vae.channels}}
    for part in spec.text_encoders:
        values = read_json(config / part.name / "config.json")
        wanted[part.name] = part.networks[0].config_sizes(values)
    return wanted


def misfit(held: Held, part: PartSpec, wanted: Sizes) -> str:
    """Why what a file holds cannot be this part of a base, whose sizes are `wanted`; empty if it can."""
    if not same_kind(held, part):
        return "it is something else"
    if part.role == "denoiser":
        return ""
    for name, word in held.network.words.items():
        found, needed = held.sizes.get(name, 0), wanted.get(name, 0)
        if found != needed and (name == "width" or (found and needed)):
            return f"{shown(found)} {word}, and {shown(needed)} {'is' if word == 'wide' else 'are'} needed"
    return next((why for name, why in held.network.needed.items() if not held.sizes.get(name, 0)), "")


def same_kind(held: Held, part: PartSpec) -> bool:
    """Whether what a file holds is at least meant for this part."""
    return any(held.network.name == network.name for network in part.networks)


def title(held: Held) -> str:
    """What a part of a file is, for people."""
    return held.network.title(held.sizes)


def held_words(held: Held, part: PartSpec, wanted: Sizes) -> str:
    """What a part of a file is, and why it cannot be this part of a base."""
    why = misfit(held, part, wanted) if same_kind(held, part) else ""
    return f"{title(held)} ({why})" if why else title(held)
