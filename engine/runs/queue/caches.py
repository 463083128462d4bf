"""Latents and text embeddings that runs share: files are named by what they were made of, and have a checksum that is compared."""

from __future__ import annotations

import stat

from loratui.engine import durable
from loratui.engine.errors import LoratuiError
from loratui.engine.runs import contents
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.words import are


def share_cache(source: RunDirectory, run: RunDirectory) -> int:
    """Gives a run what another one has encoded, and returns how many files that were. They take no room where the volume knows hard
    links, and each run may be deleted. Whatever is missing is made again, so nothing is raised."""
    given = 0
    try:
        contents.require_sound(source.path)
        durable.make_directory(run.cache)
        for path in sorted(source.cache.glob("*.safetensors")):
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            try:
                durable.keep_as(path, run.cache / path.name)
            except FileExistsError:
                continue
            given += 1
    except (LoratuiError, OSError) as error:
        print(f"Of the cache of {source.name}, {are(given, 'file')} taken over: {error}", flush=True)
    return given
