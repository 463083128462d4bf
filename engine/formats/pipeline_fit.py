"""Whether the parts of a diffusers folder go together: with their own configurations, and with what the denoiser reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loratui.engine.families.network import shown
from loratui.engine.families.spec import FamilySpec, PartName
from loratui.engine.formats.base_keys import FoundPart
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.diffusers_folder import read_json
from loratui.engine.formats.part_fit import title

_AGAIN = "Download the model again, or put back the part that was exchanged."


def refuse_other_sizes(found: FoundPart, folder: Path) -> None:
    """Raises `BaseRefused` for weights of other sizes than the `config.json` beside them says: they could not be loaded."""
    own = found.network.config_sizes(read_json(folder / "config.json"))
    for name, word in found.network.words.items():
        have, said = found.sizes.get(name, 0), own.get(name)
        if said is not None and have != said and (found.network.exact or (have and said)):
            why = f"{shown(have)} {word}, and its config.json has {shown(said)}"
            message = f"{folder}: this is {title(found)} that its config.json does not fit: {why}."
            raise BaseRefused("base_other_shape", message, _AGAIN)


def refuse_disagreement(found: Mapping[PartName, FoundPart], spec: FamilySpec, folder: Path) -> None:
    """Raises `BaseRefused` for text encoders and a VAE that the denoiser was not made for, such as two that were exchanged."""
    denoiser = spec.denoiser.name
    config = read_json(folder / denoiser / "config.json")
    for part, wanted in spec.reads(found[denoiser].sizes, config).items():
        have = found.get(part)
        if have is not None and wanted and have.sizes["width"] != wanted:
            message = (
                f"{folder / part}: this is {title(have)} ({have.sizes['width']} {have.network.words['width']}), and the "
                f"{spec.title} model beside it needs one of {wanted}."
            )
            raise BaseRefused("base_part_wrong", message, _AGAIN)
