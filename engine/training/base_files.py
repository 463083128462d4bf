"""The files of a run's base by their sums: a run goes on only with the base that it began with, unless the person accepts another."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Mapping

from loratui.engine.errors import UsageError
from loratui.engine.families import fingerprints
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.planning.bases import find_base
from loratui.engine.training.setup import Job

KEY = "base_files"
"""Name of the sums in a checkpoint's identity; checkpoints of older versions have none."""

_PATIENCE_S = 1.0
_SHOWN = 12
"""Digits of a sum that a person is shown."""


class BaseSums:
    """The sums of a base's files, made in a thread of their own: a large base takes seconds the first time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._found: concurrent.futures.Future[dict[str, str]] = concurrent.futures.Future()
        # A daemon: a process that must end does not wait for it.
        threading.Thread(target=self._find, name="sums of the base", daemon=True).start()

    def _find(self) -> None:
        try:
            base = find_base(self._job.settings.base)
            self._found.set_result(sums_of(base, fingerprints.shared(self._job.run.fingerprints)))
        except Exception as error:  # for the thread that asks
            self._found.set_exception(error)

    def known(self) -> dict[str, dict[str, str]]:
        """What a checkpoint keeps of them: nothing while they are being made, since a checkpoint does not wait."""
        done, _ = concurrent.futures.wait([self._found], _PATIENCE_S)
        return {KEY: self._found.result()} if done and self._found.exception() is None else {}

    def changed_since(self, stored: Mapping[str, str]) -> list[str]:
        """Each file that differs from those of a checkpoint, with its sums then and now."""
        now = self._found.result()
        differing = sorted(name for name in stored.keys() | now.keys() if stored.get(name) != now.get(name))
        return [f"{name} {_shown(stored.get(name))} then and {_shown(now.get(name))} now" for name in differing]


def sums_of(base: BaseFiles, digests: fingerprints.Digests) -> dict[str, str]:
    """File -> SHA-256, of every file of the base that decides what it computes. Raises `UsageError` for one that cannot be read."""
    sums: dict[str, str] = {}
    try:
        for name, part in sorted(base.parts.items()):
            for path in fingerprints.files_of(part):
                label = f"{name}/{path.name}" if part.in_folder else path.name
                digest = digests.of_weights(path.resolve(), None)
                if sums.setdefault(label, digest) != digest:  # a VAE elsewhere whose file is called as the base's
                    sums[f"{name}/{path.name}"] = digest
    except OSError as error:
        raise UsageError(
            f"{base.path}: a file of the base cannot be read: {error}.", "Check the path and the volume."
        ) from error
    return sums


def _shown(digest: str | None) -> str:
    return digest[:_SHOWN] if digest else "missing"
