"""Checkpoints that hold nothing but their own sums, for runs whose trainer is simulated."""

from __future__ import annotations

import hashlib
from pathlib import Path

from loratui.engine.durable import building, write_json
from loratui.engine.runs.checkpoint_files import ADAPTER, FORMAT, MANIFEST, OPTIMIZER, STATE


def make_checkpoint(folder: Path) -> None:
    """A checkpoint's folder that passes every check of its files; nothing can be trained from it."""
    with building(folder) as temporary:
        rows = {}
        for name in (ADAPTER, OPTIMIZER, STATE):
            data = f"{folder.name} {name}".encode()
            (temporary / name).write_bytes(data)
            rows[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        write_json(temporary / MANIFEST, {"format": FORMAT, "files": rows})
