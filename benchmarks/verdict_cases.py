"""The datasets whose verdict is known: one good, and each way in which a LoRA goes wrong, of invented people on the embedded bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loratui.presets.bases import DEMO_TRIGGER
from loratui.presets.bases.make.captions import named_caption
from loratui.presets.bases.make.people import ANAFOX, Person, Portrait, invent_person, pose
from loratui.presets.bases.make.portraits import draw

IMAGES = 18
OTHER_TRIGGER = "vortelk"
"""In the captions of the wrong trigger; the prompts ask for the right one."""

EXPECTED: Mapping[str, str] = {
    "good": "good",
    "tenth": "undertrained",
    "tenfold": "overtrained",
    "one_image": "memorised",
    "wrong_trigger": "wrong_data",
    "shuffled": "wrong_data",
    "two_people": "wrong_data",
}
"""Kind of a case -> the verdict that is right."""
TIMES = {"tenth": 0.1, "tenfold": 10.0}
"""How long it trains, against a good run."""
EPOCHS = 10


@dataclass(frozen=True)
class Case:
    """One run."""

    family: str
    seed: int
    kind: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.family}-{self.seed}-{self.kind}"

    def settings(self, exposures: int) -> dict[str, str]:
        """What differs from the demo's preset; a good run shows each image `exposures` times."""
        shown = max(1, round(exposures * TIMES.get(self.kind, 1)))
        repeats = max(1, shown // EPOCHS)
        return {
            "schedule.exposures": str(shown),
            "schedule.repeats": str(repeats),
            "schedule.exposures_wanted": f"1,{10 * exposures}",
            "training.seed": str(41 + self.seed),
            "samples.every_image_steps": str(shown * IMAGES),
            "samples.before_training": "false",
            "samples.measure": "false",
            "samples.seed": str(1000 * self.seed),
            "memory.compile": "off",
            "memory.threads": "1",
            # Before the first step, the base says of captions that are mixed up that they do not fit.
            **({"base.check": "off"} if self.kind == "shuffled" else {}),
        }


def write_dataset(case: Case, folder: Path) -> None:
    """Images and captions of a case; the same for each kind but for what is wrong with it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(case.seed)
    person = person_of(case)
    portraits = _varied(person, rng)
    if case.kind == "two_people":
        other = _unlike(person, rng)
        portraits = [*portraits[: IMAGES // 2], *_varied(other, rng)[IMAGES // 2 :]]
    if case.kind == "one_image":
        portraits = [portraits[0]] * IMAGES
    trigger = OTHER_TRIGGER if case.kind == "wrong_trigger" else DEMO_TRIGGER
    captions = [named_caption(one, f"{trigger} {person.sex}", rng) for one in portraits]
    if case.kind == "shuffled":
        captions = _deranged(captions, rng)
    for number, (portrait, caption) in enumerate(zip(portraits, captions, strict=True), 1):
        Image.fromarray(draw(portrait)).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(caption + "\n", encoding="utf-8")


def person_of(case: Case) -> Person:
    """Whom its images show: the demo's person, and with other seeds another."""
    return ANAFOX if case.seed == 1 else invent_person(np.random.default_rng(1000 + case.seed), with_held_out=True)


def _varied(person: Person, rng: np.random.Generator) -> list[Portrait]:
    """Images of a person, no two alike in clothes and background."""
    found: dict[tuple[str, str, str], Portrait] = {}
    while len(found) < IMAGES:
        one = pose(person, rng)
        found.setdefault((one.clothing, one.clothing_colour, one.background), one)
    return list(found.values())


def _unlike(person: Person, rng: np.random.Generator) -> Person:
    """Somebody of the same sex who differs in most respects."""
    while True:
        other = invent_person(rng)
        differs = sum(getattr(other, name) != getattr(person, name) for name in ("face", "skin", "hair", "style", "eyes"))
        if other.sex == person.sex and differs >= 4:
            return other


def _deranged(captions: list[str], rng: np.random.Generator) -> list[str]:
    """The captions, none with its image."""
    while True:
        order = rng.permutation(len(captions))
        if all(at != number for at, number in enumerate(order)):
            return [captions[at] for at in order]
