"""What runs of one dataset share: latents and text embeddings, in files that are named by what they were made of, and what was read and
measured of photos and base, in tables with such keys. Each has a checksum that is compared."""

from __future__ import annotations

import stat

from loratui.engine import durable, sealed
from loratui.engine.errors import LoratuiError
from loratui.engine.limits import LIST_FILE_BYTES
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


MEASURED = ("losses.json", "readings.json")
"""Tables of a validation whose keys say what each row was measured of."""


def share_measured(source: RunDirectory, run: RunDirectory) -> int:
    """Gives a validation that was never made what another one has measured of the photos and of the base; how many tables that were."""
    given = 0
    for name in MEASURED:
        if (run.validation / name).exists():
            continue
        try:
            table = sealed.read(source.validation / name, source.path, LIST_FILE_BYTES)
            durable.make_directory(run.validation)
            sealed.write(run.validation / name, table, run.path)
        except (LoratuiError, OSError):  # missing or damaged: it is measured again
            continue
        given += 1
    return given
