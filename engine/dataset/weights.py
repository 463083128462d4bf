"""Weights of small models that come by the hub: found on this machine, proven by their sum, and downloaded after a yes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.errors import LoratuiError
from loratui.engine.untrusted import open_regular

Download = Callable[[str, str], Path]
"""(repository, file name) -> the file on this machine; raises `LoratuiError` or `OSError`."""


@dataclass(frozen=True)
class Weights:
    """A file on the hub."""

    what: str
    """What it is, at the beginning of a sentence."""
    repository: str
    file: str
    sha256: str
    bytes: int
    licence: str
    revision: str = ""
    """The commit on the hub that has this file; empty: its newest."""
    name: str = ""
    """Its name below the home's `models`, where that on the hub says nothing."""

    def find(self, home: Path) -> Path | None:
        """The file below `home`, else in the cache of the hub; None where it is not, or not as it was published."""
        places = (home / "models" / self._here, *in_hub_cache(self.repository, self.file, self.revision))
        return next(filter(self._is_whole, places), None)

    def fetch(self, home: Path, download: Download | None = None) -> Path:
        """The file, downloaded from the hub unless it is here. Raises `LoratuiError` if that fails or brings something else."""
        found = self.find(home)
        if found is not None:
            return found
        named = f", as {self.name}" if self.name else ""
        by_hand = f"Put {self.file} of huggingface.co/{self.repository} into {home / 'models'}{named}."
        try:
            path = download(self.repository, self.file) if download else from_hub(self.repository, self.file, self.revision)
        except LoratuiError:
            raise
        except Exception as error:  # the hub's client throws its own, its transport's and the system's errors
            raise LoratuiError(f"{self.what} could not be downloaded: {error}.", by_hand) from error
        if not self._is_whole(path):
            raise LoratuiError(f"{path}: these are not the weights that loratui knows: {self.what.lower()}.", by_hand)
        return path

    @property
    def _here(self) -> str:
        return self.name or self.file

    def _is_whole(self, path: Path) -> bool:
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size > self.bytes:
                    return False
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


def in_hub_cache(repository: str, name: str, revision: str = "") -> tuple[Path, ...]:
    """The file in the cache of the hub, if it is there."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return ()
    found: Any = try_to_load_from_cache(repository, name, revision=revision or None)
    return (Path(found),) if isinstance(found, str) else ()


def from_hub(repository: str, name: str, revision: str = "") -> Path:
    """Downloads a file into the cache of the hub."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name, revision=revision or None))
