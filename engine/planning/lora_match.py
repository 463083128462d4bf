"""Whether a LoRA file of any program fits a base, and what adapter it is, from its header alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.families.network import Config
from loratui.engine.families.spec import FamilySpec, Layer
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_facts import LoraFileFacts, lora_file_facts
from loratui.engine.formats.lora_keys import UNREAD, is_text_layer, sort_keys, split
from loratui.engine.formats.safetensors_file import TensorInfo, read_header
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.lora_size import denoiser_config, denoiser_layers, targeted, tensor_shapes
from loratui.engine.words import count, listed
from loratui.presets.schema import Adapter, Base, Targets

Shapes = Mapping[str, tuple[int, ...]]
_KINDS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"adapter.kind": "lora", "adapter.dora": False},
    "dora": {"adapter.kind": "lora", "adapter.dora": True},
    "loha": {"adapter.kind": "loha", "adapter.dora": False},
    "lokr": {"adapter.kind": "lokr", "adapter.dora": False},
}
_HIGHEST_RANK = 1024
_NO_FAMILY: Mapping[int, str] = {1024: "SD2"}
"""Width of the text states that a UNet reads -> title, of bases that cannot be trained here."""
_READS_TEXT = re.compile(r".+attn2[._]to_[kv]")


@dataclass(frozen=True)
class LoraMatch:
    """A LoRA file that fits a base."""

    settings: Mapping[str, Any]
    """What a recipe says of such a LoRA, by key."""
    layers: int
    """Layers of the denoiser that it changes."""
    others: tuple[str, ...]
    """Names of tensors that belong to no layer of the base; they have no effect here."""
    trigger: str
    """The trigger word that its metadata name; empty if they name none."""
    step: int
    """The optimizer step that they name; 0 if they name none."""


def match(path: Path, base: Base) -> LoraMatch:
    """What a LoRA file is on a base. Raises `UsageError` for a file that is no LoRA, of another base, or of a kind that is not computed."""
    facts, tensors = lora_file_facts(path), read_header(path).tensors
    if not facts.layers:
        raise UsageError(f"{path}: this is not a LoRA of a kind that loratui knows.", "Choose another file.")
    if unread := sorted({what for what in map(_what, tensors) if what in UNREAD}):
        message = f"{path}: it has tensors that loratui cannot compute with: {listed(unread, 3)}."
        raise UsageError(message, "Choose another file, or convert this one to a plain LoRA.")
    spec = families.family(base.family)
    config = denoiser_config(base.family, base_path(base.model))
    found = _Found.of(spec, config, tensors)
    if not found.layers or found.layers > found.fitting:
        raise _misfit(path, base, found, tensors)
    if facts.form not in _KINDS:
        raise UsageError(f"{path}: its layers are of several kinds ({facts.form}).", "Choose another file.")
    text = [name for name in found.others if is_text_layer(name)]
    told = facts.metadata.get("ss_steps", "")
    return LoraMatch(
        settings={
            **_adapter(path, facts, found),
            "adapter.targets": _targets(spec, config, found),
            "training.train_text_encoder": bool(text),
        },
        layers=found.layers,
        others=tuple(name for name in found.others if name not in set(text)),
        trigger=facts.metadata.get("modelspec.trigger_phrase", "")[:100].strip(),
        step=int(told) if told.isascii() and told.isdecimal() and len(told) < 16 else 0,
    )


def made_for(tensors: Mapping[str, TensorInfo]) -> str:
    """Title of the bases for which a file of a UNet was made, by the width of the text states that its layers read; empty where
    that is not known. Names and some sizes are the same in UNets of several families, this width is not."""
    known = {spec.cross_attention_width: spec.title for spec in families.FAMILIES if spec.cross_attention_width}
    for name, info in tensors.items():
        stem, what = split(name)
        if what in ("lora_A", "hada_w1_b") and len(info.shape) == 2 and _READS_TEXT.fullmatch(stem):
            return known.get(info.shape[1]) or _NO_FAMILY.get(info.shape[1], "")
    return ""


@dataclass(frozen=True)
class _Found:
    """The layers of one kind of base in a file."""

    layers: int
    fitting: int
    """Those that have the sizes of the base's; of layers that the makers' code fuses only the names are compared."""
    plain: Mapping[str, tuple[Layer, Shapes]]
    """The layers that are not fused, by their names."""
    fused: tuple[str, ...]
    """Names of the first member of each that is."""
    others: tuple[str, ...]

    @classmethod
    def of(cls, spec: FamilySpec, config: Config | None, tensors: Mapping[str, TensorInfo]) -> _Found:
        """What a file has of a base with this configuration; None stands for the usual one."""
        layers = {layer.name: layer for layer in denoiser_layers(spec.name, config)}
        wanted: list[tuple[Part, str]] = [("denoiser", name) for name in layers]
        sorted_keys = sort_keys(tensors, spec.name, wanted)
        plain, fused, fitting = {}, [], 0
        for place, names in sorted_keys.layers.items():
            if place.fused is not None:
                fused.append(place.path)
                fitting += 1
                continue
            shapes = {what: tensors[name].shape for what, name in names.items()}
            plain[place.path] = layers[place.path], shapes
            fitting += _fits(layers[place.path], shapes)
        return cls(len(sorted_keys.layers), fitting, plain, tuple(fused), sorted_keys.others)


def _fits(layer: Layer, shapes: Shapes) -> bool:
    inputs = layer.inputs * max(1, layer.kernel) ** 2
    return (layer.outputs, inputs) in _sizes(shapes)


def _sizes(shapes: Shapes) -> Iterator[tuple[int, int]]:
    """Outputs and inputs of the layer that such tensors change; nothing where some are missing."""
    for up, down in (("lora_B", "lora_A"), ("hada_w1_a", "hada_w1_b")):
        if shapes.get(up) and shapes.get(down):
            yield shapes[up][0], math.prod(shapes[down][1:])
    ends: list[tuple[int, int]] = []
    for whole in ("lokr_w1", "lokr_w2"):
        left, right = (shapes.get(whole) or shapes.get(f"{whole}{end}") for end in ("_a", "_b"))
        if left and right:
            ends.append((left[0], math.prod(right[1:])))
    if len(ends) == 2:
        yield ends[0][0] * ends[1][0], ends[0][1] * ends[1][1]


def _what(name: str) -> str:
    return split(name)[1]


def _misfit(path: Path, base: Base, found: _Found, tensors: Mapping[str, TensorInfo]) -> UsageError:
    spec = families.family(base.family)
    others = {one.title: _Found.of(one, None, tensors) for one in families.FAMILIES if one.name != base.family}
    title = next((title for title, of in others.items() if of.layers == of.fitting > 0), "")
    title = title or (made_for(tensors) if made_for(tensors) != spec.title else "")
    if title:
        message = f"{path}: this is a LoRA for {title}, and {base.model} is {spec.title}."
        return UsageError(message, f"Name a base of {title}, or a LoRA for {spec.title}.")
    if found.layers:
        message = f"{path}: its layers have other sizes than those of {base.model}."
        return UsageError(message, "Name the base that it was trained on.")
    message = f"{path}: none of its tensors belongs to a layer of {spec.title}, such as {min(tensors)}."
    return UsageError(message, "Name another base or another file.")


def _adapter(path: Path, facts: LoraFileFacts, found: _Found) -> dict[str, Any]:
    rank = max(facts.ranks, default=_HIGHEST_RANK)
    if not 1 <= rank <= _HIGHEST_RANK:
        raise UsageError(f"{path}: it has a rank of {rank}.", f"loratui computes ranks up to {_HIGHEST_RANK}.")
    settings = {**_KINDS[facts.form], "adapter.rank": rank}
    if facts.form != "lokr":
        return settings
    # Only those factors of which every layer has the shapes that PEFT gives them.
    sides = {
        shape[0] for _, shapes in found.plain.values() for what, shape in shapes.items() if what.startswith("lokr_w1") and shape
    }
    for factor in (-1, *sorted(side for side in sides if side <= _HIGHEST_RANK)):
        for both in (False, True):
            own = Adapter(kind="lokr", rank=rank, factor=factor, decompose_both=both)
            if all(_same(tensor_shapes(layer, own), shapes) for layer, shapes in found.plain.values()):
                return {**settings, "adapter.factor": factor, "adapter.decompose_both": both}
    layers = count(len(found.plain), "layer")
    raise UsageError(f"{path}: the factors of its {layers} are of different kinds.", "Choose another file.")


def _same(wanted: Shapes, given: Shapes) -> bool:
    return dict(wanted) == {what: shape for what, shape in given.items() if what != "alpha"}


def _targets(spec: FamilySpec, config: Config | None, found: _Found) -> Targets:
    """The smallest set of layers with all that the file has, for a run that begins with it."""
    names = {*found.plain, *found.fused}
    sets: list[Targets] = [one for one in get_args(Targets) if spec.convolutions or not one.endswith("+conv")]
    layers = {one: {layer.name for layer in targeted(spec.name, one, config)} for one in sets}
    return min((one for one in sets if names <= layers[one]), key=lambda one: len(layers[one]), default=sets[-1])
