"""Makes validation images: the base is loaded once, each file is put on it once, and as many images are made together as fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.errors import DatasetError
from loratui.engine.families.model import Model, SamplePlan
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.validation_grid import Cell, prompt_read
from loratui.engine.runs.lineage import is_imported
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.cache import LatentCache, LiveTexts, Progress, TextCache
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.loaded import tell_damaged
from loratui.engine.training.lora_file.as_it_is import add_from_file
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.loss_masks import outside_of
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import prompts_to_encode, sample_plan
from loratui.engine.training.setup import Job, add_adapter, load_base, place_on_card
from loratui.engine.training.validation.nearest import Gallery
from loratui.engine.training.validation.photo_losses import Measurer

MOST_AT_ONCE = 16
"""Images in one batch."""
LONGEST_S = 30.0
"""A batch takes about so long at most: what a stop or a kill interrupts is made again."""


class Batches:
    """How many images are made at once on a card: one at first, which measures the time, then as many as memory and time allow."""

    def __init__(self, device: torch.device, *, tiny: bool = False) -> None:
        """`tiny`: the base is an embedded one, whose images leave a CPU half idle too. Of a large one a CPU saves nothing, and main
        memory that runs out is told by a kill."""
        self._most = MOST_AT_ONCE if device.type == "cuda" or tiny else 1
        self.now = 1

    def sample(self, model: Model, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        """The images of the first `now` plans, or of fewer where memory runs out. Raises what a single image raises."""
        while True:
            some = plans[: self.now]
            began = time.monotonic()
            try:
                made = model.sample_together(some, on_step)
            except Exception as error:
                if len(some) == 1 or not is_out_of_memory(error):
                    raise
            else:
                each_s = max((time.monotonic() - began) / len(some), 1e-3)
                self.now = max(1, min(self._most, int(LONGEST_S / each_s)))
                return made
            # Not within the handler: the error keeps the tensors of the failed batch.
            self._most = self.now = len(some) // 2
            torch.cuda.empty_cache()


class Maker:
    """The base with the LoRA on it, and the training images to compare with."""

    def __init__(
        self, job: Job, report: Reporter, requests: ControlQueue, wanted: Sequence[Cell], texts: Sequence[str]
    ) -> None:
        """`texts`: what else is encoded."""
        self._job, settings = job, job.settings
        self._stop_if_asked = requests.stop_if_asked
        self._on_card = ""
        self._batches = Batches(job.device, tiny=settings.base.is_embedded)

        def progress(*_: int) -> None:
            requests.stop_if_asked()

        report.phase("loading", f"Loading {settings.base.model}")
        self._model = load_base(job)
        trains_text = settings.training.train_text_encoder
        self._texts = (LiveTexts if trains_text else TextCache)(job.run.cache, self._model)
        prompts = prompts_to_encode([prompt_read(cell, settings) for cell in wanted])
        self._texts.fill([*prompts, *texts], progress)
        self._model.free_text_encoders(but=self._model.text_encoders if trains_text else ())
        report.phase("caching", "Reading the training images")
        self._latents = latents = LatentCache(
            job.run.cache, self._model, on_disk=settings.memory.cache_latents, mask_outside=outside_of(settings.dataset)
        )
        photos = [entry for entry in job.ledger.images if _is_there(entry, latents, progress)]
        tell_damaged(report, self._texts, latents)
        self.gallery = Gallery(self._model, latents, photos)
        self._adapter = self._add_adapter(report)
        place_on_card(job, self._model, self._adapter)
        report.phase("sampling", "Making the validation images")

    def _add_adapter(self, report: Reporter) -> LoraAdapter:
        run = self._job.run
        if not is_imported(run):
            return add_adapter(self._job, self._model)
        self._on_card = lora_files(run, self._job.settings).final
        path = run.inside(self._on_card)
        adapter, has_effect = add_from_file(path, self._model, self._job.settings)
        if not has_effect:
            report.warn("lora_without_effect", file=path.name)
        return adapter

    def make(self, wanted: Sequence[Cell], on_step: Callable[[int, int, int], None]) -> list[tuple[Cell, Tensor]]:
        """The images of the first of the cells, and of those after it that can be made together with it, as (3, H, W) uint8.

        `on_step(done, total, images)` is called after each step of so many images, and may raise to stop.
        """
        settings, first = self._job.settings, wanted[0]
        if first.file:
            self._put_on(first.file)
        alike = [cell for cell in wanted if (cell.file, cell.strength) == (first.file, first.strength)]
        with self._adapter.strength(first.strength):  # trained text encoders read the prompts with the LoRA
            some = alike[: self._batches.now]
            plans = [sample_plan(settings, self._texts, prompt_read(cell, settings), cell.seed) for cell in some]
            together = [(cell, plan) for cell, plan in zip(some, plans, strict=True) if plan.kind == plans[0].kind]
            images = self._batches.sample(
                self._model, [plan for _, plan in together], lambda done, of: on_step(done, of, len(together))
            )
        return [(cell, image) for (cell, _), image in zip(together, images, strict=False)]

    def measurer(self) -> Measurer:
        """What measures losses with the base and the LoRA."""
        loaded = self._model, self._latents, self._texts
        return Measurer(self._job, *loaded, self._adapter.strength, self._put_on, self._stop_if_asked)

    def _put_on(self, file: str) -> None:
        """Puts a file's values into the LoRA."""
        if file != self._on_card:
            read_lora_file(self._job.run.inside(file), self._job.settings.base.family, self._adapter)
            self._on_card = file


def _is_there(entry: LedgerEntry, latents: LatentCache, progress: Progress) -> bool:
    """Whether an image is trained on and can still be read, or its latents are kept; the measures say which are gone."""
    if not entry.repeats or entry.regularisation:
        return False
    try:
        latents.fill([entry], (False,), progress)
    except DatasetError:
        return False
    return True
