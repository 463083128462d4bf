"""Says a `Portrait` in words: by chance and incompletely for training, in full for measuring, by name for a person's dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loratui.presets.bases.make.people import SCENES, Portrait

Pick = Callable[..., str]

_BACKGROUNDS = {
    "beach": ("on a beach", "at the beach", "beach background", "by the sea"),
    "forest": ("in a forest", "in the woods", "forest background", "among trees"),
    "city": ("in a city at night", "city at night", "city background", "in front of buildings at night"),
    "mountains": ("in the mountains", "mountains in the background", "mountain background", "mountain landscape"),
}
_MOODS = {
    "smiling": ("smiling", "with a smile", "happy", "a gentle smile"),
    "serious": ("serious", "with a serious face", "not smiling", "a serious expression"),
    "laughing": ("laughing", "laughing out loud", "with a big laugh", "a laughing face"),
    "surprised": ("surprised", "looking surprised", "with a surprised look", "amazed"),
}
_LIGHTS = {
    "left": ("light from the left", "lit from the left"),
    "right": ("light from the right", "lit from the right"),
    "soft": ("soft light", "even light"),
}
_TILTS = {
    "left": ("head tilted to the left", "head tilted left", "leaning left"),
    "right": ("head tilted to the right", "head tilted right", "leaning right"),
    "upright": ("head upright", "facing the camera", "straight head"),
}
_FACES = {
    "oval": ("oval face",),
    "round": ("round face", "a round face"),
    "square": ("square face", "a square jaw"),
    "long": ("long face", "narrow face"),
}
_BROWS = {
    "thin": ("thin eyebrows", "thin brows"),
    "thick": ("thick eyebrows", "bushy eyebrows", "thick brows"),
    "arched": ("arched eyebrows", "arched brows"),
}
_STYLES = {
    "long": ("long {} hair", "{} long hair"),
    "bob": ("a {} bob", "a {} bob haircut", "bobbed {} hair"),
    "curly": ("curly {} hair", "{} curls"),
    "bun": ("{} hair in a bun", "a {} bun"),
    "short": ("short {} hair", "{} short hair"),
    "spiky": ("spiky {} hair", "{} spikes"),
}
_SUBJECTS = {"woman": ("woman", "woman", "woman", "lady"), "man": ("man", "man", "man", "guy")}
_OPENINGS = ("a photo of ", "a portrait of ", "a picture of ", "photo of ", "portrait of ", "a drawing of ", "")


def invent_caption(portrait: Portrait, rng: np.random.Generator) -> str:
    """A caption by chance: parts are left out, worded differently and put in any order.

    Some captions carry a made-up name, alone or in front of the noun, so that strange letters mean nobody in particular to the base.
    """

    def pick(*options: str) -> str:
        return options[int(rng.integers(len(options)))]

    noun = pick(*_SUBJECTS[portrait.sex]) if rng.random() < 0.92 else "person"
    chance = rng.random()
    if chance < 0.12:
        subject = f"{_invent_name(rng)} {noun}"
    elif chance < 0.17:
        subject = _invent_name(rng)
    else:
        subject = f"a {noun}"
    parts = _scene_parts(portrait, rng, pick)
    # A caption with a name often says no more of the person, as a dataset's own captions do.
    if chance >= 0.17 or rng.random() < 0.4:
        subject, said = _person_parts(portrait, subject, rng, pick)
        parts += said
    rng.shuffle(parts)
    return ", ".join([pick(*_OPENINGS) + subject, *parts])


def full_caption(portrait: Portrait) -> str:
    """A caption that says every feature, always in the same words and order."""
    p = portrait
    hair = _hair_words(p, lambda *options: options[0]) + (" and a fringe" if p.fringe == "yes" else "")
    parts = [f"a photo of a {p.sex} with {hair}", f"{p.face} face", f"{p.skin} skin", f"{p.eyes} eyes", f"{p.brows} eyebrows"]
    parts.append(f"{p.glasses} {p.frame} glasses" if p.glasses != "none" else "no glasses")
    if p.freckles == "yes":
        parts.append("freckles")
    if p.beard != "none":
        parts.append(f"a {p.beard}")
    parts += [p.mood, f"wearing {_clothes(p)}", _background_words(p), _LIGHTS[p.light][0], _TILTS[p.tilt][0]]
    return ", ".join(parts)


def named_caption(portrait: Portrait, subject: str, rng: np.random.Generator) -> str:
    """A caption as a person would write it for a dataset of `subject`: what changes is said, who it is the name says."""
    parts = [portrait.mood, f"wearing {_clothes(portrait)}", _background_words(portrait)]
    if portrait.light != "soft":
        parts.append(_LIGHTS[portrait.light][0])
    if portrait.tilt != "upright" and rng.random() < 0.6:
        parts.append(_TILTS[portrait.tilt][0])
    return ", ".join([f"a photo of {subject}", *parts])


def _clothes(portrait: Portrait) -> str:
    return f"{_article(portrait.clothing_colour)} {portrait.clothing_colour} {portrait.clothing}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _background_words(portrait: Portrait) -> str:
    if portrait.background in SCENES:
        return _BACKGROUNDS[portrait.background][0]
    return f"{portrait.background} background"


def _hair_words(portrait: Portrait, pick: Pick) -> str:
    if portrait.style == "bald":
        return pick("a bald head", "no hair")
    return pick(*_STYLES[portrait.style]).format(portrait.hair)


def _scene_parts(portrait: Portrait, rng: np.random.Generator, pick: Pick) -> list[str]:
    parts = []
    if rng.random() < 0.85:
        parts.append(pick(*_MOODS[portrait.mood]))
    if rng.random() < 0.85:
        parts.append(pick("", "wearing ", "in ", "dressed in ") + _clothes(portrait))
    if rng.random() < 0.85:
        if portrait.background in SCENES:
            parts.append(pick(*_BACKGROUNDS[portrait.background]))
        else:
            start = pick("", "in front of {} ", "against {} ", "plain ").format(_article(portrait.background))
            parts.append(f"{start}{portrait.background} {pick('background', 'background', 'wall', 'backdrop')}")
    if rng.random() < 0.4:
        parts.append(pick(*_LIGHTS[portrait.light]))
    if rng.random() < (0.45 if portrait.tilt != "upright" else 0.2):
        parts.append(pick(*_TILTS[portrait.tilt]))
    return parts


def _person_parts(portrait: Portrait, subject: str, rng: np.random.Generator, pick: Pick) -> tuple[str, list[str]]:
    parts = []
    if rng.random() < 0.88:
        hair = _hair_words(portrait, pick)
        if portrait.style != "bald" and rng.random() < 0.12:
            hair = f"{portrait.hair} hair"
        if portrait.fringe == "yes" and rng.random() < 0.7:
            hair += pick(" and a fringe", " with a fringe", " and bangs")
        if rng.random() < 0.5:
            subject += f" with {hair}"
        else:
            parts.append(hair)
    if rng.random() < 0.5:
        parts.append(f"{portrait.eyes} eyes")
    if rng.random() < 0.4:
        parts.append(f"{portrait.skin} skin")
    if rng.random() < 0.4:
        parts.append(pick(*_FACES[portrait.face]))
    if rng.random() < 0.4:
        parts.append(pick(*_BROWS[portrait.brows]))
    if portrait.glasses != "none":
        if rng.random() < 0.88:
            look = pick("", f"{portrait.glasses} ", f"{portrait.frame} ", *[f"{portrait.glasses} {portrait.frame} "] * 3)
            parts.append(f"{pick('', 'wearing ', 'with ')}{look}{pick('glasses', 'glasses', 'spectacles')}")
    elif rng.random() < 0.3:
        parts.append(pick("no glasses", "without glasses"))
    if portrait.freckles == "yes":
        if rng.random() < 0.85:
            parts.append(pick("freckles", "freckles", "freckled skin", "with freckles"))
    elif rng.random() < 0.08:
        parts.append("no freckles")
    if portrait.beard != "none":
        if rng.random() < 0.85:
            parts.append(pick("a ", "with a ") + pick(portrait.beard, {"beard": "full beard"}.get(portrait.beard, "mustache")))
    elif portrait.sex == "man" and rng.random() < 0.12:
        parts.append(pick("clean-shaven", "no beard"))
    return subject, parts


def _invent_name(rng: np.random.Generator) -> str:
    """Four to eight letters, half the time such that they can be spoken; never near the demo's trigger."""
    while True:
        length = int(rng.integers(4, 9))
        if rng.random() < 0.5:
            name = "".join(str(rng.choice(list("aeiou" if k % 2 else "bcdfghjklmnprstvwxz"))) for k in range(length))
        else:
            name = "".join(str(rng.choice(list("abcdefghijklmnopqrstuvwxyz"))) for _ in range(length))
        if "ana" not in name and "fox" not in name:
            return name
