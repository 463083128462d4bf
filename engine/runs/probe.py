"""One real training step before the start, and a look at the base: a trainer process in a temporary run that leaves no trace."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import jobs, sealed
from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import LoratuiError
from loratui.engine.planning.prepare import Prepared
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, compiled_folder, create_run, delete_run, list_runs

STEPS = 6
"""Optimizer steps that are made on a GPU; a CPU, which has nothing to warm up but caches, makes half of them."""

IMAGES = 3
"""Images, at least, that the base is read on."""

_FOLDER = "probes"
"""In the home folder, beside `runs`: what the trainer keeps for all runs of a home serves the probe and is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRead:
    """What the untouched base made of the person's images. The event `base_read` has the same fields."""

    readings: Mapping[str, Any]
    """Of `BaseReadings`, in plain values."""
    mistaken: str
    """What the base was probably mistaken in, such as `prediction`; empty where nothing speaks against it."""
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one real step took. The event `probe_finished` has the same fields, but for `base`."""

    device: str
    """The driver's name of the card, or `cpu`."""
    step_s: float
    """Seconds of one optimizer step at the largest size of the plan."""
    image_step_s: float
    """The same for one image."""
    peak_vram_gib: float | None
    """Most GPU memory held at any moment, loading and encoding included; None without a GPU."""
    peak_ram_gib: float
    """Most main memory of the trainer process."""
    load_s: float
    """Seconds until the first step: loading, encoding the captions and the images of one batch."""
    base: BaseRead | None = None


@dataclass(frozen=True)
class _Small:
    """As much of a plan as the ledger needs."""

    image_repeats: Sequence[int]
    image_exposures: Sequence[int]


def probe(
    prepared: Prepared,
    home: Path,
    *,
    tell: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Probed | None:
    """Makes real steps with the largest images of the plan and returns what they took; None if it was cancelled.

    `tell` is given what is being done, in words. Nothing of it stays on the disk but the measurement in the person's
    cache. Raises `LoratuiError` with the exit code of the trainer, such as `OUT_OF_MEMORY`.
    """
    said = _carry_out(prepared, home, "probe", tell, cancelled)
    if said is None:
        return None
    names = (field.name for field in dataclasses.fields(Probed) if field.name != "base")
    done = said["probe_finished"]
    return Probed(**{name: done[name] for name in names}, base=_base_read(said) if "base_read" in said else None)


def read_base(
    prepared: Prepared,
    home: Path,
    *,
    tell: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> BaseRead | None:
    """Reads the base on the largest images of the plan, as `probe` does before its steps; None if it was cancelled.

    Raises `LoratuiError` with the exit code of the trainer.
    """
    said = _carry_out(prepared, home, "base", tell, cancelled)
    return None if said is None else _base_read(said)


def keep_base_read(run: RunDirectory, read: BaseRead) -> None:
    """Writes what was read of the base beside the run, for bug reports; the trainer does not read it again then."""
    readings = {"format": 1, **dataclasses.asdict(read)}
    sealed.write(run.base_readings, readings, run.path)


def largest(scan: DatasetScan, rule: BucketRule, count: int) -> list[ImageEntry]:
    """Up to `count` training images of the bucket with the most pixels: nothing in the run needs more memory.

    Where several buckets are as large, the one with the most images.
    """
    by_bucket: dict[tuple[int, int], list[ImageEntry]] = {}
    for image in scan.training:
        bucket = assign(image.width, image.height, rule)
        by_bucket.setdefault((bucket.width, bucket.height), []).append(image)
    chosen = max(by_bucket, key=lambda size: (size[0] * size[1], len(by_bucket[size])))
    return by_bucket[chosen][:count]


def _make(prepared: Prepared, home: Path) -> RunDirectory:
    """The temporary run: the largest images, repeated for `STEPS` optimizer steps."""
    settings = prepared.recipe.settings
    batch = settings.training.batch_size
    images = largest(prepared.scan, BucketRule.of(settings.dataset), max(batch, IMAGES))
    repeats = math.ceil(STEPS * batch * settings.training.accumulation / len(images))
    changes: dict[str, Any] = {
        "schedule.repeats": repeats,
        "schedule.epochs": 1,
        "schedule.image_steps": 0,
        "samples.before_training": False,
        "dataset.class_images": 0,
        "dataset.held_out": (),
        "schedule.continue_run": "",
        "schedule.continue_step": 0,
    }
    recipe = prepared.recipe.with_changes(changes)
    scan = dataclasses.replace(prepared.scan, images=tuple(images))
    small = _Small([repeats] * len(images), [repeats] * len(images))
    toml = recipe.to_toml()
    ledger = build_ledger(recipe.settings, scan, small)
    return create_run(home, "probe", recipe_toml=toml, effective_toml=toml, ledger=ledger, folder=_FOLDER)


def _carry_out(
    prepared: Prepared, home: Path, job: str, tell: Callable[[str], None], cancelled: Callable[[], bool]
) -> Mapping[str, Mapping[str, Any]] | None:
    """The fields of the last event of each type; None if it was cancelled. Raises `LoratuiError` if it failed."""

    def progress(event: Mapping[str, Any]) -> None:
        words = _words(event)
        if words:
            tell(words)

    _sweep(home)
    run = _make(prepared, home)
    held = lock.acquire(run.lock, job=job)
    try:
        said: Mapping[str, Mapping[str, Any]] | None = jobs.run(
            job,
            {"run": str(run.path), "job": job},
            progress=progress,
            cancelled=cancelled,
            cwd=run.path,
            compiled=compiled_folder(run),
            pass_fds=[held.fd],  # the temporary run is not swept away while its trainer lives
        )
        return said
    finally:
        held.release()
        with contextlib.suppress(LoratuiError):
            delete_run(run)
        with contextlib.suppress(OSError):
            run.path.parent.rmdir()


def _base_read(said: Mapping[str, Mapping[str, Any]]) -> BaseRead:
    return BaseRead(**{field.name: said["base_read"][field.name] for field in dataclasses.fields(BaseRead)})


def _words(event: Mapping[str, Any]) -> str:
    match event["type"]:
        case "phase_changed":
            return str(event.get("text") or event.get("phase") or "")
        case "progress":
            return f"{event.get('text')}: {event.get('done')} of {event.get('total')}"
        case "step":
            return f"step {event.get('step')}"
    return ""


def _sweep(home: Path) -> None:
    """Deletes what a probe left behind that was killed with its viewer; one that is alive is left alone."""
    for run in list_runs(home, _FOLDER):
        with contextlib.suppress(LoratuiError):
            delete_run(run)
