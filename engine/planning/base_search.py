"""Looks through folders for model files: a bounded walk that reads headers and remembers them by size and time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loratui.engine import durable, families, formats
from loratui.engine.errors import LoratuiError
from loratui.engine.families.network import Network, Sizes
from loratui.engine.formats.base_files import files_read, identify, identify_tables, read_file
from loratui.engine.formats.base_keys import FoundPart, find_parts
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused
from loratui.engine.formats.safetensors_file import may_hold_tensors
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.untrusted import read_json, read_small
from loratui.presets import SHIPPED

DEPTH = 7
"""Levels below a root that are looked at."""
MOST_ENTRIES = 200_000
"""Files and folders that one walk looks at,"""
MOST_SECONDS = 20.0
"""and how long it takes at most; a walk that was cut says so."""

SMALLEST_PICKLE = 100_000_000
"""Smaller .ckpt, .pt and .gguf files are no base models and are passed over."""

_LONGEST = 1000
"""Letters of a reason."""

_PASSED_OVER = frozenset(
    {
        "node_modules", "site-packages", "dist-packages", "__pycache__", "proc", "sys", "dev", "venv", "env", "conda",
        "miniconda3", "anaconda3", "outputs", "output", "datasets", "runs", "snap", "lost+found", "blobs",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """One part inside a file, as far as choosing among files needs it."""

    kind: str
    """Name of its network."""
    sizes: Sizes
    dtype: str
    fp8: str

    @classmethod
    def of(cls, part: FoundPart) -> Held:
        """What is to be remembered of a part."""
        return cls(part.network.name, part.sizes, part.dtype, part.fp8)

    @property
    def network(self) -> Network:
        """Raises `KeyError` for a kind that is not known any more."""
        for network in families.networks():
            if network.name == self.kind:
                return network
        raise KeyError(self.kind)


@dataclass(frozen=True)
class Seen:
    """What a file or folder turned out to be."""

    path: str
    family: str = ""
    """Of a base model; empty for all else."""
    layout: str = ""
    title: str = ""
    prediction: str | None = None
    bytes: int = 0
    missing: tuple[str, ...] = ()
    """Parts, by their names, that a base does not bring along."""
    held: tuple[Held, ...] = ()
    code: str = ""
    """Why it is no base that can be used; empty for one that can."""
    problem: str = ""
    remedy: str = ""


@dataclass
class Walk:
    """What a walk found. `cut` says that a limit ended it early."""

    seen: list[Seen] = field(default_factory=list)
    tokenizers: list[Path] = field(default_factory=list)
    """Folders with a `tokenizer.json`."""
    cut: bool = False


def usual_roots(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Where people keep models on a rented box: the volume, the home folder, and where images put ComfyUI and its like."""
    env = os.environ if environ is None else environ
    named = [env.get(name, "") for name in ("COMFYUI_PATH", "COMFYUI_MODEL_PATH", "INVOKEAI_ROOT")]
    home = env.get("HOME", "")
    fixed = ["/workspace", "/runpod-volume", "/notebooks", "/ComfyUI", "/comfyui", "/opt/ComfyUI", "/stable-diffusion-webui",
             "/opt/stable-diffusion-webui", "/models", "/data/models", "/mnt/models", "/kaggle/input"]  # fmt: skip
    # Colab's folder comes last: a Drive may be mounted in it, which is slow to walk.
    return tuple(dict.fromkeys(Path(place) for place in [*named, *fixed, home, "/content"] if place))


def walk(roots: Sequence[Path], *, depth: int = DEPTH, memory: Memory | None = None) -> Walk:
    """Every model file and diffusers folder below `roots`, each once, in a stable order; links are followed once.

    A root may also be a file.
    """
    found, budget = Walk(), _Budget(MOST_ENTRIES, time.monotonic() + MOST_SECONDS)
    remembered = memory if memory is not None else Memory({})
    visited: set[tuple[int, int]] = set()
    for root in roots:
        if root.is_file():
            found.seen.append(remembered.look(root))
        _walk(root, depth, found, budget, remembered, visited)
    found.cut = budget.spent
    return found


@dataclass
class _Budget:
    entries: int
    until: float
    spent: bool = False

    def take(self, count: int) -> bool:
        """Whether the walk may go on after so many entries more."""
        self.entries -= count
        self.spent = self.spent or self.entries < 0 or time.monotonic() > self.until
        return not self.spent


