"""The header of a safetensors file, read and checked without loading a tensor."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from loratui.engine import words
from loratui.engine.errors import UsageError
from loratui.engine.untrusted import open_regular, parse_json, read_json, read_small, read_whole
from loratui.engine.words import count, number

MAX_HEADER_BYTES = 16 * 1024 * 1024
MOST_TENSORS = 65_536
"""In a model, all its files together; the largest of the three families has about 3000."""
MOST_LORA_BYTES = 1 << 34
"""Of a file that is read whole; a LoRA of rank 512 on every layer of FLUX has less."""
MOST_SHARDS = 1000
MOST_DIMENSIONS = 8
_LARGEST = 1 << 47
"""Bytes, values and sizes: more than any disk holds, and far from what 64 bits overflow at."""
_DEPTH = 3
"""Levels of a header: the table, a tensor, its shape."""

BYTES_PER_VALUE = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_AGAIN = "Download it again."
SMALLER_FORMATS = frozenset({"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0"})
"""Number formats of the standard that only quantised models use."""


ENDINGS = (".safetensors", ".sft")
"""What such files are called as a rule, in lower case."""
_SMALLEST = 1_000_000
"""Bytes of a file that is looked into although it is called otherwise; no base, VAE or text encoder is smaller."""
_OTHERS = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".webp", ".heic", ".gif", ".bmp", ".tif", ".tiff", ".mp4", ".mov", ".mkv", ".webm", ".mp3", ".wav",
        ".zip", ".gz", ".xz", ".zst", ".tar", ".whl", ".so", ".py", ".pyc", ".txt", ".json", ".jsonl", ".csv", ".log", ".parquet",
        ".pdf", ".db", ".sqlite", ".npy", ".npz", ".gguf", ".onnx",
    }
)  # fmt: skip
"""Ends of names of files that are certainly no weights in this format."""


def may_hold_tensors(path: Path, size: int | None = None) -> bool:
    """Whether a file is worth a look at its header: by its name, else by its first bytes, for people rename files."""
    if path.name.lower().endswith(ENDINGS):
        return True
    if path.suffix.lower() in _OTHERS:
        return False
    try:
        known = path.stat().st_size if size is None else size
        start = read_small(path, 9) if known >= _SMALLEST else b""
    except OSError:
        return False
    return len(start) == 9 and start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES


class NotSafetensors(UsageError):
    """A file of some other kind, by its first bytes."""


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


@dataclass(frozen=True)
class Tables:
    """What one or several files of one model hold together."""

    path: Path
    """The file, or the index that lists several."""
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    files: tuple[Path, ...]


def read_tables(path: Path) -> Tables:
    """The header of a .safetensors file, or those of all shards that an `.index.json` lists.

    Raises `UsageError` as `read_header` does, and names shards that are missing.
    """
    if path.suffix != ".json":
        header = read_header(path)
        return Tables(path, header.tensors, header.metadata, (path,))
    names = shards_of(path)
    if not names:
        raise UsageError(f"{path}: this index names no files beside it.")
    files = tuple(path.parent / name for name in names)
    gone = [file.name for file in files if not file.is_file()]
    if gone:
        raise UsageError(
            f"{path}: {len(gone)} of its {count(len(files), 'file')} {'is' if len(gone) == 1 else 'are'} missing ({', '.join(gone[:3])}).",
            "Download the model again; what is there already is kept.",
        )
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for file in files:
        header = read_header(file)
        tensors.update(header.tensors)
        metadata.update(header.metadata)
        if len(tensors) > MOST_TENSORS:
            raise UsageError(f"{path}: its files hold more than {number(MOST_TENSORS)} tensors, which no model has.")
    return Tables(path, tensors, metadata, files)


def shards_of(index: Path) -> tuple[str, ...]:
    """The names of the files beside an index that it lists, sorted; none where it lists any elsewhere.

    Raises `UsageError` for a file that is no index.
    """
    try:
        listed = read_json(index, MAX_HEADER_BYTES)["weight_map"]
        names = sorted(set(listed.values()))
        inside = all(isinstance(n, str) and n and not set(n) & {"/", "\\", "\0"} for n in names)
    except (OSError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{index}: this is no index of a model in several files.") from None
    if len(names) > MOST_SHARDS:
        raise UsageError(f"{index}: it lists {count(len(names), 'file')}, and no model has more than {number(MOST_SHARDS)}.")
    return tuple(names) if inside else ()


def read_header(path: Path) -> Header:
    """The header of a safetensors file; its offsets must tile the file exactly.

    Raises `UsageError` if the file cannot be read, is damaged or cut off, and its `NotSafetensors` if it is something
    else or has a header of more than 16 MiB.
    """
    return _parsed(path, *_read_raw(path))


def read_metadata(path: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file. Where they come first, the table of tensors is not parsed: that takes 10 ms a file.

    Raises `UsageError` as `read_header` does, but not for a table that is damaged.
    """
    raw, data_bytes = _read_raw(path)
    first = _METADATA_FIRST.match(raw)
    return _parsed(path, raw, data_bytes).metadata if first is None else _metadata(path, _table(path, first[1]))


def read_checked(path: Path, most: int) -> tuple[Header, bytes]:
    """The header of a safetensors file as `read_header`, and the whole file, so that both are of the same bytes.

    Raises `UsageError`, also for a file of more than `most` bytes. Nothing of it has been given to another library yet.
    """
    read_header(path)  # says in words what is wrong with it, before all of it is read
    try:
        data = read_whole(path, most)
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: it {error.strerror}.", "Check the path.") from None
    length = int.from_bytes(data[:8], "little")
    return _parsed(path, data[8 : 8 + length], len(data) - 8 - length), data


