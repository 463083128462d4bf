"""Makes a recipe's class images with the base alone, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.durable import make_directory, write_file
from loratui.engine.families.model import Model
from loratui.engine.training import noise
from loratui.engine.training.cache import Progress, TextCache
from loratui.engine.training.images import to_png
from loratui.engine.training.sampler import sample_plan
from loratui.presets.schema import Settings


def missing(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The images that the run needs and that are still missing."""
    return [entry for entry in entries if entry.made and entry.repeats and not entry.path.is_file()]


def make(entries: Sequence[LedgerEntry], settings: Settings, model: Model, texts: TextCache, on_step: Progress) -> None:
    """Makes these images, each from the run's seed and its name alone (prior preservation: Ruiz et al., "DreamBooth", 2023)."""
    for number, entry in enumerate(entries):

        def report(done: int, of: int, number: int = number) -> None:
            on_step(number * of + done, len(entries) * of)

        seed = noise.derived_seed(settings.training.seed, "class image", entry.relative)
        plan = sample_plan(settings, texts, entry.caption, seed)
        plan = replace(plan, width=entry.bucket.width, height=entry.bucket.height)
        make_directory(entry.path.parent)
        write_file(entry.path, to_png(model.sample(plan, report)), durable=False)
