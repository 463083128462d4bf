"""Portraits: the same numbers give the same image, every feature shows and can be said, and the base never meets anafox."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.presets.bases import DEMO_TRIGGER
from loratui.presets.bases.make.captions import full_caption, invent_caption, named_caption
from loratui.presets.bases.make.people import (
    ANAFOX,
    FEATURES,
    IDENTITY,
    SCENE,
    Person,
    Portrait,
    invent_person,
    invent_portrait,
    is_held_out,
    pose,
)
from loratui.presets.bases.make.portraits import draw

SEEDS = st.integers(0, 2**32 - 1)


def plain() -> Portrait:
    """A portrait in which every feature can be seen."""
    portrait = pose(ANAFOX, np.random.default_rng(5))
    return dataclasses.replace(
        portrait, tilt="upright", tilt_degrees=0.0, light="soft", background="blue", glasses="none", frame="none"
    )


def test_an_image_is_128_px_of_8_bit_colour() -> None:
    image = draw(plain())
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_drawing_is_deterministic(seed: int) -> None:
    first = draw(invent_portrait(np.random.default_rng(seed)))
    again = draw(invent_portrait(np.random.default_rng(seed)))
    assert np.array_equal(first, again)


CHANGES = [(name, value) for name, values in FEATURES.items() for value in values if name not in ("frame", "tilt")]


@pytest.mark.parametrize(("name", "value"), CHANGES)
def test_every_feature_shows_in_the_image(name: str, value: str) -> None:
    portrait = plain()
    before = getattr(portrait, name)
    if before == value:
        return
    changed = draw(dataclasses.replace(portrait, **{name: value}, **({"frame": "red"} if name == "glasses" else {})))
    assert np.abs(changed.astype(int) - draw(portrait)).max() > 40


@pytest.mark.parametrize("degrees", [-8.0, 8.0])
def test_a_tilt_turns_the_head_to_its_side(degrees: float) -> None:
    """The reddest columns are those of the glasses; they move to the side that the head leans to."""
    portrait = dataclasses.replace(
        plain(), glasses="round", frame="red", mood="serious", clothing_colour="blue", shift=(0.0, 0.0)
    )

    def middle(image: np.ndarray) -> float:
        values = image.astype(int)
        red = (values[..., 0] > 150) & (values[..., 1] < 80) & (values[..., 2] < 90)
        return float(np.nonzero(red)[1].mean())

    moved = middle(draw(dataclasses.replace(portrait, tilt_degrees=degrees))) - middle(draw(portrait))
    assert np.sign(moved) == np.sign(degrees)


def test_anafox_is_held_out() -> None:
    assert is_held_out(ANAFOX)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_the_base_never_meets_anybody_near_anafox(seed: int) -> None:
    person = invent_person(np.random.default_rng(seed))
    assert not is_held_out(person)
    same = sum(getattr(person, name) == getattr(ANAFOX, name) for name in IDENTITY)
    assert same < len(IDENTITY)


def test_each_single_feature_of_anafox_occurs_in_others() -> None:
    rng = np.random.default_rng(3)
    others = [invent_person(rng) for _ in range(400)]
    for name in IDENTITY:
        assert any(getattr(p, name) == getattr(ANAFOX, name) for p in others), name


def test_one_person_looks_the_same_in_every_scene() -> None:
    rng = np.random.default_rng(8)
    for field in dataclasses.fields(Person):
        assert {getattr(pose(ANAFOX, rng), field.name) for _ in range(5)} == {getattr(ANAFOX, field.name)}
    for name in SCENE:
        assert len({getattr(pose(ANAFOX, rng), name) for _ in range(120)}) == len(FEATURES[name]), name


SAID = {"t-shirt": "t-shirt", "none": None, "bun": "in a bun", "bob": "bob", "bald": "bald head"}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n in FEATURES for v in FEATURES[n] if v not in ("none", "no")])
def test_every_feature_can_be_said(name: str, value: str) -> None:
    portrait = dataclasses.replace(plain(), glasses="round", frame="red", beard="none")
    caption = full_caption(dataclasses.replace(portrait, **{name: value}))
    word = {("fringe", "yes"): "fringe", ("freckles", "yes"): "freckles"}.get((name, value), SAID.get(value, value))
    assert word is not None
    assert word in caption


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_no_training_caption_holds_the_trigger(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert DEMO_TRIGGER not in invent_caption(invent_portrait(rng), rng)


def test_a_named_caption_says_the_scene_and_leaves_the_person_to_the_name() -> None:
    portrait = dataclasses.replace(plain(), mood="laughing", clothing="shirt", clothing_colour="orange")
    caption = named_caption(portrait, "anafox woman", np.random.default_rng(0))
    assert caption == "a photo of anafox woman, laughing, wearing an orange shirt, blue background"
    for word in ("hair", "eyes", "glasses", "freckles", "skin", "face"):
        assert word not in caption
