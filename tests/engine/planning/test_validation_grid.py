"""Which images the validation is made of, and that an image's name stands for all that made it."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.errors import UsageError
from loratui.engine.planning.validation_grid import (
    Cell,
    GridRequest,
    cells,
    image_name,
    prompt_read,
    words,
)
from loratui.presets.schema import Settings, replace

SETTINGS = replace(
    Settings(),
    {
        "dataset.trigger": "qxz",
        "dataset.class_word": "woman",
        "validation.prompts": ["a photo of {subject}", "{trigger}, red  hat"],
        "validation.strengths": [1.0, 0.0, 0.5],
        "validation.seeds": 2,
        "samples.seed": 10,
    },
)
FILES = ["output/qxz-000007.safetensors", "output/qxz-000014.safetensors"]
FINAL = "output/qxz.safetensors"


def planned(wish: GridRequest = GridRequest()) -> list[Cell]:  # noqa: B008 - frozen
    return cells(SETTINGS, wish, files=FILES, final=FINAL, fill=words(SETTINGS))


def test_both_grids_with_the_recipes_prompts_strengths_and_seeds() -> None:
    chosen = planned()
    strengths = [cell for cell in chosen if cell.grid == "strengths"]
    assert [(c.prompt, c.seed, c.strength) for c in strengths[:4]] == [
        ("a photo of qxz woman", 10, 0.0),
        ("a photo of qxz woman", 10, 0.5),
        ("a photo of qxz woman", 10, 1.0),
        ("qxz, red hat", 10, 0.0),
    ]
    assert len(strengths) == 2 * 3 * 2
    assert {c.file for c in strengths if c.strength == 0} == {""}
    assert {c.file for c in strengths if c.strength} == {FINAL}
    epochs = [cell for cell in chosen if cell.grid == "checkpoints"]
    assert [(c.file, c.strength, c.seed) for c in epochs] == [(file, 1.0, 10) for file in FILES for _ in range(2)]


def test_a_wish_says_otherwise() -> None:
    wish = GridRequest(grids=("strengths",), prompts=("{class}",), strengths=(1.5, 1.5), seeds=1)
    assert [(c.prompt, c.strength) for c in planned(wish)] == [("woman", 1.5)]


def test_too_many_images_are_refused() -> None:
    with pytest.raises(UsageError, match="images"):
        planned(GridRequest(seeds=20, strengths=tuple(n / 100 for n in range(100))))


def test_the_base_alone_reads_the_class_word_in_place_of_the_trigger() -> None:
    base, full = planned()[0], planned()[2]
    assert prompt_read(base, SETTINGS) == "a photo of woman"
    assert prompt_read(full, SETTINGS) == "a photo of qxz woman"


def test_an_image_is_named_by_all_that_determines_it() -> None:
    cell = planned()[2]
    name = image_name(cell, SETTINGS, "aa")
    assert name == image_name(changed(cell, grid="checkpoints", file="elsewhere"), SETTINGS, "aa")
    others = {
        image_name(changed(cell, seed=11), SETTINGS, "aa"),
        image_name(changed(cell, strength=0.5), SETTINGS, "aa"),
        image_name(changed(cell, prompt="else"), SETTINGS, "aa"),
        image_name(cell, SETTINGS, "bb"),
        image_name(cell, replace(SETTINGS, {"samples.steps": 21}), "aa"),
        image_name(cell, replace(SETTINGS, {"samples.guidance": 3.0}), "aa"),
        image_name(cell, replace(SETTINGS, {"samples.width": 768}), "aa"),
        image_name(cell, replace(SETTINGS, {"base.clip_skip": 2}), "aa"),
        image_name(cell, replace(SETTINGS, {"base.model": "other"}), "aa"),
    }
    assert len(others | {name}) == 10


@given(
    st.builds(
        GridRequest,
        grids=st.sampled_from([("strengths",), ("checkpoints",), ("strengths", "checkpoints")]),
        file=st.none() | st.text(),
        prompts=st.none() | st.lists(st.text(), min_size=1).map(tuple),
        strengths=st.none() | st.lists(st.floats(0, 4), min_size=1).map(tuple),
        seeds=st.none() | st.integers(1, 20),
    )
)
def test_a_wish_comes_back_from_its_file(wish: GridRequest) -> None:
    import json

    assert GridRequest.from_json(json.loads(json.dumps(wish.to_json()))) == wish


@pytest.mark.parametrize("table", [{}, [], {"format": 2, "grids": 3}, {"format": 2, "grids": [], "seeds": "x"}, {"format": 99}])
def test_a_damaged_wish_is_refused(table: object) -> None:
    with pytest.raises(UsageError):
        GridRequest.from_json(table)  # type: ignore[arg-type]
