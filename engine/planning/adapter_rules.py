"""What of the adapter's settings cannot be trained together, and what a person should know of the others, before torch is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.engine.formats.lora_keys import is_text_layer, sort_keys, split
from loratui.engine.formats.safetensors_file import TensorInfo, read_header
from loratui.engine.planning.lora_size import targeted
from loratui.engine.words import count
from loratui.presets.schema import LYCORIS, Settings


@dataclass(frozen=True)
class Contradiction:
    """Two settings that exclude each other."""

    message: str
    remedy: str


DORA_FILES = (
    "DoRA files work in diffusers only: other programs read the magnitudes in another way or not at all, "
    "so that the image is not the trained one."
)


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """What must be changed before this adapter can be trained and saved."""
    adapter, family = settings.adapter, settings.base.family
    if family == "flux" and adapter.targets.endswith("+conv"):
        plain = adapter.targets.removesuffix("+conv")
        yield Contradiction(f"adapter.targets {adapter.targets}: FLUX has no convolutions.", f"Set adapter.targets to {plain}.")
    if adapter.kind in LYCORIS and adapter.dropout:
        yield Contradiction(
            f"adapter.dropout: {adapter.kind} has no inputs of its own that could be dropped.",
            "Set adapter.dropout to 0; adapter.rank_dropout and adapter.module_dropout work with it.",
        )
    if adapter.dora and adapter.kind in LYCORIS:
        yield Contradiction(f"adapter.dora goes with lora and locon, not with {adapter.kind}.", "Set adapter.dora to false.")
    if adapter.dora and (adapter.rank_dropout or adapter.module_dropout):
        yield Contradiction(
            "adapter.dora: the magnitudes belong to the whole of a layer, of which nothing can be left out.",
            "Set adapter.rank_dropout and adapter.module_dropout to 0; adapter.dropout works with it.",
        )
    if settings.output.format == "kohya" and adapter.dora:
        yield Contradiction("output.format kohya: DoRA files are for diffusers only.", "Set output.format to auto.")
    if settings.output.format == "peft" and adapter.kind in LYCORIS:
        yield Contradiction(
            f"output.format peft: {adapter.kind} files have LyCORIS' names, which kohya's format holds.",
            "Set output.format to auto.",
        )


def start_refusal(settings: Settings) -> Contradiction | None:
    """Why the LoRA that training shall go on from cannot be used, as far as its header tells; None if it can, or none is named."""
    named, family = settings.adapter.start_from, settings.base.family
    if not named:
        return None
    path = Path(named)
    if not path.is_absolute():
        return Contradiction(
            f"adapter.start_from {named}: the trainer works in another folder.",
            f"Give the whole path, such as {path.absolute()}.",
        )
    try:
        facts = lora_file_facts(path)
        tensors = read_header(path).tensors
    except (UsageError, OSError) as error:
        return Contradiction(f"adapter.start_from: {error}", "Give the path of a .safetensors LoRA.")
    if not facts.layers:
        return Contradiction(
            f"adapter.start_from {named}: this is no LoRA of a kind that is known here.", "Choose another file."
        )
    made_for = _WIDTHS.get(_text_width(tensors), family)
    if made_for != family and family != "flux":
        return Contradiction(
            f"adapter.start_from {named}: this is a LoRA for {_TITLES[made_for]}.", f"Choose one for {_TITLES[family]}."
        )
    own = "dora" if settings.adapter.dora else "lora" if settings.adapter.kind == "locon" else settings.adapter.kind
    if own not in facts.form.split("+"):
        return Contradiction(
            f"adapter.start_from {named}: this is a {facts.form}, and a {own} is trained here.",
            f"Set {_SET_FOR[facts.form]}, or choose another file." if facts.form in _SET_FOR else "Choose another file.",
        )
    known: list[tuple[Part, str]] = [("denoiser", layer.name) for layer in targeted(family, settings.adapter.targets)]
    trains_text = settings.training.train_text_encoder and any(map(is_text_layer, tensors))
    if not sort_keys(tensors, family, known).layers and not trains_text:
        return Contradiction(
            f"adapter.start_from {named}: none of its {count(facts.layers, 'layer')} is trained here; it may be for another base.",
            f"Choose a LoRA for {family}, or another adapter.targets.",
        )
    return None


_WIDTHS: Mapping[int, str] = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""Width of the text states that a UNet reads -> family."""
_TITLES: Mapping[str, str] = {"sd15": "SD1.5", "sd2": "SD2", "sdxl": "SDXL"}
_SET_FOR: Mapping[str, str] = {
    "lora": "adapter.kind=lora and adapter.dora=false",
    "dora": "adapter.kind=lora and adapter.dora=true",
    "loha": "adapter.kind=loha",
    "lokr": "adapter.kind=lokr",
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
