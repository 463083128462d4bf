"""What a LoRA file tells of itself without loading a tensor, and the same file without its metadata."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.formats.lora_keys import split
from loratui.engine.formats.metadata import ALLOWED
from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, read_checked, read_header


@dataclass(frozen=True)
class LoraFileFacts:
    """A LoRA file as its header describes it."""

    path: Path
    bytes: int
    tensors: int
    layers: int
    """Layers with an adapter; 0 means that it is no LoRA of a kind that is known here."""
    form: str
    """lora, dora, loha, lokr, the last two perhaps "with magnitudes"; several joined by a plus."""
    ranks: Mapping[int, int]
    """Rank -> number of layers."""
    dtypes: Mapping[str, int]
    """Number format -> number of tensors."""
    metadata: Mapping[str, str]
    unknown: tuple[str, ...] = ()
    """Names of tensors that belong to no adapter of a kind that is known here."""

    @property
    def private(self) -> tuple[str, ...]:
        """Metadata that this program would not have written: among them are folder names, captions and comments."""
        return tuple(key for key in sorted(self.metadata) if key not in ALLOWED)


def lora_file_facts(path: Path) -> LoraFileFacts:
    """The facts of a LoRA file. Raises `UsageError` for a file that is missing or no safetensors file."""
    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file.", "Check the path.")
    header = read_header(path)
    layers: dict[str, set[str]] = {}
    ranks: dict[str, int] = {}
    unknown: list[str] = []
    for name, info in header.tensors.items():
        stem, what = split(name)
        if not what:
            unknown.append(name)
            continue
        layers.setdefault(stem, set()).add(what)
        if what in ("lora_A", "hada_w1_b", "lokr_w1_b", "lokr_w2_b") and info.shape:
            ranks[stem] = info.shape[0]
    known = {stem: form for stem, names in layers.items() if (form := _form(names))}
    return LoraFileFacts(
        path=path,
        bytes=path.stat().st_size,
        tensors=len(header.tensors),
        layers=len(known),
        form="+".join(sorted(set(known.values()))),
        ranks=dict(sorted(Counter(ranks[stem] for stem in known if stem in ranks).items())),
        dtypes=dict(Counter(info.dtype for info in header.tensors.values())),
        metadata=dict(header.metadata),
        unknown=tuple(unknown),
    )


def _form(names: set[str]) -> str:
    has_magnitudes = bool(names & {"lora_magnitude_vector", "dora_scale"})
    if "lora_A" in names:
        return "dora" if has_magnitudes else "lora"
    form = "loha" if "hada_w1_a" in names else "lokr" if any(name.startswith("lokr") for name in names) else ""
    return f"{form} with magnitudes" if form and has_magnitudes else form


def without_metadata(path: Path) -> bytes:
    """The file with no metadata but its format, every tensor byte for byte where it was.

    Raises `UsageError` for a file that is no safetensors file.
    """
    found, data = read_checked(path, MOST_LORA_BYTES)
    length = int.from_bytes(data[:8], "little")
    kept = {"__metadata__": {"format": "pt"}} if found.metadata.get("format") == "pt" else {}
    table = {
        name: {"dtype": info.dtype, "shape": info.shape, "data_offsets": [info.begin, info.end]}
        for name, info in found.tensors.items()
    }
    header = json.dumps({**kept, **table}, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
