"""Makes the images of the class that a recipe wants, by the base alone, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.durable import make_directory, write_file
from loratui.engine.families.model import Model, SamplePlan
from loratui.engine.training import noise
from loratui.engine.training.cache import Texts
from loratui.engine.training.images import to_png
from loratui.engine.training.sampler import NEGATIVE
from loratui.presets.schema import Settings

Step = Callable[[int, int], None]


def missing(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The images that the run needs and that are not there yet."""
    return [entry for entry in entries if entry.made and entry.repeats and not entry.path.is_file()]


def make(entries: Sequence[LedgerEntry], settings: Settings, model: Model, texts: Texts, on_step: Step) -> None:
    """Makes these images; each depends on the run's seed and its own name alone. `on_step(done, total)` may raise to stop.

    Prior preservation: Ruiz et al., "DreamBooth", 2023.
    """
    samples = settings.samples
    for number, entry in enumerate(entries):

        def report(done: int, of: int, number: int = number) -> None:
            on_step(number * of + done, len(entries) * of)

        plan = SamplePlan(
            prompt_embeds=texts.get(entry.caption),
            negative_prompt_embeds=texts.get(NEGATIVE),
            seed=noise.derived_seed(noise.derived_seed(settings.training.seed, "class image", entry.relative), "sample"),
            width=entry.bucket.width,
            height=entry.bucket.height,
            steps=samples.steps,
            guidance=samples.guidance,
        )
        make_directory(entry.path.parent)
        write_file(entry.path, to_png(model.sample(plan, report)), durable=False)
