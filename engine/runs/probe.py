"""One real training step before the start, and a look at the base: a trainer process in a temporary run that leaves no trace."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from loratui.engine import children, durable
from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.planning.prepare import Prepared
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, compiled_folder, create_run, delete_run, list_runs
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.logs import log_tail

STEPS = 6
"""Optimizer steps that are made on a GPU; a CPU, which has nothing to warm up but caches, makes half of them."""

IMAGES = 3
"""Images, at least, that the base is read on."""

_FOLDER = "probes"
"""In the home folder, beside `runs`: what the trainer keeps for all runs of a home serves the probe and is kept."""
_LOOK_EVERY_S = 0.1
_PATIENCE_S = 5.0
"""How long a trainer that was asked to end may take before it is killed; a step on a slow CPU does not count."""


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
    return None if said is None else _probed(said)


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
    durable.write_file(run.base_readings, json.dumps(readings, indent=1).encode())


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
    }
    recipe = prepared.recipe.with_changes(changes)
    scan = dataclasses.replace(prepared.scan, images=tuple(images))
    small = _Small([repeats] * len(images), [repeats] * len(images))
    toml = recipe.to_toml()
    ledger = build_ledger(recipe.settings, scan, small)
    return create_run(home, "probe", recipe_toml=toml, effective_toml=toml, ledger=ledger, folder=_FOLDER)


def _carry_out(
    prepared: Prepared, home: Path, job: str, tell: Callable[[str], None], cancelled: Callable[[], bool]
) -> list[Event] | None:
    """All that the trainer told; None if it was cancelled. Raises `LoratuiError` if it failed."""
    _sweep(home)
    run = _make(prepared, home)
    held = lock.acquire(run.lock, job=job)
    try:
        code, said = _wait(run, _start(run, held, job), tell, cancelled)
        if code is not None and code != 0:
            _fail(run, code, said)
        return None if code is None else said
    finally:
        held.release()
        with contextlib.suppress(LoratuiError):
            delete_run(run)
        with contextlib.suppress(OSError):
            run.path.parent.rmdir()


def _wait(
    run: RunDirectory, process: subprocess.Popen[bytes], tell: Callable[[str], None], cancelled: Callable[[], bool]
) -> tuple[int | None, list[Event]]:
    """How the trainer ended, None if it was cancelled, and all that it told."""
    offset, asked_at = 0, 0.0
    said: list[Event] = []
    while True:
        ended = process.poll() is not None
        batch = read_events(run.events, offset)
        offset = batch.offset
        for event in batch.events:
            said.append(event)
            words = _words(event)
            if words:
                tell(words)
        if ended:
            return None if asked_at else process.returncode, said
        if cancelled() and not asked_at:
            asked_at = time.monotonic()
            process.terminate()
        if asked_at and time.monotonic() - asked_at > _PATIENCE_S:
            process.kill()
        time.sleep(_LOOK_EVERY_S)


def _start(run: RunDirectory, held: lock.RunLock, job: str) -> subprocess.Popen[bytes]:
    output = durable.open_to_write(run.trainer_log, os.O_WRONLY | os.O_APPEND)
    try:
        return children.start(
            children.command("loratui.engine.training", str(run.path), "--job", job),
            stdout=output,
            stderr=output,
            pass_fds=[held.fd],  # the temporary run is not swept away while its trainer lives
            cwd=run.path,
            env=children.environment(compiled=compiled_folder(run), PYTHONFAULTHANDLER="1"),
        )
    except OSError as error:
        raise UsageError(f"The trainer could not be started: {error}.", "Check that Python and loratui are intact.") from error
    finally:
        os.close(output)


def _probed(said: Sequence[Event]) -> Probed:
    done = _last(said, "probe_finished")
    names = (field.name for field in dataclasses.fields(Probed) if field.name != "base")
    return Probed(**{name: done.get(name) for name in names}, base=_base_read(said) if _has(said, "base_read") else None)


def _base_read(said: Sequence[Event]) -> BaseRead:
    event = _last(said, "base_read")
    return BaseRead(**{field.name: event.get(field.name) for field in dataclasses.fields(BaseRead)})


def _has(said: Sequence[Event], type: str) -> bool:
    return any(event.type == type for event in said)


def _last(said: Sequence[Event], type: str) -> Event:
    """Raises `LoratuiError` where the trainer did not tell it."""
    found = next((event for event in reversed(said) if event.type == type), None)
    if found is None:
        error = LoratuiError("The trainer ended without a result (0).")
        error.exit_code = ExitCode.CRASHED
        raise error
    return found


def _fail(run: RunDirectory, code: int, said: Sequence[Event]) -> NoReturn:
    """Raises what a trainer failed with."""
    failed = next((event for event in reversed(said) if event.type == "run_failed_with"), None)
    if failed is not None:
        code = _exit_code(failed.get("exit_code"))
        # The log goes with the temporary run, so that its last line is the story.
        tail = log_tail(run.trainer_log) if code == ExitCode.CRASHED else []
        error = LoratuiError(str(failed.get("message") or ""), tail[-1] if tail else str(failed.get("remedy") or ""))
        error.exit_code = code
        raise error
    if code < 0:
        error = LoratuiError(
            f"The trainer was killed by signal {-code}, most often for lack of main memory.",
            "Use a machine or container with more RAM, or a smaller base.",
        )
        error.exit_code = ExitCode.OUT_OF_MEMORY
        raise error
    tail = log_tail(run.trainer_log)
    error = LoratuiError(f"The trainer ended without a result ({code}).", tail[-1] if tail else "")
    error.exit_code = ExitCode.CRASHED
    raise error


def _exit_code(value: object) -> ExitCode:
    return ExitCode(value) if isinstance(value, int) and value in set(ExitCode) else ExitCode.CRASHED


def _words(event: Event) -> str:
    if event.type == "phase_changed":
        return str(event.get("text") or event.get("phase") or "")
    if event.type == "progress":
        return f"{event.get('text')}: {event.get('done')} of {event.get('total')}"
    if event.type == "step":
        return f"step {event.get('step')}"
    return ""


def _sweep(home: Path) -> None:
    """Deletes what a probe left behind that was killed with its viewer; one that is alive is left alone."""
    for run in list_runs(home, _FOLDER):
        with contextlib.suppress(LoratuiError):
            delete_run(run)
