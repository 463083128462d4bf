"""The header of a safetensors file, read and checked without loading a tensor."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.errors import UsageError

MAX_HEADER_BYTES = 16 * 1024 * 1024
BYTES_PER_VALUE = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the end of the header."""
    end: int


@dataclass(frozen=True)
class Header:
    """Tensors by name, and the file's own metadata."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file; its offsets must tile the file exactly.

    Raises `UsageError` if the file is something else, damaged, or has a header of more than 16 MiB.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise UsageError(f"{path}: too short to be a safetensors file.")
        (length,) = struct.unpack("<Q", start)
        if length > MAX_HEADER_BYTES or length > size - 8:
            raise UsageError(f"{path}: not a safetensors file.", _hint(start))
        raw = file.read(length)
    try:
        table = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise UsageError(f"{path}: not a safetensors file: its header cannot be read.") from None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: not a safetensors file: its header is no table.")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise UsageError(f"{path}: its metadata are not all text.")
    tensors = {name: _tensor(path, name, entry) for name, entry in table.items()}
    _check_tiling(path, tensors, size - 8 - length)
    return Header(tensors, metadata)


def _tensor(path: Path, name: str, entry: Any) -> TensorInfo:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{path}: the header's entry for {name!r} is damaged.") from None
    if dtype not in BYTES_PER_VALUE or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise UsageError(f"{path}: the header's entry for {name!r} is damaged.")
    values = 1
    for n in shape:
        values *= n
    if end - begin != values * BYTES_PER_VALUE[dtype]:
        raise UsageError(f"{path}: {name!r} has another length than its shape asks for.")
    return TensorInfo(dtype, shape, begin, end)


def _check_tiling(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    at = 0
    for info in sorted(tensors.values(), key=lambda t: (t.begin, t.end)):
        if info.begin != at:
            raise UsageError(f"{path}: its tensors overlap or leave gaps.")
        at = info.end
    if at != data_bytes:
        raise UsageError(f"{path}: the file is {'too short' if at > data_bytes else 'too long'}; it may be a broken download.")


def _hint(start: bytes) -> str:
    if start.startswith(b"PK"):
        return (
            "It looks like a .ckpt or .pt file, which can run code when it is opened; look for the same model as .safetensors."
        )
    if start.startswith(b"\x80"):
        return "It looks like a pickle file, which can run code when it is opened; look for the same model as .safetensors."
    if start.startswith(b"GGUF"):
        return "It is a GGUF file; those are for generating only."
    if start[:1] in (b"<", b"{") and start[1:2].isalpha():
        return "It looks like a web page; the download may have asked for a login."
    return ""
