"""Whether a LoRA file is the one that was saved: by the hashes in its run's log, else by the one in its metadata."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path

from loratui.engine.durable import MARKER
from loratui.engine.errors import UsageError
from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, Header, read_checked
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, decode
from loratui.engine.untrusted import Unreadable, open_regular

_REMEDY = "Export a step that has a checkpoint (loratui export RUN --step N), or use another file."


def hashes_of(header: Header, data: bytes) -> dict[str, str]:
    """What the event `output_written` keeps: the hash of the file, and of its tensors alone, which stays when metadata are removed."""
    tensors, start = hashlib.sha256(), 8 + int.from_bytes(data[:8], "little")
    for name, info in sorted(header.tensors.items()):
        tensors.update(f"{name} {info.dtype} {info.shape}\n".encode())
        tensors.update(memoryview(data)[start + info.begin : start + info.end])
    return {"sha256": hashlib.sha256(data).hexdigest(), "tensors_sha256": tensors.hexdigest()}


def difference(path: Path) -> str:
    """How a LoRA file differs from what its hashes say, as a sentence; empty where it does not, or where nothing says.

    Raises `UsageError` for a file that is missing or no safetensors file.
    """
    header, data = read_checked(path, MOST_LORA_BYTES)
    saved = _saved(path)
    if saved is not None:
        now = hashes_of(header, data)
        stripped = header.metadata.keys() <= {"format"} and now["tensors_sha256"] == saved.text("tensors_sha256")
        if stripped or now["sha256"] == saved.text("sha256"):
            return ""
        return "It is not the file that its run saved: its hash differs."
    told = header.metadata.get("modelspec.hash_sha256", "").removeprefix("0x") or header.metadata.get("sshs_model_hash", "")
    if told and told != hashlib.sha256(memoryview(data)[8 + int.from_bytes(data[:8], "little") :]).hexdigest():
        return "Its tensors do not have the hash that its metadata name: it is damaged, or another program changed it."
    return ""


def is_as_saved(path: Path) -> bool:
    """Whether a LoRA file can be read and does not differ from its hashes."""
    try:
        return not difference(path)
    except UsageError:
        return False


def is_still_as_saved(path: Path) -> bool:
    """As `is_as_saved`, for whoever asks again and again: read only when its times, its inode or its size differ."""
    found = path.lstat()
    return _is_as_saved(path, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=64)
def _is_as_saved(path: Path, *_as_it_was: int) -> bool:
    return is_as_saved(path)


def require_as_saved(path: Path) -> None:
    """Raises `UsageError` for a LoRA file that differs from its hashes, or that cannot be read."""
    if found := difference(path):
        raise UsageError(f"{path}: {found}", _REMEDY)


def _saved(path: Path) -> Event | None:
    """The last event about a file in the output folder of a run; None for other files, and of versions that kept no hash."""
    run = RunDirectory(path.absolute().parent.parent)
    if path.absolute().parent != run.output or not (run.path / MARKER).is_file():
        return None
    found = None
    try:
        with open_regular(run.events, follow=False) as raw:
            for line in io.BufferedReader(raw):
                if b'"output_written"' in line and (event := decode(line)) is not None:
                    about = event.type == "output_written" and event.path("path") == f"output/{path.name}"
                    found = event if about else found
    except Unreadable:
        return None
    return found if found is not None and found.text("sha256") else None
