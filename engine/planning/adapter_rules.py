"""What of the adapter's settings cannot be trained together, and what a person should know of the others, before torch is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.findings import Finding
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.engine.formats.lora_keys import is_text_layer, sort_keys
from loratui.engine.formats.safetensors_file import TensorInfo, read_header
from loratui.engine.planning.lora_match import made_for
from loratui.engine.planning.lora_size import targeted
from loratui.presets.schema import LYCORIS, Settings


def contradictions(settings: Settings) -> Iterator[Finding]:
    """What must be changed before this adapter can be trained and saved."""
    adapter, spec = settings.adapter, families.family(settings.base.family)
    if not spec.convolutions and adapter.targets.endswith("+conv"):
        plain = {"adapter.targets": adapter.targets.removesuffix("+conv")}
        yield Finding.of("adapter_settings.convolutions", targets=adapter.targets, title=spec.title, settings=plain)
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
    named, spec = settings.adapter.start_from, families.family(settings.base.family)
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
    title = made_for(tensors)
    own = "dora" if settings.adapter.dora else "lora" if settings.adapter.kind == "locon" else settings.adapter.kind
    if not facts.layers:
        yield Finding.of("start_from.no_lora", path=named)
    elif title and spec.cross_attention_width and title != spec.title:
        yield Finding.of("start_from.other_family", path=named, made_for=title, title=spec.title)
    elif own not in facts.form.split("+"):
        fix = _SET_FOR.get(facts.form, {})
        key = "start_from.settable" if fix else "start_from.other_kind"
        yield Finding.of(key, path=named, form=facts.form, own=own, settings=fix)
    elif not _is_trained(tensors, settings):
        yield Finding.of("start_from.other_layers", path=named, layers=facts.layers, title=spec.title)


def _is_trained(tensors: Mapping[str, TensorInfo], settings: Settings) -> bool:
    """Whether any layer of a file is one that is trained."""
    family = settings.base.family
    known: list[tuple[Part, str]] = [("denoiser", layer.name) for layer in targeted(family, settings.adapter.targets)]
    trains_text = settings.training.train_text_encoder and any(map(is_text_layer, tensors))
    return trains_text or bool(sort_keys(tensors, family, known).layers)


_SET_FOR: Mapping[str, Mapping[str, Any]] = {
    "lora": {"adapter.kind": "lora", "adapter.dora": False},
    "dora": {"adapter.kind": "lora", "adapter.dora": True},
    "loha": {"adapter.kind": "loha"},
    "lokr": {"adapter.kind": "lokr"},
}
