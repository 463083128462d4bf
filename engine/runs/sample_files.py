"""Whether a sample image is the one that was made: by the hash that its run's log keeps."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import decode
from loratui.engine.untrusted import open_regular, sha256_of
from loratui.engine.words import listed

_MOST_READ = 500
"""The newest; images from a long run would take minutes on a network volume."""


def differs(path: Path, sha256: str) -> bool:
    """Whether there is a file that cannot be read, or has another hash; of a version that kept none, never. A file that has not
    changed since is not read again."""
    try:
        found = path.lstat()
        return bool(sha256) and _sha256(path, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size) != sha256
    except FileNotFoundError:
        return False
    except OSError:
        return True


@lru_cache(maxsize=2 * _MOST_READ)
def _sha256(path: Path, *_as_it_was: int) -> str:
    return sha256_of(path)


def damaged_samples(run: RunDirectory) -> list[str]:
    """The samples that are not as they were made, in words; empty without any."""
    found = [relative for relative, sha256 in _told(run) if differs(run.path / relative, sha256)]
    return [f"{listed(found)} is damaged" if len(found) == 1 else f"{listed(found)} are damaged"] if found else []


def _told(run: RunDirectory) -> Iterable[tuple[str, str]]:
    hashes: dict[str, str] = {}
    try:
        with open_regular(run.events, follow=False) as raw:
            for line in io.BufferedReader(raw):
                if b'"sample_written"' in line and (event := decode(line)) and event.type == "sample_written":
                    hashes.pop(path := event.path("path"), None)
                    hashes[path] = event.text("sha256")
    except OSError:
        return ()
    return [(path, sha256) for path, sha256 in hashes.items() if path and sha256][-_MOST_READ:]
