"""What every judgement of a plan looks at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loratui.engine.planning.plan import Plan
from loratui.engine.planning.rules import RULES, ConceptImages
from loratui.presets import Reason
from loratui.presets.schema import Schedule, Settings


@dataclass(frozen=True)
class Shown:
    """How much a schedule trains."""

    epochs: int
    exposures: float
    """Mean number of times that each of the subject's images is shown."""


def shown(schedule: Schedule, concepts: Sequence[ConceptImages], batch: int) -> Shown:
    """What a schedule gives such concepts in batches of `batch` images."""
    amount = RULES[schedule.rule](concepts, schedule, batch)
    an_epoch = sum(c.images * r for c, r in zip(concepts, amount.repeats, strict=True))
    total = schedule.image_steps or amount.image_steps
    epochs = amount.epochs if schedule.epochs or not schedule.image_steps else -(-total // an_epoch)
    image_steps = min(total, an_epoch * epochs) if total else an_epoch * epochs
    return Shown(epochs, image_steps / sum(c.images for c in concepts))


def preset_schedule(preset: Settings) -> Schedule:
    """A preset's own schedule, without the folders' numbers."""
    return dataclasses.replace(preset.schedule, folder_repeats=False)


@dataclass(frozen=True)
class Case:
    """What every judgement looks at."""

    settings: Settings
    plan: Plan
    start: Settings
    """The preset's own settings; the defaults for a recipe whose preset is not known here."""
    known: bool
    """Whether there is such a preset."""
    reasons: Mapping[str, Reason]
    changed: frozenset[str]

    def source(self, dotted: str) -> str:
        """Who set the limit in `dotted`."""
        return self.reasons[dotted].source if dotted in self.reasons else "loratui"

    @property
    def in_band(self) -> bool:
        """Whether there is a preset, and it was made for so many images."""
        least, most = self.start.dataset.images_wanted
        return self.known and least <= self.plan.images <= most

    def chose(self, dotted: str) -> bool:
        """Whether the value is the preset's own choice, which no limit that it took over from another preset speaks against."""
        return self.known and dotted not in self.changed

    @property
    def amount_is_own(self) -> bool:
        """Whether the preset itself shows each of these images so often, and was made for so many."""
        return self.in_band and math.isclose(self.plan.exposures_per_image, self.own.exposures)

    @property
    def own(self) -> Shown:
        """What the preset itself gives these images in such batches, without the folders' numbers."""
        return self.shown(preset_schedule(self.start))

    def shown(self, schedule: Schedule) -> Shown:
        """What another schedule would give the same images."""
        concepts = [ConceptImages(c.name, c.images, c.repeats if c.from_folder else None) for c in self.plan.concepts]
        return shown(schedule, concepts, self.plan.effective_batch)
