"""What a disk may hold after the power failed: some of what was written but not synced, in any order, torn, zeroed or not at all.

The model is weaker than any file system, on purpose. Data are lasting once their file was synced, names once their folder was. Until then
every write may be there, missing, there in part or as zeros, and every change of a name may be there or not, whatever came after it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from os_seam import CREATE, FSYNC, LINK, MKDIR, RENAME, RMDIR, TRUNCATE, UNLINK, WRITE, Operation

Tree = dict[str, bytes | None]
"""Path -> content of a file; None for a folder."""


@dataclass(eq=False)
class File:
    """A file: what is lasting of it, and what was written since."""

    lasting: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    @property
    def now(self) -> bytes:
        """As processes see it."""
        return _applied(self.lasting, self.pending)

    def sync(self) -> None:
        self.lasting, self.pending = self.now, []


@dataclass(eq=False)
class Folder:
    """A folder: its lasting entries, and the changes since, each of which sets or takes away names."""

    lasting: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[Mapping[str, File | Folder | None]] = field(default_factory=list)

    @property
    def now(self) -> dict[str, File | Folder]:
        return _named(self.lasting, self.pending)

    def sync(self) -> None:
        self.lasting, self.pending = self.now, []


class Disk:
    """A disk on which operations are carried out, and what it may hold if the power fails after them."""

    def __init__(self, root: Path) -> None:
        """Everything below `root` is lasting."""
        self._root = _read(root)

    def carry_out(self, operation: Operation) -> None:
        place, _, name = operation.path.rpartition("/")
        if operation.kind in (WRITE, TRUNCATE):
            file = self._at(operation.path)
            if isinstance(file, File):  # else its name is gone, as that of an open lock may be
                file.pending.append(operation)
        elif operation.kind == FSYNC:
            if (found := self._at(operation.path)) is not None:
                found.sync()
        elif operation.kind in (CREATE, MKDIR):
            self._folder(place).pending.append({name: File() if operation.kind == CREATE else Folder()})
        elif operation.kind in (UNLINK, RMDIR):
            self._folder(place).pending.append({name: None})
        else:
            former, _, old = operation.source.rpartition("/")
            moved = self._folder(former).now[old]
            gone: dict[str, File | Folder | None] = {old: None} if operation.kind == RENAME else {}
            if former == place:
                self._folder(place).pending.append({**gone, name: moved})
            else:
                self._folder(former).pending.append(gone)
                self._folder(place).pending.append({name: moved})
            assert operation.kind in (RENAME, LINK)

    def now(self, path: str) -> bytes:
        """A file as processes see it; empty where there is none."""
        found = self._at(path)
        return found.now if isinstance(found, File) else b""

    def after_power_loss(self, dice: random.Random) -> Tree:
        """One of the states that the disk may have."""
        tree: Tree = {}
        self._settle(self._root, "", tree, dice, dice.choice((0.0, 0.2, 0.5, 0.8, 1.0)), dice.choice((0.0, 0.0, 0.3, 1.0)))
        return tree

    def _settle(self, folder: Folder, at: str, tree: Tree, dice: random.Random, kept: float, torn: float) -> None:
        entries = _named(folder.lasting, [change for change in folder.pending if dice.random() < kept])
        for name, found in entries.items():
            path = f"{at}{name}"
            if isinstance(found, Folder):
                tree[path] = None
                self._settle(found, f"{path}/", tree, dice, kept, torn)
            elif found.pending:
                there = (_harmed(write, dice, torn) for write in found.pending if dice.random() < kept)
                tree[path] = _applied(found.lasting, there)
            else:
                tree[path] = found.lasting

    def _at(self, path: str) -> File | Folder | None:
        found: File | Folder | None = self._root
        for name in filter(None, path.split("/")):
            found = found.now.get(name) if isinstance(found, Folder) else None
        return found

    def _folder(self, path: str) -> Folder:
        found = self._at(path)
        assert isinstance(found, Folder), path
        return found


class Materialised:
    """A folder on a fast disk that holds one state after another; only what differs is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._there: Tree = {}

    def anew(self) -> Materialised:
        """The same place, empty, after others wrote there."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        return Materialised(self.root)

    def hold(self, tree: Tree) -> None:
        for path in sorted(self._there.keys() - tree.keys(), reverse=True):
            place = self.root / path
            if self._there[path] is None:
                place.rmdir()
            else:
                place.unlink()
            del self._there[path]
        for path, data in sorted(tree.items()):
            if path in self._there and (self._there[path] is data or self._there[path] == data):
                continue
            if data is None:
                (self.root / path).mkdir(exist_ok=True)
            else:
                (self.root / path).write_bytes(data)
            self._there[path] = data


def _harmed(write: Operation, dice: random.Random, torn: float) -> Operation:
    if dice.random() >= torn or write.kind != WRITE:
        return write
    whole = write.data
    cut = dice.randrange(len(whole) + 1)
    # A page that was never written is read as zeros, before what was or after it.
    data = dice.choice((whole[:cut], whole[:cut] + bytes(len(whole) - cut), bytes(cut) + whole[cut:]))
    return Operation(WRITE, write.path, data=data, at=write.at)


def _applied(data: bytes, writes: Iterator[Operation] | list[Operation]) -> bytes:
    made = bytearray(data)
    for write in writes:
        if write.kind == TRUNCATE:
            made = made[: write.at].ljust(write.at, b"\0")
        else:
            made.extend(bytes(max(0, write.at - len(made))))
            made[write.at : write.at + len(write.data)] = write.data
    return bytes(made)


def _named(entries: Mapping[str, File | Folder], changes: list[Mapping[str, File | Folder | None]]) -> dict[str, File | Folder]:
    made: dict[str, File | Folder | None] = dict(entries)
    for change in changes:
        made.update(change)
    return {name: found for name, found in made.items() if found is not None}


def _read(path: Path) -> Folder:
    return Folder({each.name: _read(each) if each.is_dir() else File(each.read_bytes()) for each in path.iterdir()})
