"""Which images answer which part of the validation, how they are listed and merged, and what a similarity is called."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.runs.lora_files import LoraFiles
from loratui.engine.runs.records import Image
from loratui.tui.validation.grid_images import (
    Slot,
    Subject,
    likely_strength,
    likeness,
    merged,
    read_listed,
    table,
    training_paths,
    without_common_start,
)
from loratui.tui.widgets.image_table import LEAST_WIDTH

FINAL = "output/anafox.safetensors"
STEPS = {f"output/anafox-{step:06d}.safetensors": step for step in (90, 180, 1000)}
SUBJECT = Subject("anafox", "woman", 1.0, LoraFiles(tuple(STEPS), tuple(STEPS), FINAL, STEPS))


def slot(prompt: str, strength: float, seed: int = 7, file: str = FINAL, grid: str = "strengths", **more: object) -> Slot:
    path = f"validation/{prompt}-{strength}-{seed}-{Path(file).stem}.png"
    return Slot(grid, prompt, seed, file if strength else "", strength, path, **more)  # type: ignore[arg-type]


GRID = [
    slot(prompt, strength, seed) for prompt in ("anafox", "in a red coat") for seed in (7, 8) for strength in (0, 0.5, 1, 1.5)
]


def test_likeness_is_the_likely_strength_over_the_prompts() -> None:
    shown = table("likeness", GRID, SUBJECT)
    assert shown.columns == ("anafox", "in a red coat")
    assert [row.title for row in shown.rows] == ["seed 7  anafox.safetensors", "seed 8  anafox.safetensors"]
    assert {tile.slot.strength for tile in shown.tiles} == {1}


def test_the_trigger_alone_is_told_from_other_prompts() -> None:
    assert [row.title for row in table("trigger_alone", GRID, SUBJECT).rows] == ["anafox  anafox.safetensors"]
    assert table("trigger_alone", GRID, SUBJECT).columns == ("seed 7", "seed 8")
    assert {tile.slot.prompt for tile in table("generalises", GRID, SUBJECT).tiles} == {"in a red coat"}


@pytest.mark.parametrize(
    ("prompt", "alone"),
    [
        ("anafox portrait photo", True),
        ("a picture of anafox", True),
        ("an image of anafox", True),
        ("a photo of anafox woman", True),
        ("score_9, score_8_up, anafox, portrait, photo", True),
        ("anafox", True),
        ("a photo of anafox woman in the rain", False),
        ("portrait photo", False),
        ("", False),
    ],
)
def test_what_counts_as_the_trigger_alone(prompt: str, alone: bool) -> None:
    assert is_trigger_alone(prompt, SUBJECT.trigger, SUBJECT.class_word) is alone


def test_without_a_trigger_nothing_is_the_trigger_alone() -> None:
    assert not is_trigger_alone("a photo", "", "")


def test_a_made_image_stands_beside_the_photo_that_it_is_like() -> None:
    shown = table("generalises", [slot("a coat", 1, made=True, nearest="x.png", similarity=0.9), slot("a hat", 1)], SUBJECT)
    first, second = shown.rows
    assert [tile.training for tile in first.tiles if tile] == [False, True]
    assert second.tiles[1] is None


def test_the_base_stands_beside_the_lora_at_the_same_prompt_and_seed() -> None:
    for row in table("quality", GRID, SUBJECT).rows:
        base, lora = row.tiles
        assert base is not None
        assert lora is not None
        assert (base.slot.prompt, base.slot.seed) == (lora.slot.prompt, lora.slot.seed)
        assert (base.slot.strength, lora.slot.strength) == (0, 1)


def test_strengths_of_two_files_are_rows_of_their_own_and_share_the_base() -> None:
    other = "output/anafox-000090.safetensors"
    shown = table("strength", [slot("a", 0), slot("a", 1), slot("a", 1, file=other)], SUBJECT)
    assert shown.columns == ("0, no LoRA", "strength 1")
    assert [row.title for row in shown.rows] == ["seed 7  a  anafox.safetensors", "seed 7  a  step 90"]
    assert all(row.tiles[0] is not None and not row.tiles[0].slot.strength for row in shown.rows)


def test_epochs_are_in_order_after_the_base() -> None:
    files = [f"output/anafox-{step:06d}.safetensors" for step in (180, 90, 1000)]
    shown = table("checkpoints", [slot("a", 0), *(slot("a", 1, file=f, grid="checkpoints") for f in files)], SUBJECT)
    assert shown.columns == ("the base", "step 90", "step 180", "step 1000")
    assert next(tile.slot.path for tile in shown.tiles).endswith("0-7-anafox.png")


@pytest.mark.parametrize(
    "part", ["likeness", "generalises", "trigger_alone", "quality", "strength", "checkpoints", "next", "?"]
)
def test_no_images_and_only_the_bases_make_tables_without_a_fault(part: str) -> None:
    for slots in ([], [slot("a", 0)]):
        shown = table(part, slots, SUBJECT)
        assert all(len(row.tiles) == len(shown.columns) for row in shown.rows)


def test_the_likely_strength_is_the_nearest_that_was_made() -> None:
    assert likely_strength([slot("a", 0), slot("a", 0.8), slot("a", 1.2)], Subject(likely_strength=0.85)) == 0.8
    assert likely_strength([slot("a", 0)], SUBJECT) is None


def _image(of: Slot, **more: object) -> Image:
    return Image(of.path, of.prompt, of.strength, of.seed, of.grid, of.file, **more)  # type: ignore[arg-type]


def test_listed_images_are_filled_in_and_earlier_ones_stay() -> None:
    listed = [slot("a", 0), slot("a", 1)]
    written = [_image(slot("old", 1)), _image(listed[1], nearest="x.png", similarity=0.5), _image(listed[1])]
    found = merged(listed, written)
    assert [(s.prompt, s.strength, s.made) for s in found] == [("a", 0, False), ("a", 1, True), ("old", 1, True)]
    assert (found[1].nearest, found[1].similarity) == ("x.png", 0.5), "told again without it, but it is the same file"


def test_an_image_of_both_grids_is_compared_once() -> None:
    one = slot("a", 1)
    other = Slot("checkpoints", "a", 7, FINAL, 1, one.path)
    found = merged([], [_image(one, nearest="x.png", similarity=0.5), _image(other)])
    assert [s.nearest for s in found] == ["x.png", "x.png"]


def test_images_that_cannot_be_placed_are_left_out() -> None:
    assert merged([], [Image("p", "a", math.nan, 1), Image("", "a", 1.0, 1)]) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": 3}', '{"images": [1, {}, {"path": "x"}]}', "[" * 5000])
def test_a_damaged_list_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "grid.json"
    path.write_text(content)
    assert read_listed(path) == []


def test_the_list_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    row = {"path": "p", "grid": "strengths", "prompt": "a", "seed": 7, "file": "f", "strength": 1}
    rows = [row, row | {"strength": None}, row | {"strength": True}, row | {"path": "q", "strength": 0.5}]
    path.write_text(json.dumps({"format": 2, "images": rows}))
    assert [(s.path, s.strength, s.made) for s in read_listed(path)] == [("p", 1.0, False), ("q", 0.5, False)]


def test_prompts_are_told_apart_by_what_differs() -> None:
    prompts = ["a photo of ana in red", "a photo of ana in blue", "a photo of ana"]
    assert without_common_start(prompts) == ["… in red", "… in blue", "a photo of ana"]
    assert without_common_start(["one only"]) == ["one only"]
    assert without_common_start([]) == []


@pytest.mark.parametrize(
    ("similarity", "word"),
    [
        (1.0, "nearly the same"),
        (0.95, "nearly the same"),
        (0.94, "very like"),
        (0.8, "a bit like"),
        (-1, "unlike"),
        (None, "not compared"),
    ],
)
def test_a_similarity_in_words(similarity: float | None, word: str) -> None:
    assert likeness(similarity).word == word
    assert len(f"▸0.00 {likeness(similarity).short}") <= LEAST_WIDTH


def test_training_images_are_found_by_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "dataset.json"
    rows = [
        {"relative": "a.png", "path": "/photos/a.png"},
        {"relative": "b.png", "path": "made/b.png"},
        {"relative": 3, "path": "x"},
    ]
    ledger.write_text(json.dumps({"images": rows}))
    assert training_paths(ledger) == {"a.png": Path("/photos/a.png"), "b.png": tmp_path / "made" / "b.png"}
    ledger.write_text("{}")
    assert training_paths(ledger) == {}
