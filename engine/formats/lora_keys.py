"""The names of tensors in LoRA files of any maker: which layer each belongs to, and what it is of that layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from loratui.engine import families
from loratui.engine.families.lora import Original
from loratui.engine.families.spec import FamilySpec, PartSpec
from loratui.engine.formats import kohya
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Family

_ADAPTER = r"(?:\.(?!weight$)[A-Za-z0-9_-]+)?"
"""The name that PEFT gives an adapter, such as `.default` or `.default_0`; most files have none."""

_ENDINGS: tuple[tuple[str, str], ...] = (
    (r"\.lora_down\.weight", "lora_A"),
    (r"\.lora_up\.weight", "lora_B"),
    (rf"\.lora_A{_ADAPTER}\.weight", "lora_A"),
    (rf"\.lora_B{_ADAPTER}\.weight", "lora_B"),
    (r"(_lora|\.lora|\.lora_linear_layer|(?<=_lora[12]))\.down\.weight", "lora_A"),
    (r"(_lora|\.lora|\.lora_linear_layer|(?<=_lora[12]))\.up\.weight", "lora_B"),
    (rf"\.lora_magnitude_vector{_ADAPTER}(\.weight)?", "lora_magnitude_vector"),
    (r"\.alpha", "alpha"),
    (r"\.lora_mid\.weight", "lora_mid"),
    (r"\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?|hada_t[12]|lokr_t2|dora_scale)", ""),
)
"""End of a name -> what the tensor is; LyCORIS' are called so already. The ends with `lora1` and `lora2` are XLabs'."""

_NAMED = re.compile(r"\.(?:lora_[AB]|lora_magnitude_vector)\.(?!weight$)([A-Za-z0-9_-]+)(?:\.weight)?$")

_WRAPPERS = re.compile(
    r"(?:(?:base_model\.model|model\.diffusion_model|diffusion_model|unet|transformer|model|module|_orig_mod)\.)++"
)
"""What stands before the path of a denoiser's module: PEFT's, ComfyUI's, diffusers' and torch's levels, in any order."""
_TEXT_LEVELS: Mapping[Part, str] = {
    "text_encoder": r"text_encoder|(?:text_encoders\.)?clip_l\.transformer",
    "text_encoder_2": r"text_encoder_2|(?:text_encoders\.)?clip_g\.transformer",
}
_TEXT_WRAPPERS: Mapping[Part, re.Pattern[str]] = {
    part: re.compile(rf"(?:base_model\.model\.)?(?:{levels})\.(?:base_model\.model\.)?(?:text_model\.)?")
    for part, levels in _TEXT_LEVELS.items()
}
"""The same for the text encoders."""

UNREAD = frozenset({"dora_scale", "lora_mid", "hada_t1", "hada_t2", "lokr_t2"})
"""Tensors without which the others of a layer mean something else: magnitudes as LyCORIS has them, and the cores of Tucker's
decomposition. Nothing here computes with them, so a layer that has one is not read at all."""

_ENDING = re.compile("(?:" + "|".join(f"(?P<e{at}>{pattern})" for at, (pattern, _) in enumerate(_ENDINGS)) + ")$")


@dataclass(frozen=True)
class Place:
    """What a name in a file stands for."""

    part: Part
    path: str
    """Of a module; of the first member where it is a Linear that is none of diffusers' as it stands."""
    fused: Original | None = None


@dataclass(frozen=True)
class Sorted:
    """The names of a file, sorted by layer."""

    layers: Mapping[Place, Mapping[str, str]]
    """Layer -> what -> name in the file; what is `lora_A`, `lora_B`, `lora_magnitude_vector`, `alpha`, `hada_…`, `lokr_…`,
    or one of `UNREAD`."""
    others: tuple[str, ...] = field(default=())
    """Names of layers that were not asked for, of things that are no such tensor, and of a tensor that has another name too."""


def sort_keys(names: Iterable[str], family: Family, layers: Iterable[tuple[Part, str]]) -> Sorted:
    """Finds `layers` (part and module path) in the names of a file, whichever of the known layouts it has.

    Of several adapters in one file, as PEFT names them, one is taken: `default`, else the first by name.
    """
    places = {stem: place for part, path in layers for stem, place in _stems(family, part, path)}
    listed = list(names)
    adapters = {_adapter_of(name) for name in listed} - {""}
    taken = "default" if "default" in adapters else min(adapters, default="")
    found: dict[Place, dict[str, str]] = {}
    others = []
    for name in listed:
        stem, what = split(name)
        place = places.get(_bare(stem)) if what and _adapter_of(name) in ("", taken) else None
        layer = None if place is None else found.setdefault(place, {})
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
    if ".self_attn.to_" in stem:  # and its text encoders: self_attn.to_q_lora.up.weight
        stem = re.sub(r"\.self_attn\.to_(q|k|v|out)$", r".self_attn.\1_proj", stem)
    return stem, what


def _adapter_of(name: str) -> str:
    found = _NAMED.search(name)
    return found[1] if found else ""


def is_text_layer(name: str) -> bool:
    """Whether a name is of a layer of a text encoder."""
    stem, what = split(name)
    return bool(what) and (stem.startswith("lora_te") or _bare(stem).startswith(("text_encoder", "text_model.")))


def _bare(stem: str) -> str:
    """The beginning of a name without the levels around its module: the path of a denoiser's, or `<part>.<path>`."""
    for part, wrapper in _TEXT_WRAPPERS.items():
        if found := wrapper.match(stem):
            return f"{part}.{stem[found.end() :]}"
    found = _WRAPPERS.match(stem)
    return stem[found.end() :] if found else stem


def _stems(family: Family, part: Part, path: str) -> Iterator[tuple[str, Place]]:
    """Every beginning of a name that stands for a module in some layout, without the levels around it."""
    spec = families.family(family)
    if part != "denoiser":
        yield from ((stem, Place(part, path)) for stem in _text_stems(spec, spec.part(part), path))
        return
    stems = (path, spec.lora.peft_names(path), *(f"{prefix}{kohya.flat(path)}" for prefix in _FLAT))
    yield from ((stem, Place(part, path)) for stem in stems)
    for whole in spec.lora.readable(path):
        place = Place(part, path) if whole.is_one_module else Place(part, whole.members[0], whole)
        yield whole.stem, place
        yield from ((f"{prefix}{kohya.flat(whole.stem)}", place) for prefix in _FLAT)


_FLAT = (kohya.UNET, "lycoris_", "lora_transformer_")
"""What stands before the flat path of a denoiser's module: kohya's, LyCORIS' and OneTrainer's."""


def _text_stems(spec: FamilySpec, encoder: PartSpec, path: str) -> Iterator[str]:
    short = path.removeprefix(encoder.lora_level)
    prefixes = {encoder.lora_prefix, *(("lora_te1_", "lora_te_") if encoder == spec.text_encoders[0] else ())}
    yield f"{encoder.name}.{short}"
    if len(spec.trainable_text) == 1:  # a file of the text encoder alone; of two nobody could say which
        yield encoder.lora_level + short
    for whole in (short, encoder.lora_level + short):
        yield from (prefix + kohya.flat(whole) for prefix in sorted(prefixes))
