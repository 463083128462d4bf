"""Writes down in a run's ledger how often each image was shown."""

from __future__ import annotations

from loratui.engine import sealed
from loratui.engine.dataset.ledger import read_ledger, read_table, with_times_shown
from loratui.engine.planning.exposures import times_shown
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings


def record_times_shown(run: RunDirectory, settings: Settings, image_step: int) -> None:
    """Puts `seen` beside `planned` for each image and caption in `dataset.json`, as of `image_step`.

    `settings` are those in force. The ledger's identity stays the same. Raises `DatasetError` for a damaged ledger and
    `DiskError` if it cannot be written; the old file is there then.
    """
    counts = times_shown(read_ledger(run.dataset).images, settings, image_step)
    sealed.write(run.dataset, with_times_shown(read_table(run.dataset), counts, settings), run.path, lasting=False)
