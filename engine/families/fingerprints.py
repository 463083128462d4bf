"""SHA-256 of the parts of a base, remembered by file, so ten gigabytes are not read again at each start."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from loratui.engine.durable import remember
from loratui.engine.errors import UsageError
from loratui.engine.formats.base_keys import has_no_prefix
from loratui.engine.formats.base_parts import PartFile
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.untrusted import open_regular, read_json

FORMAT = 1
_KEPT = 500

BLOCK_BYTES = 64 << 20
"""What is read and hashed at once. Between blocks a thread waits for Python, which the import of a large library can hold for long."""

_VIEWS = 512
"""Places that the system fills in one call; POSIX allows 1024 on every system that loratui runs on."""


class Digests:
    """Digests of files and of parts of files. A known one is valid while path, size, time of change and inode stay."""

    def __init__(self, memory: Path | None = None) -> None:
        """`memory` is the file that keeps the digests; without one they are lost with this object."""
        self._memory = memory
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        """Held while a digest is being made: who asks for it meanwhile waits."""
        self._known: dict[str, str] = _read(memory) if memory else {}

    def of(self, part: PartFile) -> str:
        """What decides a part's output: its tensors, and its configuration or vocabulary where these are beside them."""
        digest = hashlib.sha256(repr((part.prefix, part.fp8, sorted(part.config_changes.items()))).encode())
        for path in _beside_weights(part):
            digest.update(f"{path.name} {self.of_weights(path, None)}\n".encode())
        for path, prefix in weights(part):
            digest.update(self.of_weights(path, prefix).encode())
        return digest.hexdigest()

    def of_weights(self, path: Path, prefix: str | None) -> str:
        """Of a whole file, or of its tensors behind `prefix`."""
        info = path.stat()
        key = hashlib.sha256(repr((str(path), info.st_size, info.st_mtime_ns, info.st_ino, prefix)).encode()).hexdigest()
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            if key not in self._known:
                self._keep(key, _of_file(path) if prefix is None else _of_tensors(path, prefix))
            return self._known[key]

    def _keep(self, key: str, digest: str) -> None:
        with self._lock:
            self._known[key] = digest
            newest = dict(list(self._known.items())[-_KEPT:])
            if self._memory and not remember(self._memory, {"format": FORMAT, "digests": newest}):
                self._memory = None


def weights(part: PartFile) -> list[tuple[Path, str | None]]:
    """The files of a part's weights, and which of their tensors are its own: those behind a prefix; None: all."""
    return [(path, None if part.in_folder else part.prefix) for path in sorted({path.resolve() for path in part.files})]


def _beside_weights(part: PartFile) -> list[Path]:
    """The configuration and vocabulary in a part's folder."""
    return (
        sorted(p for p in part.path.iterdir() if p.suffix in (".json", ".txt", ".model") and p.is_file())
        if part.in_folder
        else []
    )


def files_of(part: PartFile) -> list[Path]:
    """All files that decide a part's output, whole."""
    return [*_beside_weights(part), *sorted(set(part.files))]


def begin_to_read(memory: Path, parts: Iterable[PartFile]) -> None:
    """Has threads make the digests of these parts, for who asks the `shared` ones for them later. Reading gigabytes takes as long as
    loading torch, and each lets the other work. What cannot be read is reported to who asks."""

    digests = shared(memory)

    def digest(path: Path, prefix: str | None) -> None:
        with contextlib.suppress(OSError, UsageError):
            digests.of_weights(path, prefix)

    for part in parts:
        for path, prefix in weights(part):
            threading.Thread(target=digest, args=(path, prefix), name="digests", daemon=True).start()


@functools.cache
def shared(memory: Path) -> Digests:
    """The digests that this process keeps in the file `memory`."""
    return Digests(memory)


def _read(path: Path) -> dict[str, str]:
    try:
        stored = read_json(path)
        return {str(k): str(v) for k, v in stored["digests"].items()} if stored["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _of_file(path: Path) -> str:
    return _of_pieces(path, _blocks(0, path.stat().st_size))


def _of_tensors(path: Path, prefix: str) -> str:
    """Of the tensors of one part: names, formats, shapes and values, in the order of their names."""
    header = read_header(path)
    start = path.stat().st_size - max((info.end for info in header.tensors.values()), default=0)
    pieces: list[bytes | range] = []
    for key in sorted(header.tensors):
        if key.startswith(prefix) if prefix else has_no_prefix(key):
            info = header.tensors[key]
            pieces += [f"{key} {info.dtype} {info.shape}\n".encode(), *_blocks(start + info.begin, start + info.end)]
    return _of_pieces(path, pieces)


def _blocks(begin: int, end: int) -> list[range]:
    """A range of a file, as ranges of at most one block."""
    return [range(at, min(at + BLOCK_BYTES, end)) for at in range(begin, end, BLOCK_BYTES)]


def _of_pieces(path: Path, pieces: Sequence[bytes | range]) -> str:
    """Of texts and of ranges of a file, one after another. As many as lie side by side in the file are read and hashed at once."""
    digest, block = hashlib.sha256(), memoryview(bytearray(min(BLOCK_BYTES, sum(map(len, pieces)))))
    used, views, at = 0, list[memoryview](), 0
    with open_regular(path) as file:
        for piece in pieces:
            apart = isinstance(piece, range) and bool(views) and piece.start != at
            if apart or used + len(piece) > len(block):
                _fill(file.fileno(), views, path)
                digest.update(block[:used])
                used, views = 0, []
            place = block[used : used + len(piece)]
            used += len(piece)
            if isinstance(piece, bytes):
                place[:] = piece
                continue
            if not views:
                file.seek(piece.start)
            views.append(place)
            at = piece.stop
        _fill(file.fileno(), views, path)
        digest.update(block[:used])
    return digest.hexdigest()


def _fill(fd: int, views: list[memoryview], path: Path) -> None:
    """Reads into all these places, one after another."""
    while views:
        read = os.readv(fd, views[:_VIEWS])
        if not read:
            raise UsageError(f"{path}: the file became shorter while it was read.", "Download it again.")
        while views and read >= len(views[0]):
            read -= len(views.pop(0))
        if read:
            views[0] = views[0][read:]
