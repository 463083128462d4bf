"""The validation's images: prompts × strengths and prompts × epochs, each made once from the LoRA file that a person would use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from loratui.engine import sealed
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.planning.validation_grid import (
    FORMAT,
    Cell,
    GridRequest,
    image_name,
    read_wish,
    words,
)
from loratui.engine.proof.needed import wanted
from loratui.engine.proof.never import captions_of
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.images import to_png
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import write_image
from loratui.engine.training.setup import Job
from loratui.engine.training.validation.making import Maker
from loratui.engine.training.validation.measuring import measure
from loratui.engine.training.validation.photo_losses import PhotoLosses
from loratui.engine.untrusted import open_regular


def make_grid(job: Job, report: Reporter, requests: ControlQueue) -> ExitCode:
    """Makes what `validation/wish.json` asks for, else the recipe's grids. Raises `UsageError` if the run has no LoRA file."""
    with requests.at_once():
        wish = read_wish(job.run.validation / "wish.json")
        planned = _cells(job, wish)
        sums = {file: _sum(job, file) for file in {cell.file for cell in planned}}
        paths = [f"validation/{image_name(cell, job.settings, sums[cell.file])}" for cell in planned]
        # Before the first image, so that a viewer can lay out the grids.
        listed = [_fields(cell, path) for cell, path in zip(planned, paths, strict=True)]
        sealed.write(
            job.run.validation / "grid.json", {"format": FORMAT, "grids": list(wish.grids), "images": listed}, job.run.path
        )
        # The base's images are the same in every grid, so several cells can share a path.
        places = _by_path(zip(planned, paths, strict=True))
        missing = [path for path in places if not (job.run.path / path).is_file()]
        for path in places.keys() - set(missing):
            _tell(report, path, places[path])
        losses = PhotoLosses(job, [cell.file for cell in planned if cell.file], sums)
        maker = Maker(job, report, requests, [places[path][0] for path in missing], losses.texts) if missing else None
        if maker is not None:
            _make(maker, {places[path][0]: path for path in missing}, places, job, report, requests)
        report.phase("measuring", "Measuring the losses of the photos")
        known = losses.told(maker.measurer() if maker else None)
        measure(job, report, requests, wish.file or "", maker.gallery.among() if maker else {}, known)
    requests.acknowledge_ending("All images are made.")
    return ExitCode.DONE


def _cells(job: Job, wish: GridRequest) -> list[Cell]:
    files = lora_files(job.run, job.settings)
    final = wish.file or files.final
    if not final:
        raise UsageError(f"{job.run.name} has no LoRA file yet.", "Wait for its first epoch.")
    for file in (final, *(wish.files or ())):
        if not job.run.inside(file).is_file():
            raise UsageError(f"{job.run.name} has no file {file}.", "Choose a file in its output folder.")
    captions = captions_of(job.ledger.images)
    return wanted(job.settings, wish, files=files.epochs, final=final, fill=words(job.settings), captions=captions)


def _sum(job: Job, file: str) -> str:
    """SHA-256 of a LoRA file; empty for the base alone."""
    if not file:
        return ""
    require_as_saved(job.run.inside(file))
    with open_regular(job.run.inside(file), follow=False) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _make(
    maker: Maker,
    missing: Mapping[Cell, str],
    places: Mapping[str, Sequence[Cell]],
    job: Job,
    report: Reporter,
    requests: ControlQueue,
) -> None:
    """Makes images batch by batch and writes each as it is there: what was written is never made again."""
    left, done = list(missing), 0
    # Of an image of 1024 px PNG takes half a second: a batch is compressed at once, on as many cores.
    pool = ThreadPoolExecutor(torch.get_num_threads(), "png")

    def on_step(step: int, of: int, images: int) -> None:
        report.progress(done * of + step * images, len(missing) * of, "images")
        requests.stop_if_asked()

    while left:
        began = time.monotonic()
        made = maker.make(left, on_step)
        each_s = (time.monotonic() - began) / len(made)
        for (cell, pixels), png in zip(made, pool.map(to_png, [pixels for _, pixels in made]), strict=True):
            path = missing[cell]
            write_image(job.run.path / path, png)
            found = maker.gallery.nearest(pixels.float() / 127.5 - 1)
            nearest = {"nearest": found[0], "similarity": round(found[1], 3)} if found else {}
            _tell(report, path, places[path], seconds=round(each_s, 3), **nearest)
        done += len(made)
        ready = {cell for cell, _ in made}
        left = [cell for cell in left if cell not in ready]


def _by_path(cells: Iterable[tuple[Cell, str]]) -> dict[str, list[Cell]]:
    places: dict[str, list[Cell]] = {}
    for cell, path in cells:
        places.setdefault(path, []).append(cell)
    return places


def _tell(report: Reporter, path: str, cells: Sequence[Cell], **made: Any) -> None:
    """That an image is there, for each of its places; what was `made` now is told with the first."""
    for number, cell in enumerate(cells):
        report.event("image_written", durable=True, **_fields(cell, path), **({} if number else made))


def _fields(cell: Cell, path: str) -> dict[str, Any]:
    shown = ("grid", "prompt", "seed", "file", "strength")
    return {"path": path, **{name: getattr(cell, name) for name in shown}}
