"""Which configuration fits a denoiser in a single file: the bundled one of its family, or that of an embedded base."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loratui.engine import families
from loratui.engine.formats.base_keys import FoundPart
from loratui.engine.formats.base_parts import NO_CHANGES, BaseRefused
from loratui.engine.formats.diffusers_folder import read_json
from loratui.presets import SHIPPED
from loratui.presets.schema import Family


@dataclass(frozen=True)
class Fit:
    """A configuration folder, and what a file has otherwise than it says."""

    folder: Path
    changes: Mapping[str, Any]


def fit(denoiser: FoundPart) -> tuple[Family, Fit]:
    """The family of a denoiser and the configuration that it is loaded with.

    Raises `BaseRefused` for sizes that no configuration has.
    """
    if denoiser.role == "flux":
        return "flux", _fit_flux(denoiser)
    family: Family = "sdxl" if denoiser.added else "sd15"
    sizes = (denoiser.first_channels, denoiser.width, denoiser.layers, denoiser.added)
    for folder in _folders():
        if _own_numbers(folder) == sizes:
            return family, Fit(folder, NO_CHANGES)
    names = ("channels at its beginning", "channels of text", "transformer blocks", "added channels")
    usual = _own_numbers(families.family(family).bundled) or sizes
    others = [f"{n} {name} (not {own})" for n, own, name in zip(sizes, usual, names, strict=True) if n != own]
    fewer = family == "sdxl" and denoiser.layers < usual[2]
    known = "SDXL; it may be a distilled version such as SSD-1B" if fewer else "SDXL" if family == "sdxl" else "SD1.5"
    message = f"its UNet has {' and '.join(others)}, which is not that of {known}."
    raise BaseRefused("base_other_shape", message, "Choose a full checkpoint of SD1.5 or SDXL.")


def _fit_flux(denoiser: FoundPart) -> Fit:
    for folder in _folders():
        config = read_json(folder / "transformer" / "config.json")
        if not config or config["num_attention_heads"] * config["attention_head_dim"] != denoiser.width:
            continue
        found = {"num_layers": denoiser.layers, "num_single_layers": denoiser.single_layers}
        changes = {key: value for key, value in found.items() if config[key] != value}
        return Fit(folder, MappingProxyType(changes) if changes else NO_CHANGES)
    message = f"its transformer is {denoiser.width} wide; FLUX.1-dev has 3072."
    raise BaseRefused("base_other_shape", message, "Choose FLUX.1-dev or a finetune of it.")


@functools.cache
def _folders() -> tuple[Path, ...]:
    """The bundled configurations first, then the embedded bases."""
    bundled = [spec.bundled for spec in families.FAMILIES]
    return (*bundled, *sorted(p.parent for p in (SHIPPED / "bases").glob("*/model_index.json")))


@functools.cache
def _own_numbers(folder: Path) -> tuple[int, ...] | None:
    """As `unet_numbers`, of a configuration that comes with the program."""
    return unet_numbers(read_json(folder / "unet" / "config.json"))


def unet_numbers(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """First channels, text width, transformer blocks in all, width of added inputs; None where they are not all said."""
    try:
        channels, layers = config["block_out_channels"], config["layers_per_block"]
        depth = config.get("transformer_layers_per_block", 1)
        depths: Sequence[int] = depth if isinstance(depth, list) else [depth] * len(channels)
        down = sum(n * layers for n, kind in zip(depths, config["down_block_types"], strict=True) if "CrossAttn" in kind)
        up = sum(
            n * (layers + 1) for n, kind in zip(depths[::-1], config["up_block_types"], strict=True) if "CrossAttn" in kind
        )
        added = config.get("projection_class_embeddings_input_dim") or 0
        return _whole(channels[0], config["cross_attention_dim"], down + up + depths[-1], added)
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def flux_numbers(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Width, double and single blocks of FLUX's transformer; None where they are not all said."""
    try:
        width = config["num_attention_heads"] * config["attention_head_dim"]
        return _whole(width, config["num_layers"], config["num_single_layers"])
    except (KeyError, TypeError):
        return None


def _whole(*numbers: object) -> tuple[int, ...] | None:
    return tuple(n for n in numbers if type(n) is int) if all(type(n) is int for n in numbers) else None
