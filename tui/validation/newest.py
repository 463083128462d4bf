"""Validates the newest file of a run that still trains, as a run of its own beside it."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.machine.accelerator import Accelerator, accelerator
from loratui.engine.planning.beside import room_beside
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.importing import import_newest
from loratui.engine.runs.launcher import launch


def take(training: RunDirectory, home: Path, here: Accelerator | None = None) -> tuple[RunDirectory, str]:
    """The run of the newest file, and what to say of it. Raises `LoratuiError` without a file, and where memory is too small for both.

    `here`: this machine; None asks the driver and torch, which may take seconds.
    """
    room = room_beside(read_recipe(training.effective).settings, here or accelerator())
    run = import_newest(training, home)
    return run, f"{training.name} still trains. Its newest file is validated as {run.name}. {room}"


def begin(training: RunDirectory, home: Path) -> tuple[RunDirectory, str]:
    """As `take`, and starts its validation."""
    run, words = take(training, home)
    launch(run, "validate")
    return run, words
