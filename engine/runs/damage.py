"""Which files of a run are damaged, or another run's, so that no reader uses them in silence."""

from __future__ import annotations

from pathlib import Path

from loratui.engine import sealed
from loratui.engine.durable import MARKER
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.sample_files import damaged_samples
from loratui.engine.untrusted import Gone, read_whole

SEALED = (
    "base.json",
    "changes.json",
    "bounds.json",
    "when_finished.json",
    "lineage.json",
    "accepted.json",
    "run.lock",
    "dataset.json",
    "validation/wish.json",
    "validation/grid.json",
    "validation/checklist.json",
)
"""The files with a checksum that nobody makes again without being asked. `state.json` is made again from the log, and `fence.json` by whoever
has the run."""


def damaged(run: RunDirectory) -> list[str]:
    """The files of a run that are not used because they are damaged, or belong to another run: each with what is wrong."""
    found = [f"{name} {problem}" for name in SEALED if (problem := _problem(run, run.path / name))]
    try:
        sealed.checked(read_whole(run.marker, follow=False))
    except OSError as error:
        found.insert(0, f"{MARKER} {error.strerror}")
    return [*found, *damaged_samples(run)]


def _problem(run: RunDirectory, path: Path) -> str:
    try:
        sealed.read(path, run.path, LIST_FILE_BYTES)
    except Gone:
        return ""
    except OSError as error:
        return error.strerror or "cannot be read"
    return ""
