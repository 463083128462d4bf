"""The validation's images: prompts × strengths and prompts × epochs, each made once from the LoRA file that a person would use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PIL import Image

from loratui.engine import sealed
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
from loratui.engine.proof.protocol import Near
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.engine.training.cache import LatentCache, LiveTexts, TextCache
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.images import to_tensor
from loratui.engine.training.loaded import tell_damaged
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import prompts_to_encode, sample_plan, write_sample
from loratui.engine.training.setup import Job, add_adapter, load_base, place_on_card
from loratui.engine.training.validation.measuring import measure
from loratui.engine.training.validation.nearest import Gallery
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
        missing = {path: cell for cell, path in zip(planned, paths, strict=True) if not (job.run.path / path).is_file()}
        maker = _Maker(job, report, requests, list(missing.values())) if missing else None
        for number, (cell, path) in enumerate(zip(planned, paths, strict=True)):
            found = maker.make(cell, path, number, len(planned)) if maker and missing.pop(path, None) else None
            nearest = {"nearest": found[0], "similarity": round(found[1], 3)} if found else {}
            report.event("image_written", durable=True, **_fields(cell, path), **nearest)
        measure(job, report, requests, wish.file or "", maker.layouts() if maker else {})
    requests.acknowledge_ending("All images are made.")
    return ExitCode.DONE


def _cells(job: Job, wish: GridRequest) -> list[Cell]:
    files = lora_files(job.run, job.settings)
    final = wish.file or files.final
    if not final:
        raise UsageError(f"{job.run.name} has no LoRA file yet.", "Wait for its first epoch.")
    if not job.run.inside(final).is_file():
        raise UsageError(f"{job.run.name} has no file {final}.", "Choose a file in its output folder.")
    return cells(job.settings, wish, files=files.epochs, final=final, fill=words(job.settings))


def _sum(job: Job, file: str) -> str:
    """SHA-256 of a LoRA file; empty for the base alone."""
    if not file:
        return ""
    require_as_saved(job.run.inside(file))
    with open_regular(job.run.inside(file), follow=False) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
        tell_damaged(report, self._texts, latents)
        self._gallery = Gallery(self._model, latents, job.ledger.images)
        self._adapter = add_adapter(job, self._model)
        place_on_card(job, self._model, self._adapter)
        report.phase("sampling", "Making the validation images")

    def layouts(self) -> Mapping[str, Sequence[Near]]:
        """How near the layouts of the training images are to each other."""
        return self._gallery.among()

    def make(self, cell: Cell, path: str, number: int, total: int) -> tuple[str, float] | None:
        """Writes the image of a cell, the `number`-th of `total`; returns the training image it resembles most."""
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
