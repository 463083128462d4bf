"""What a training works on: the base with its LoRA, and what was encoded with it, loaded so that little memory is taken at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.families.model import Model
from loratui.engine.runs.lora_hashes import difference
from loratui.engine.training import class_images, speed
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.cache import EmptyLatents, EmptyLiveTexts, EmptyTexts, LatentCache, LiveTexts, TextCache
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.diffusion_loss import captions_measured, captions_to_encode
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.lora_file.init_from import init_from
from loratui.engine.training.loss_masks import outside_of
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import prompts_to_encode
from loratui.engine.training.setup import Job, add_adapter, load_base, place_on_card
from loratui.engine.words import count


@dataclass(frozen=True)
class Loaded:
    """The base with its LoRA, where the memory plan wants them, and the caches."""

    job: Job
    model: Model
    latents: LatentCache
    texts: TextCache
    adapter: LoraAdapter
    blocks: Blocks

    def encode_prompts(self, prompts: Sequence[str]) -> None:
        """Makes the text states of new prompts."""
        try:
            self.texts.fill(prompts_to_encode(prompts), lambda *_: None)
        finally:
            _free_text_encoders(self.job, self.model)


def load(job: Job, report: Reporter, control: ControlQueue, prompts: Sequence[str]) -> Loaded:
    """Loads the base, encodes captions, `prompts` and images, and adds the LoRA to the base."""
    report.phase("loading", "Reading the files of the base")
    model = load_base(job)
    at_once = job.memory_plan.loads_at_once(job.facts.figures)
    with model.denoiser_arrives() if at_once else contextlib.nullcontext():
        return _load(job, report, control, prompts, model)


def _load(job: Job, report: Reporter, control: ControlQueue, prompts: Sequence[str], model: Model) -> Loaded:
    def progress(what: str) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            report.progress(done, total, what)
            control.stop_if_asked()

        return told

    settings, entries = job.settings, job.ledger.images
    latents = LatentCache(
        job.run.cache, model, on_disk=settings.memory.cache_latents, mask_outside=outside_of(settings.dataset)
    )
    texts = (LiveTexts if settings.training.train_text_encoder else TextCache)(job.run.cache, model)
    report.phase("caching", "Encoding captions")
    with job.team.writer_first():
        texts.fill(captions_to_encode(job) + captions_measured(job) + prompts_to_encode(prompts), progress("captions"))
    if cut := texts.cut():
        report.warn("captions_cut", texts=len(cut), most=max(cut.values()))
    _free_text_encoders(job, model)
    placed = None
    if job.memory_plan.on_host and class_images.missing(entries):  # in host memory the base makes no images
        placed = _place(job, report, model)
    with job.team.writer_first():
        if wanted := class_images.missing(entries):
            report.phase("sampling", f"Making {count(len(wanted), 'image')} of the class")
            with placed[0].strength(0.0) if placed else contextlib.nullcontext():
                class_images.make(wanted, settings, model, texts, progress("images of the class"))
        report.phase("caching", "Encoding images")
        latents.fill(entries, (False, True) if settings.dataset.flip else (False,), progress("images"))
    if latents.empty_masks:
        report.warn("masks_empty", files=latents.empty_masks)
    if model.encodes_on_cpu:
        report.warn("images_on_cpu")
    tell_damaged(report, texts, latents)
    model.free_vae()
    return Loaded(job, model, latents, texts, *(placed or _place(job, report, model)))


def tell_damaged(report: Reporter, *caches: LatentCache | TextCache) -> None:
    """Says which cached files were not what was written."""
    if damaged := [name for cache in caches for name in cache.damaged]:
        report.warn("cache_damaged", files=damaged)


def without_weights(job: Job, report: Reporter) -> Loaded:
    """What compiles to the same code as what `load` makes: one block of each kind, and nothing encoded."""
    model = load_base(job)
    model.drop_weights()
    texts = (EmptyLiveTexts if job.settings.training.train_text_encoder else EmptyTexts)(model)
    return Loaded(
        job, model, EmptyLatents(model, mask_outside=outside_of(job.settings.dataset)), texts, *_place(job, report, model)
    )


def _free_text_encoders(job: Job, model: Model) -> None:
    """Drops the text encoders that are not trained."""
    model.free_text_encoders(but=model.text_encoders if job.settings.training.train_text_encoder else ())


def _place(job: Job, report: Reporter, model: Model) -> tuple[LoraAdapter, Blocks]:
    """Adds the LoRA to the base, and puts both where the memory plan wants them."""
    report.phase("loading", f"Loading {job.settings.base.model}")
    print(f"memory plan: {job.memory_plan.name}", flush=True)
    adapter = add_adapter(job, model)
    blocks = place_on_card(job, model, adapter)
    if job.mixed:
        speed.let_autocast_cast(model.denoiser)
    return adapter, blocks


def start_from_file(job: Job, report: Reporter, adapter: LoraAdapter) -> None:
    """Gives a new LoRA the values of the file that the settings name, if any."""
    path = job.settings.adapter.start_from
    if path:
        began = init_from(Path(path), job.settings.base.family, adapter)
        for line in began.listed():  # the warning names a few, log/trainer.log all
            print(line, flush=True)
        if differs := difference(Path(path)):
            report.warn("start_differs", path=path, how=differs)
        report.warn("started_from", path=path, taken=" ".join(began.sentences()))
