"""Files as failing disks and people leave them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path


def harms(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    """A file as disks and people leave it; None is a folder in its place."""
    chance = random.Random(16)
    header = 8 + int.from_bytes(data[:8], "little")
    for at in (*chance.sample(range(header), 12), *chance.sample(range(header, len(data)), 12)):
        yield f"bit {at}", data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    yield "zeroed tail", data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    for kept in (0, 4, header, len(data) - 1):
        yield f"cut at {kept}", data[:kept]
    yield "longer", data + b"\0"
    yield "a folder", None


def harm(file: Path, data: bytes | None) -> None:
    if data is None:
        file.unlink()
        file.mkdir()
        (file / "something").touch()
    else:
        file.write_bytes(data)