def _walk(folder: Path, depth: int, found: Walk, budget: _Budget, memory: Memory, visited: set[tuple[int, int]]) -> None:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return  # gone, or not ours to read
    if not budget.take(len(entries) + 1):
        return
    names = {entry.name for entry in entries}
    if "tokenizer.json" in names:
        found.tokenizers.append(folder)
    if "model_index.json" in names:
        found.seen.append(memory.look(folder))
        names = {part.name for spec in families.FAMILIES for part in spec.parts if part.role == "tokenizer"}
        found.tokenizers += [folder / n for n in sorted(names) if (folder / n / "tokenizer.json").is_file()]
        return
    for entry in entries:
        if not budget.take(0):
            return
        if _is_folder(entry):
            if depth > 0 and not entry.name.startswith(".") and entry.name not in _PASSED_OVER:
                _walk(Path(entry.path), depth - 1, found, budget, memory, visited)
        elif _worth_a_look(entry):
            found.seen.append(memory.look(Path(entry.path)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _worth_a_look(entry: os.DirEntry[str]) -> bool:
    """By its name or else its content; small pickles are something else."""
    try:
        size = entry.stat().st_size
    except OSError:
        return False
    if entry.name.lower().endswith((".ckpt", ".gguf")) and size >= SMALLEST_PICKLE:
        return True  # told why it cannot be used
    return may_hold_tensors(Path(entry.path), size)


@functools.cache
def judged_by() -> str:
    """A digest of the code and configurations that judge what a file is: what other ones judged is looked at again."""
    digest = hashlib.sha256()
    rooms = [Path(room.__path__[0]) for room in (formats, families)]
    sources = [path for room in rooms for kind in ("*.py", "config.json") for path in room.rglob(kind)]
    for path in sorted([*sources, *(SHIPPED / "bases").glob("*/*/config.json"), Path(__file__)]):
        digest.update(read_small(path, LIST_FILE_BYTES))
    return digest.hexdigest()


class Memory:
    """What files turned out to be, by path, size and times of change, kept in a file between walks."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = dict(table)
        self._used: dict[str, Any] = {}

    @classmethod
    def load(cls, file: Path) -> Memory:
        """The memory in a file; an empty one where it cannot be read."""
        try:
            table = read_json(file, LIST_FILE_BYTES)
            good = isinstance(table, dict) and table.get("judged_by") == judged_by() and isinstance(table.get("seen"), dict)
            return cls(table["seen"] if good else {})
        except (OSError, ValueError):
            return cls({})

    def save(self, file: Path) -> None:
        """Keeps what was used; a disk that refuses costs only time."""
        kept = {path: value for path, value in self._table.items() if Path(path).exists()}
        durable.remember(file, {"judged_by": judged_by(), "seen": {**kept, **self._used}})

    def look(self, path: Path) -> Seen:
        """What `path` is, from the memory where it has not changed."""
        stamp = _stamp(path)
        known = self._table.get(str(path))
        if isinstance(known, dict) and known.get("stamp") == stamp:
            with contextlib.suppress(KeyError, TypeError):
                return self._keep(path, stamp, _from_json(known["is"]))
        return self._keep(path, stamp, look_at(path))

    def _keep(self, path: Path, stamp: list[int], seen: Seen) -> Seen:
        if seen.code == "base_unreadable":  # the reason may pass without a trace on the file
            self._table.pop(str(path), None)
            return seen
        self._used[str(path)] = {"stamp": stamp, "is": asdict(seen)}
        return seen


def _stamp(path: Path) -> list[int]:
    """Size and times of change; for a folder those of all files in it and in its folders, for a shard those of its sisters.

    The time of the inode's change counts too: copying tools set the other one as they like.
    """
    size, changed, inode_changed = 0, 0, 0
    with contextlib.suppress(OSError, ValueError, RecursionError):
        for file in files_read(path) if not path.is_dir() else (*path.glob("*.json"), *path.glob("*/*")):
            size += 1
            with contextlib.suppress(OSError):
                status = file.stat()
                size, changed = size + status.st_size, max(changed, status.st_mtime_ns)
                inode_changed = max(inode_changed, status.st_ctime_ns)
    return [size, changed, inode_changed]


def _from_json(value: Mapping[str, Any]) -> Seen:
    """What was kept. Raises `KeyError` or `TypeError` for what this version did not keep."""
    held = tuple(Held(**one) for one in value["held"])
    seen = Seen(**{**value, "held": held, "missing": tuple(value["missing"])})
    texts = (seen.path, seen.family, seen.layout, seen.title, seen.code, seen.problem, seen.remedy, *seen.missing)
    texts += tuple(text for one in held for text in (one.network.name, one.dtype, one.fp8))
    sizes = (seen.bytes, *(size for one in held for size in one.sizes.values()))
    if not all(isinstance(text, str) for text in texts) or not all(type(size) is int for size in sizes):
        raise TypeError("another kind of value")
    return seen


def look_at(path: Path) -> Seen:
    """Reads the headers of a file or folder."""
    held: tuple[Held, ...] = ()
    try:
        if path.is_dir():
            return _summary(identify(path), held)
        tables = read_file(path)
        held = tuple(map(Held.of, find_parts(tables.tensors)))
        return _summary(identify_tables(tables), held)
    except BaseRefused as error:
        return Seen(str(path), held=held, code=error.code, problem=error.message, remedy=error.remedy, bytes=_bytes(path))
    except (LoratuiError, OSError) as error:
        return Seen(str(path), code="base_unreadable", problem=str(error), bytes=_bytes(path))
    except Exception as error:  # whatever one file does, the others are listed
        problem = f"{path}: it cannot be read: {type(error).__name__}: {error}"
        return Seen(str(path), code="base_unreadable", problem=problem[:_LONGEST], bytes=_bytes(path))


def _summary(base: BaseFiles, held: tuple[Held, ...]) -> Seen:
    missing = tuple(m.part for m in base.missing)
    return Seen(str(base.path), base.family, base.layout, base.title, base.prediction, base.bytes, missing, held)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
