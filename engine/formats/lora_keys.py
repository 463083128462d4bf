"""The names of tensors in LoRA files of any maker: which layer each belongs to, and what it is of that layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loratui.engine.formats import flux_names, kohya, sgm_names
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Family

_ENDINGS: tuple[tuple[str, str], ...] = (
    (r"\.lora_down\.weight", "lora_A"),
    (r"\.lora_up\.weight", "lora_B"),
    (r"\.lora_A(\.default)?\.weight", "lora_A"),
    (r"\.lora_B(\.default)?\.weight", "lora_B"),
    (r"(_lora|\.lora|\.lora_linear_layer)\.down\.weight", "lora_A"),
    (r"(_lora|\.lora|\.lora_linear_layer)\.up\.weight", "lora_B"),
    (r"\.lora_magnitude_vector(\.default)?(\.weight)?", "lora_magnitude_vector"),
    (r"\.alpha", "alpha"),
    (r"\.lora_mid\.weight", "lora_mid"),
    (r"\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?|hada_t[12]|lokr_t2|dora_scale)", ""),
)
"""End of a name -> what the tensor is; LyCORIS' are called so already."""

UNREAD = frozenset({"dora_scale", "lora_mid", "hada_t1", "hada_t2", "lokr_t2"})
"""Tensors without which the others of a layer mean something else: magnitudes as LyCORIS has them, and the cores of Tucker's
decomposition. Nothing here computes with them, so a layer that has one is not read at all."""

_ENDING = re.compile("(?:" + "|".join(f"(?P<e{at}>{pattern})" for at, (pattern, _) in enumerate(_ENDINGS)) + ")$")


@dataclass(frozen=True)
class Place:
    """What a name in a file stands for."""

    part: Part
    path: str
    """Of a module; of the first member where it is a fused Linear of FLUX."""
    fused: flux_names.Original | None = None


@dataclass(frozen=True)
class Sorted:
    """The names of a file, sorted by layer."""

    layers: Mapping[Place, Mapping[str, str]]
    """Layer -> what -> name in the file; what is `lora_A`, `lora_B`, `lora_magnitude_vector`, `alpha`, `hada_…`, `lokr_…`,
    or one of `UNREAD`."""
    others: tuple[str, ...] = field(default=())
    """Names of layers that were not asked for, of things that are no such tensor, and of a tensor that has another name too."""


def sort_keys(names: Iterable[str], family: Family, layers: Iterable[tuple[Part, str]]) -> Sorted:
    """Finds `layers` (part and module path) in the names of a file, whichever of the known layouts it has."""
    places = {stem: place for part, path in layers for stem, place in _stems(family, part, path)}
    found: dict[Place, dict[str, str]] = {}
    others = []
    for name in names:
        stem, what = split(name)
        layer = found.setdefault(places[stem], {}) if what and stem in places else None
        if layer is None or what in layer:
            others.append(name)
        else:
            layer[what] = name
    return Sorted(found, tuple(others))


def split(name: str) -> tuple[str, str]:
    """The layer's part of a name, and what the tensor is of it; `(name, "")` for a name that is no tensor of an adapter."""
    found = _ENDING.search(name)
    if found is None:
        return name, ""
    what = next(
        short or found[f"e{at}"].removeprefix(".") for at, (_, short) in enumerate(_ENDINGS) if found[f"e{at}"] is not None
    )
    stem = name[: found.start()]
    if ".processor." in stem:  # diffusers before 0.22: attn1.processor.to_q_lora.up.weight
        stem = re.sub(r"\.processor\.to_out$", ".to_out.0", stem).replace(".processor.", ".")
    return stem, what


def _stems(family: Family, part: Part, path: str) -> Iterable[tuple[str, Place]]:
    """Every beginning of a name that stands for a module in some layout."""
    place = Place(part, path)
    if part != "denoiser":
        return [(stem, place) for stem in _text_stems(family, part, path)]
    flat = path.replace(".", "_")
    own = "transformer" if family == "flux" else "unet"
    stems = [f"{own}.{path}", path, f"base_model.model.{path}", f"diffusion_model.{path}"]
    stems += [f"lycoris_{flat}", f"lora_{own}_{flat}"]
    if family != "flux":
        original = (sgm_names.sdxl if family == "sdxl" else sgm_names.sd15)(path)
        stems += [f"{kohya.UNET}{original.replace('.', '_')}", f"diffusion_model.{original}"]
        return [(stem, place) for stem in stems]
    original_place = flux_names.original(path)
    fused = Place(part, original_place.members[0], original_place)
    others = [f"{kohya.UNET}{original_place.stem.replace('.', '_')}", f"diffusion_model.{original_place.stem}"]
    return [*((stem, place) for stem in stems), *((stem, fused) for stem in others)]


def _text_stems(family: Family, part: Part, path: str) -> list[str]:
    short = path.removeprefix("text_model.")
    prefixes = {kohya.TEXT_ENCODERS[family][part], "lora_te2_" if part == "text_encoder_2" else "lora_te1_"}
    return [
        stem
        for whole in (short, f"text_model.{short}")
        for stem in (*(prefix + whole.replace(".", "_") for prefix in prefixes), f"{part}.{whole}")
    ]
