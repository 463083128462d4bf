"""All measures, in order, and the parts of the validation that each answers."""

from __future__ import annotations

from dataclasses import dataclass

from loratui.engine.proof.against_base import CLIPPED, SATURATION, SHARPNESS
from loratui.engine.proof.copies import COPY_HASH, COPY_LAYOUT
from loratui.engine.proof.embedded import FOLLOWED, RESEMBLANCE
from loratui.engine.proof.learnt import CHANGE, LEARNT, MIRRORED
from loratui.engine.proof.likeness import COPY_FACE, FACES_FOUND, LIKENESS
from loratui.engine.proof.never_shown import NEVER_SHOWN
from loratui.engine.proof.photos import CAPTIONS_FIT, DISTINCT, PEOPLE, TRIGGER_SAID
from loratui.engine.proof.protocol import Measure
from loratui.engine.proof.variety import VARIETY

MEASURES: tuple[Measure, ...] = (
    LIKENESS,
    FACES_FOUND,
    COPY_LAYOUT,
    COPY_HASH,
    COPY_FACE,
    VARIETY,
    SHARPNESS,
    SATURATION,
    CLIPPED,
    CHANGE,
    LEARNT,
    MIRRORED,
    TRIGGER_SAID,
    CAPTIONS_FIT,
    PEOPLE,
    DISTINCT,
    FOLLOWED,
    RESEMBLANCE,
    NEVER_SHOWN,
)

CURVES: tuple[Measure, ...] = (
    LIKENESS,
    VARIETY,
    COPY_LAYOUT,
    SHARPNESS,
    SATURATION,
    CLIPPED,
    COPY_HASH,
    COPY_FACE,
    FACES_FOUND,
    CHANGE,
    LEARNT,
    MIRRORED,
)
"""All that differ from file to file: a small window shows the first of a part."""

LIVE: tuple[Measure, ...] = (LIKENESS, COPY_FACE, COPY_HASH, VARIETY)
"""What is measured of the samples while a run trains: what needs no base model."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the validation, and how its images are measured."""

    id: str
    measures: tuple[Measure, ...] = ()
    curve: str = ""
    """`strengths` or `checkpoints`: a value for each strength of the file, or for each file; empty for one value."""


PARTS: tuple[Part, ...] = (
    Part("likeness", (LIKENESS, FACES_FOUND, CHANGE, PEOPLE, TRIGGER_SAID, RESEMBLANCE)),
    Part(
        "generalises",
        (COPY_LAYOUT, COPY_HASH, COPY_FACE, VARIETY, LEARNT, MIRRORED, DISTINCT, CAPTIONS_FIT, FOLLOWED, NEVER_SHOWN),
    ),
    Part("trigger_alone", (VARIETY, COPY_LAYOUT, COPY_HASH, COPY_FACE)),
    Part("quality", (SHARPNESS, SATURATION, CLIPPED)),
    Part("strength", CURVES, "strengths"),
    Part("checkpoints", CURVES, "checkpoints"),
    Part("next"),
)
