"""Where bases, and parts that a base does not bring along, can be had: repository, file, size and licence."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine import families
from loratui.engine.families.spec import Source
from loratui.engine.formats.base_parts import MissingPart, PartName
from loratui.presets.schema import Family

_SETTINGS: Mapping[PartName, str] = {
    "vae": "base.vae",
    "text_encoder": "base.text_encoder",
    "text_encoder_2": "base.text_encoder_2",
}


def known_base(model: str) -> Source | None:
    """Where a base that a preset names can be had; None for any other."""
    return next((base for spec in families.FAMILIES for base in spec.bases if base.repo == model), None)


def missing_part(family: Family, part: PartName) -> MissingPart:
    """What is known of a part of `family` that is not there."""
    known = families.family(family).part(part)
    title = known.title if known and known.title else part.replace("_", " ")
    return MissingPart(part, title, _SETTINGS.get(part, ""), known.sources if known else ())
