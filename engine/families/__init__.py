"""The families of base models: one folder each, with everything that sets them apart. All other code asks for a trait, never for a name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.network import Network
from loratui.engine.families.sd15.spec import SD15
from loratui.engine.families.sdxl.spec import SDXL
from loratui.engine.families.spec import Board, FamilySpec, PartName, PartSpec, Source

FAMILIES: tuple[FamilySpec, ...] = (SD15, SDXL, FLUX)
"""All that can be trained. Read it where it is needed and keep no table made from it, since tests add families to it."""


def family(name: str) -> FamilySpec:
    """The family of this name. Raises `KeyError` for an unknown name."""
    named: dict[str, FamilySpec] = {spec.name: spec for spec in FAMILIES}
    return named[name]


def every_part() -> tuple[PartSpec, ...]:
    """Every part of every family, the denoisers first."""
    return tuple(sorted((part for spec in FAMILIES for part in spec.parts), key=lambda part: part.role != "denoiser"))


def networks() -> tuple[Network, ...]:
    """Every kind of network that a part of a base can be, the denoisers first."""
    return tuple({network.name: network for part in every_part() for network in part.networks}.values())


def part_names() -> tuple[PartName, ...]:
    """Names of the parts of all families."""
    return tuple(dict.fromkeys(part.name for part in every_part()))


def weight_parts() -> tuple[PartName, ...]:
    """Names of the parts with weights, of all families, the denoisers first."""
    return tuple(dict.fromkeys(part.name for part in every_part() if part.networks))


def choices() -> str:
    """The kinds of base to choose from, for people."""
    *most, last = (spec.choice for spec in FAMILIES)
    return f"{', '.join(most)} or {last}"


def known_base(model: str) -> Source | None:
    """The source of a base that a preset names; None for any other."""
    return next((base for spec in FAMILIES for base in spec.bases if base.repo == model), None)


_NAME_WORDS = re.compile(r"bb95|e621|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""The words of a file's name: `waiNSFWIllustrious_v140` has wai, NSFW, Illustrious and v."""


def tag_words(model: str) -> Mapping[str, Board]:
    """The words in a base's own name that say whose tags it was trained on; the folders around it say nothing of it."""
    name = model.rstrip("/").rpartition("/")[2].removesuffix(".safetensors")
    boards = {word: board for spec in FAMILIES for word, board in spec.tag_bases.items()}
    return {word: boards[word] for word in sorted({word.lower() for word in _NAME_WORDS.findall(name)} & boards.keys())}
