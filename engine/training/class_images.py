"""Makes a recipe's class images with the base alone, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.durable import make_directory, write_file
from loratui.engine.families.model import Model
from loratui.engine.training import noise
from loratui.engine.training.cache import TextCache
from loratui.engine.training.images import to_png
from loratui.engine.training.sampler import sample_plan
from loratui.presets.schema import Settings

Step = Callable[[int, int], None]


def missing(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The images that the run needs and that are still missing."""
    return [entry for entry in entries if entry.made and entry.repeats and not entry.path.is_file()]


def make(entries: Sequence[LedgerEntry], settings: Settings, model: Model, texts: TextCache, on_step: Step) -> None:
    """Makes these images; each depends only on the run's seed and its own name. `on_step(done, total)` may raise to stop.

    Prior preservation: Ruiz et al., "DreamBooth", 2023.
    """
    for number, entry in enumerate(entries):

        def report(done: int, of: int, number: int = number) -> None:
            on_step(number * of + done, len(entries) * of)

        seed = noise.derived_seed(settings.training.seed, "class image", entry.relative)
        plan = sample_plan(settings, texts, entry.caption, seed)
        plan = replace(plan, width=entry.bucket.width, height=entry.bucket.height)
        make_directory(entry.path.parent)
        write_file(entry.path, to_png(model.sample(plan, report)), durable=False)
