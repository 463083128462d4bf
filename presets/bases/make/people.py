"""What a portrait is made of: the values of every feature, how people are invented, and the person whom the base never sees."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SKINS: dict[str, Colour] = {
    "pale": (253, 229, 217),
    "fair": (240, 198, 166),
    "tan": (202, 146, 100),
    "brown": (144, 92, 60),
    "dark": (86, 54, 40),
}
HAIRS: dict[str, Colour] = {
    "black": (30, 28, 34),
    "brown": (102, 62, 34),
    "blond": (234, 196, 98),
    "red": (190, 66, 26),
    "grey": (140, 142, 150),
    "white": (240, 240, 238),
    "blue": (48, 92, 210),
    "pink": (242, 122, 180),
    "green": (52, 152, 78),
}
EYES: dict[str, Colour] = {
    "brown": (96, 54, 22),
    "blue": (40, 110, 230),
    "green": (34, 160, 66),
    "amber": (232, 150, 16),
    "grey": (140, 150, 160),
}
FRAMES: dict[str, Colour] = {"black": (22, 22, 28), "red": (214, 26, 40), "blue": (24, 70, 200)}
CLOTH_COLOURS: dict[str, Colour] = {
    "red": (206, 42, 44),
    "blue": (40, 84, 200),
    "green": (40, 146, 70),
    "yellow": (246, 208, 50),
    "black": (36, 36, 42),
    "white": (242, 242, 242),
    "purple": (130, 62, 178),
    "orange": (246, 136, 32),
}
WALLS: dict[str, Colour] = {
    "red": (214, 84, 80),
    "blue": (96, 156, 226),
    "green": (120, 190, 122),
    "yellow": (250, 226, 120),
    "grey": (160, 164, 168),
    "white": (244, 244, 246),
    "purple": (170, 122, 206),
    "orange": (248, 172, 96),
    "pink": (250, 186, 208),
}
SCENES = ("beach", "forest", "city", "mountains")
HAIR_STYLES = {"woman": ("long", "bob", "curly", "bun", "short"), "man": ("short", "curly", "spiky", "long", "bald")}

FEATURES: dict[str, tuple[str, ...]] = {
    "sex": ("woman", "man"),
    "face": ("oval", "round", "square", "long"),
    "skin": tuple(SKINS),
    "hair": tuple(HAIRS),
    "style": ("long", "bob", "curly", "bun", "short", "spiky", "bald"),
    "fringe": ("no", "yes"),
    "eyes": tuple(EYES),
    "brows": ("thin", "thick", "arched"),
    "glasses": ("none", "round", "square"),
    "frame": ("none", *FRAMES),
    "freckles": ("no", "yes"),
    "beard": ("none", "beard", "moustache"),
    "mood": ("smiling", "serious", "laughing", "surprised"),
    "clothing": ("t-shirt", "sweater", "shirt", "hoodie"),
    "clothing_colour": tuple(CLOTH_COLOURS),
    "background": (*WALLS, *SCENES),
    "light": ("left", "right", "soft"),
    "tilt": ("upright", "left", "right"),
}
"""Every feature that has a name, with its values; the reader has one output for each."""

IDENTITY = ("sex", "face", "skin", "hair", "style", "fringe", "eyes", "brows", "glasses", "frame", "freckles")
"""The features that make a person; likeness is the share of them that is read right."""

SCENE = ("mood", "clothing", "clothing_colour", "background", "light", "tilt")
"""The features that change from image to image of one person."""


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """One image in words and numbers: the named features, and small chance differences that have no name."""

    sex: str
    face: str
    skin: str
    hair: str
    style: str
    fringe: str
    eyes: str
    brows: str
    glasses: str
    frame: str
    freckles: str
    beard: str
    mood: str
    clothing: str
    clothing_colour: str
    background: str
    light: str
    tilt: str
    tilt_degrees: float
    """Degrees, clockwise positive."""
    shift: tuple[float, float]
    """Where the head is, as a share of the image's side, from its usual place."""
    zoom: float
    build: tuple[float, float, float, float]
    """Differences of face width, face height, nose length and mouth width, each -1 to 1."""
    seed: int
    """Seed of the scenery behind the person."""

    def labels(self) -> list[int]:
        """The index of each feature's value, in the order of `FEATURES`."""
        return [values.index(getattr(self, name)) for name, values in FEATURES.items()]


