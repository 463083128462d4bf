"""What of the adapter's settings cannot be trained together, and what a person should know of the others, before torch is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.findings import Finding
from loratui.engine.formats.base_parts import FAMILY_TITLES
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.engine.formats.lora_keys import is_text_layer, sort_keys, split
from loratui.engine.formats.safetensors_file import TensorInfo, read_header
from loratui.engine.planning.lora_size import targeted
from loratui.presets.schema import LYCORIS, Settings


def contradictions(settings: Settings) -> Iterator[Finding]:
    """What must be changed before this adapter can be trained and saved."""
    adapter, family = settings.adapter, settings.base.family
    if family == "flux" and adapter.targets.endswith("+conv"):
        plain = {"adapter.targets": adapter.targets.removesuffix("+conv")}
        yield Finding.of("adapter_settings.convolutions", targets=adapter.targets, title=FAMILY_TITLES[family], settings=plain)
    if adapter.kind in LYCORIS and adapter.dropout:
        yield Finding.of("adapter_settings.dropout", kind=adapter.kind, settings={"adapter.dropout": 0.0})
    if adapter.dora and adapter.kind in LYCORIS:
        yield Finding.of("adapter_settings.dora", kind=adapter.kind, settings={"adapter.dora": False})
    if adapter.dora and (adapter.rank_dropout or adapter.module_dropout):
        none = {"adapter.rank_dropout": 0.0, "adapter.module_dropout": 0.0}
        yield Finding.of("adapter_settings.dora_dropout", settings=none)
    if settings.output.format == "kohya" and adapter.dora:
        yield Finding.of("adapter_settings.dora_kohya", settings={"output.format": "auto"})
    if settings.output.format == "peft" and adapter.kind in LYCORIS:
        yield Finding.of("adapter_settings.lycoris_peft", kind=adapter.kind, settings={"output.format": "auto"})


def dora_files(settings: Settings) -> Iterator[Finding]:
    """What a person should know of files with magnitudes."""
    if settings.adapter.dora:
        yield Finding.of("dora_files", settings={"adapter.dora": False})


def start_refusal(settings: Settings) -> Iterator[Finding]:
    """Why the LoRA that training is to go on from cannot be used, as far as its header tells; nothing if it can, or none is named."""
    named, family = settings.adapter.start_from, settings.base.family
    if not named:
        return
    path = Path(named)
    if not path.is_absolute():
        yield Finding.of("start_from.relative", path=named, absolute=str(path.absolute()))
        return
    try:
        facts = lora_file_facts(path)
        tensors = read_header(path).tensors
    except (UsageError, OSError) as error:
        yield Finding.of("start_from.unreadable", error=str(error))
        return
    made_for = _WIDTHS.get(_text_width(tensors), family)
    own = "dora" if settings.adapter.dora else "lora" if settings.adapter.kind == "locon" else settings.adapter.kind
    if not facts.layers:
        yield Finding.of("start_from.no_lora", path=named)
    elif made_for != family and family != "flux":
        yield Finding.of("start_from.other_family", path=named, made_for=_TITLES[made_for], title=_TITLES[family])
    elif own not in facts.form.split("+"):
        mend = _SET_FOR.get(facts.form, {})
        key = "start_from.settable" if mend else "start_from.other_kind"
        yield Finding.of(key, path=named, form=facts.form, own=own, settings=mend)
    elif not _is_trained(tensors, settings):
        yield Finding.of("start_from.other_layers", path=named, layers=facts.layers, title=FAMILY_TITLES[family])


def _is_trained(tensors: Mapping[str, TensorInfo], settings: Settings) -> bool:
    """Whether any layer of a file is one that is trained."""
    family = settings.base.family
    known: list[tuple[Part, str]] = [("denoiser", layer.name) for layer in targeted(family, settings.adapter.targets)]
    trains_text = settings.training.train_text_encoder and any(map(is_text_layer, tensors))
    return trains_text or bool(sort_keys(tensors, family, known).layers)


_WIDTHS: Mapping[int, str] = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""Width of the text states that a UNet reads -> family."""
_TITLES: Mapping[str, str] = {"sd15": "SD1.5", "sd2": "SD2", "sdxl": "SDXL"}
_SET_FOR: Mapping[str, Mapping[str, Any]] = {
    "lora": {"adapter.kind": "lora", "adapter.dora": False},
    "dora": {"adapter.kind": "lora", "adapter.dora": True},
    "loha": {"adapter.kind": "loha"},
    "lokr": {"adapter.kind": "lokr"},
}
_READS_TEXT = re.compile(r".+attn2[._]to_[kv]")


def _text_width(tensors: Mapping[str, TensorInfo]) -> int:
    """Width of the text states that the layers of a file read; 0 if it does not tell.

    Names and some sizes are the same in UNets of several families, this width is not.
    """
    for name, info in tensors.items():
        stem, what = split(name)
        if what in ("lora_A", "hada_w1_b") and len(info.shape) == 2 and _READS_TEXT.fullmatch(stem):
            return info.shape[1]
    return 0
