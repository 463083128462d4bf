"""The check's images: prompts × strengths and prompts × epochs, each made once from the LoRA file that a person would use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from PIL import Image

from loratui.engine.durable import write_json
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.planning.validation_grid import (
    FORMAT,
    Cell,
    GridRequest,
    cells,
    image_name,
    prompt_read,
    read_wish,
    words,
)
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.training.cache import LatentCache, LiveTexts, TextCache
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.images import to_tensor
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import prompts_to_encode, sample_plan, write_sample
from loratui.engine.training.setup import Job, add_adapter, load_base
from loratui.engine.training.validation.nearest import Gallery, Nearest
from loratui.engine.untrusted import open_regular


def make_grid(job: Job, report: Reporter, requests: ControlQueue) -> ExitCode:
    """Makes what `validation/wish.json` asks for, or else both grids of the recipe; images that are there stay.

    Raises `UsageError` if the run has no LoRA file.
    """
    with requests.at_once():
        _Check(job, report, requests).make()
    requests.acknowledge_ending("All images are made.")
    return ExitCode.DONE


class _Check:
    """One start of the job."""

    def __init__(self, job: Job, report: Reporter, requests: ControlQueue) -> None:
        self._job, self._report, self._requests = job, report, requests
        self._sums: dict[str, str] = {"": ""}

    def make(self) -> None:
        wish = read_wish(self._job.run.validation / "wish.json")
        planned = self._cells(wish)
        paths = [f"validation/{image_name(cell, self._job.settings, self._sum(cell.file))}" for cell in planned]
        self._list(wish, planned, paths)
        # The base's images are the same in every grid, so one path can stand for several cells.
        missing = {path: cell for cell, path in zip(planned, paths, strict=True) if not (self._job.run.path / path).is_file()}
        maker = _Maker(self._job, self._report, self._requests, list(missing.values())) if missing else None
        for number, (cell, path) in enumerate(zip(planned, paths, strict=True)):
            found = maker.make(cell, path, number, len(planned)) if maker and missing.pop(path, None) else None
            self._tell(cell, path, found)

    def _cells(self, wish: GridRequest) -> list[Cell]:
        job = self._job
        files = lora_files(job.run, job.settings)
        final = wish.file or files.final
        if not final:
            raise UsageError(f"{job.run.name} has no LoRA file yet.", "Wait for its first epoch.")
        if not job.run.inside(final).is_file():
            raise UsageError(f"{job.run.name} has no file {final}.", "Choose one of its output folder.")
        return cells(job.settings, wish, files=files.epochs, final=final, fill=words(job.settings))

    def _sum(self, file: str) -> str:
        """SHA-256 of a LoRA file, read once."""
        if file not in self._sums:
            with open_regular(self._job.run.inside(file), follow=False) as opened:
                self._sums[file] = hashlib.file_digest(opened, "sha256").hexdigest()
        return self._sums[file]

    def _list(self, wish: GridRequest, planned: Sequence[Cell], paths: Sequence[str]) -> None:
        """Writes what will be there, so that a viewer can lay out the grids before the first image."""
        listed = [_fields(cell, path) for cell, path in zip(planned, paths, strict=True)]
        write_json(self._job.run.validation / "grid.json", {"format": FORMAT, "grids": list(wish.grids), "images": listed})

    def _tell(self, cell: Cell, path: str, found: Nearest | None) -> None:
        nearest: dict[str, Any] = {"nearest": found.relative, "similarity": round(found.similarity, 3)} if found else {}
        self._report.event("image_written", durable=True, **_fields(cell, path), **nearest)


class _Maker:
    """The base with the LoRA on it, and the training images to compare with."""

    def __init__(self, job: Job, report: Reporter, requests: ControlQueue, wanted: Sequence[Cell]) -> None:
        self._job, self._report, self._requests = job, report, requests
        settings = job.settings
        self._loaded = ""

        def progress(*_: int) -> None:
            requests.stop_if_asked()

        report.phase("loading", f"Loading {settings.base.model}")
        self._model = load_base(job)
        trains_text = settings.training.train_text_encoder
        self._texts = (LiveTexts if trains_text else TextCache)(job.run.cache, self._model)
        prompts = prompts_to_encode([prompt_read(cell, settings) for cell in wanted])
        self._texts.fill(prompts, progress)
        self._model.free_text_encoders(but=self._model.text_encoders if trains_text else ())
        report.phase("caching", "Reading the training images")
        latents = LatentCache(job.run.cache, self._model, on_disk=settings.memory.cache_latents)
        latents.fill(job.ledger.images, (False,), progress)
        self._gallery = Gallery(self._model, latents, job.ledger.images)
        self._adapter = add_adapter(job, self._model)
        report.phase("sampling", "Making the images of the check")

    def make(self, cell: Cell, path: str, number: int, total: int) -> Nearest | None:
        """Writes the image of a cell, the `number`-th of `total`; returns the training image that it is most like."""
        settings, target = self._job.settings, self._job.run.path / path
        if cell.file and cell.file != self._loaded:
            read_lora_file(self._job.run.inside(cell.file), self._job.settings.base.family, self._adapter)
            self._loaded = cell.file

        def on_step(done: int, of: int) -> None:
            self._report.progress(number * of + done, total * of, "images")
            self._requests.stop_if_asked()

        plan = partial(sample_plan, settings, self._texts, prompt_read(cell, settings), cell.seed)
        write_sample(target, self._model, self._adapter, plan, cell.strength, on_step)
        with Image.open(target) as image:
            return self._gallery.nearest(to_tensor(image.convert("RGB")))


def _fields(cell: Cell, path: str) -> dict[str, Any]:
    shown = ("grid", "prompt", "seed", "file", "strength")
    return {"path": path, **{name: getattr(cell, name) for name in shown}}