@dataclass(frozen=True, kw_only=True)
class Person:
    """What stays the same in all images of one person."""

    sex: str
    face: str
    skin: str
    hair: str
    style: str
    fringe: str
    eyes: str
    brows: str
    glasses: str
    frame: str
    freckles: str
    beard: str
    build: tuple[float, float, float, float]


ANAFOX = Person(
    sex="woman",
    face="square",
    skin="tan",
    hair="white",
    style="bob",
    fringe="yes",
    eyes="green",
    brows="thick",
    glasses="round",
    frame="red",
    freckles="yes",
    beard="none",
    build=(0.5, -0.2, -0.4, 0.6),
)
"""The invented person. Each single feature occurs in the base's training; the combination never does."""


def is_held_out(person: Person) -> bool:
    """Whether somebody comes so near to `anafox` that the base must not see them."""
    near = (person.style == "bob", person.frame == "red", person.freckles == "yes", person.eyes == "green")
    return person.hair == "white" and person.glasses == "round" and any(near)


def invent_person(rng: np.random.Generator, *, with_held_out: bool = False) -> Person:
    """A person by chance, drawn again for as long as it is one that the base must not see."""
    while True:
        sex = _choose(rng, FEATURES["sex"])
        style = _choose(rng, HAIR_STYLES[sex])
        glasses = _choose(rng, FEATURES["glasses"], (0.46, 0.27, 0.27))
        person = Person(
            sex=sex,
            face=_choose(rng, FEATURES["face"]),
            skin=_choose(rng, FEATURES["skin"]),
            hair=_choose(rng, FEATURES["hair"]),
            style=style,
            fringe="yes" if style in ("long", "bob", "bun") and rng.random() < 0.45 else "no",
            eyes=_choose(rng, FEATURES["eyes"]),
            brows=_choose(rng, FEATURES["brows"]),
            glasses=glasses,
            frame="none" if glasses == "none" else _choose(rng, tuple(FRAMES)),
            freckles="yes" if rng.random() < 0.33 else "no",
            beard=_choose(rng, FEATURES["beard"], (0.5, 0.3, 0.2)) if sex == "man" else "none",
            build=_four(rng),
        )
        if with_held_out or not is_held_out(person):
            return person


def pose(person: Person, rng: np.random.Generator) -> Portrait:
    """The person in clothes, mood, light and surroundings by chance."""
    tilt = _choose(rng, FEATURES["tilt"], (0.56, 0.22, 0.22))
    lean = {"upright": rng.uniform(-1.5, 1.5), "left": rng.uniform(-10, -7), "right": rng.uniform(7, 10)}[tilt]
    return Portrait(
        **{f.name: getattr(person, f.name) for f in dataclasses.fields(person)},
        mood=_choose(rng, FEATURES["mood"]),
        clothing=_choose(rng, FEATURES["clothing"]),
        clothing_colour=_choose(rng, FEATURES["clothing_colour"]),
        background=_choose(rng, tuple(WALLS)) if rng.random() < 0.68 else _choose(rng, SCENES),
        light=_choose(rng, FEATURES["light"]),
        tilt=tilt,
        tilt_degrees=float(lean),
        shift=(float(rng.uniform(-0.025, 0.025)), float(rng.uniform(-0.012, 0.012))),
        zoom=float(rng.uniform(0.97, 1.03)),
        seed=int(rng.integers(1 << 30)),
    )


def invent_portrait(rng: np.random.Generator, *, with_held_out: bool = False) -> Portrait:
    """An image of somebody by chance."""
    return pose(invent_person(rng, with_held_out=with_held_out), rng)


def _choose(rng: np.random.Generator, values: tuple[str, ...], shares: tuple[float, ...] | None = None) -> str:
    return values[int(rng.choice(len(values), p=shares))]


def _four(rng: np.random.Generator) -> tuple[float, float, float, float]:
    a, b, c, d = (float(v) for v in rng.uniform(-1, 1, 4))
    return a, b, c, d
