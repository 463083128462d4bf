"""What a careful trainer would say about a plan: each warning with its reason, its source, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loratui.presets.schema import Settings

if TYPE_CHECKING:
    from loratui.engine.planning.schedule import Plan


@dataclass(frozen=True)
class Advice:
    """A warning about a plan."""

    code: str
    message: str
    remedy: str
    source: str
    """`guide 000` … `guide 004`, or `loratui`."""


def judge(settings: Settings, plan: Plan) -> Iterator[Advice]:
    """Everything about a plan that a guide warns of."""
    yield from _images(settings, plan)


def _images(settings: Settings, plan: Plan) -> Iterator[Advice]:
    least, most = settings.dataset.images_wanted
    if plan.images < least:
        yield Advice(
            "too_few_images",
            f"{plan.images} pictures are fewer than the {least} to {most} that this recipe works with.",
            "Add pictures, or expect little variety.",
            "loratui",
        )
    elif plan.images > most:
        yield Advice(
            "too_many_images",
            f"{plan.images} pictures are more than the {least} to {most} that this recipe works with.",
            "Keep the best; more pictures cost time and rarely help.",
            "loratui",
        )