def _read_raw(path: Path) -> tuple[bytes, int]:
    """The header as it stands in the file, and how many bytes follow it."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            raw = _raw_header(path, file, size)
            return raw, size - 8 - len(raw)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UsageError(f"{path}: it is no file.", "Check the path.") from None
        raise UsageError(
            f"{path}: it cannot be read: {error.strerror or error}.", "Check the path and its permissions."
        ) from None


_METADATA_FIRST = re.compile(rb'\{"__metadata__":(\{(?:"(?:[^"\\]|\\.)*"[:,]?)*\})[,}]', re.DOTALL)
"""The beginning of a header as the safetensors library writes it."""


def _table(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        table = parse_json(raw, depth=_DEPTH, unique=True)
        if b"\\u" in raw:  # half a letter, which no name can be written with
            json.dumps(table, ensure_ascii=False).encode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "holds half a letter"
        raise UsageError(f"{path}: not a safetensors file: its header cannot be read: it {reason}.") from None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: not a safetensors file: its header is no table.")
    return table


def _metadata(path: Path, found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise UsageError(f"{path}: its metadata are not all text.")
    return found


def _parsed(path: Path, raw: bytes, data_bytes: int) -> Header:
    table = _table(path, raw)
    metadata = _metadata(path, table.pop("__metadata__", {}))
    if len(table) > MOST_TENSORS:
        raise UsageError(f"{path}: it holds {count(len(table), 'tensor')}, and no model has more than {number(MOST_TENSORS)}.")
    tensors = {name: _tensor(path, name, entry) for name, entry in table.items()}
    _check_tiling(path, tensors, data_bytes)
    return Header(tensors, metadata)


def _raw_header(path: Path, file: FileIO, size: int) -> bytes:
    start = file.read(512)
    if not start:
        raise UsageError(f"{path}: the file is empty.", "Get it again.")
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if MAX_HEADER_BYTES < length <= size - 8 and start[8:9] == b"{":
        most = words.size(MAX_HEADER_BYTES)
        raise NotSafetensors(
            f"{path}: it begins with a header of {words.size(length)}, more than is read here ({most}).",
            "If it is a LoRA, save it again without its metadata in the program that made it.",
        )
    if not 2 <= length <= MAX_HEADER_BYTES or start[8:9] != b"{":
        raise NotSafetensors(f"{path}: not a safetensors file.", _hint(start))
    if length > size - 8:
        raise UsageError(f"{path}: the file is cut off within its header, after {count(size, 'byte')}.", _AGAIN)
    raw = start[8 : 8 + length]
    while len(raw) < length and (part := file.read(length - len(raw))):
        raw += part
    return raw


def _tensor(path: Path, name: str, entry: Any) -> TensorInfo:
    damaged = UsageError(f"{path}: the header's entry for {shown(name)} is damaged.")
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise damaged from None
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise damaged
    if dtype in SMALLER_FORMATS:
        message = f"{path}: its weights are stored as {dtype}, a quantised format for generating only."
        raise UsageError(message, "Choose the same model with fp16, bf16 or fp8 weights.")
    if dtype not in BYTES_PER_VALUE:
        message = f"{path}: {shown(name)} is stored as {shown(dtype)}, a number format that is not known here."
        raise UsageError(message, "Choose the same model with fp16, bf16 or fp8 weights.")
    whole = all(type(n) is int and 0 <= n <= _LARGEST for n in (*shape, begin, end))
    # Of the others too where one is zero: readers multiply them all.
    values = math.prod(n or 1 for n in shape) if whole else 0
    if not 0 < values <= _LARGEST:
        raise damaged
    if end - begin != (0 if 0 in shape else values * BYTES_PER_VALUE[dtype]):
        raise UsageError(f"{path}: {shown(name)} has another length than its shape asks for.")
    return TensorInfo(dtype, tuple(shape), begin, end)


def shown(name: str) -> str:
    """A name out of a file, in quotes and cut to what fits into a sentence."""
    return repr(name if len(name) <= 80 else f"{name[:79]}…")


def _check_tiling(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    at = 0
    for info in sorted(tensors.values(), key=lambda info: (info.begin, info.end)):
        if info.begin != at:
            raise UsageError(f"{path}: its tensors overlap or leave gaps.")
        at = info.end
    if at > data_bytes:
        raise UsageError(f"{path}: the file is cut off: {words.size(at - data_bytes)} of {words.size(at)} are missing.", _AGAIN)
    if at < data_bytes:
        raise UsageError(f"{path}: the file is {words.size(data_bytes - at)} too long; it may be a broken download.", _AGAIN)


def _hint(start: bytes) -> str:
    """What the first bytes of a file that is no safetensors file say; empty where they look like one."""
    if start.startswith(b"PK"):
        return (
            "It looks like a .ckpt or .pt file, which can run code when it is opened; look for the same model as .safetensors."
        )
    if start.startswith(b"\x80"):
        return "It looks like a pickle file, which can run code when it is opened; look for the same model as .safetensors."
    if start.startswith(b"GGUF"):
        return "It is a GGUF file; those are for generating only."
    if start.startswith(b"version https://git-lfs"):
        return "It is only the pointer that git keeps for a large file; fetch the file itself with git lfs pull."
    if start.lstrip(b"\xef\xbb\xbf \r\n\t")[:2].lower() in (b"<!", b"<h", b"<?") or start[:2] == b'{"':
        return "It is a web page or a server's answer; the download may have asked for a login."
    return ""
