"""Two LoRA files side by side: pairs, votes, and what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import FINAL, TEMPLATES, FakeTrainer, check_cell, finished_run, list_grid, write_grid
from PIL import Image

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.validation_grid import GridRequest, cells, words
from loratui.engine.proof.needed import wanted
from loratui.engine.proof.notes import Checklist, update
from loratui.engine.proof.side_by_side import (
    Pair,
    Votes,
    by_chance,
    figures_of,
    pairs_of,
    read_votes,
    sheet,
    side_of,
    vote,
    votes_path,
)
from loratui.engine.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """With images of every epoch."""
    made = finished_run(tmp_path)
    write_grid(made, epochs=True)
    return made


def test_two_files_of_a_run_are_paired_by_prompt_and_seed(run: RunDirectory) -> None:
    first, second = side_of(run, "450"), side_of(run, "anafox-000900.safetensors")
    assert (first.title, second.file) == (f"{run.name}, step 450", "output/anafox-000900.safetensors")
    found = pairs_of(first, second)
    assert [pair.seed for pair in found] == [1000] * len(TEMPLATES)
    assert all("000450" in pair.images[0].name and "000900" in pair.images[1].name for pair in found)
    (run.path / found[0].images[1]).unlink()
    assert pairs_of(first, second) == found[1:], "an image that is gone has no pair"


def test_files_of_two_runs_are_paired_whatever_their_triggers_are(run: RunDirectory, tmp_path: Path) -> None:
    other = finished_run(tmp_path, "other")
    changed = read_recipe(other.effective).with_changes({"dataset.trigger": "qxz", "output.name": "anafox"})
    durable.write_file(other.effective, changed.to_toml().encode())
    made = [{**check_cell("", 1.0), "prompt": prompt} for prompt in (t.replace("{subject}", "qxz woman") for t in TEMPLATES)]
    list_grid(other, made)
    with FakeTrainer(other, "validate") as trainer:
        for cell in made:
            trainer.image(**{name: cell[name] for name in ("prompt", "strength", "seed", "grid", "file")})
    found = pairs_of(side_of(run), side_of(other))
    assert [pair.prompt for pair in found] == [t.replace("{subject}", "anafox woman") for t in TEMPLATES]


def test_the_chosen_file_is_meant_before_the_finished_one_and_what_is_not_there_is_said(run: RunDirectory) -> None:
    assert side_of(run).file == FINAL
    update(run.validation / "checklist.json", lambda kept: kept.choose("output/anafox-000450.safetensors"))
    assert side_of(run).file == "output/anafox-000450.safetensors"
    with pytest.raises(UsageError, match=r"has no LoRA file 451\. There are: step 90, step 180"):
        side_of(run, "451")
    assert Checklist().chosen == ""


def test_votes_are_kept_taken_back_and_counted(run: RunDirectory) -> None:
    sides = side_of(run, "450"), side_of(run, "900")
    pairs, path = pairs_of(*sides), votes_path(*sides)
    assert read_votes(path) == Votes()
    assert Votes().of(pairs) == {"first": 0, "second": 0, "equal": 0, "open": 2}
    vote(path, *sides, pairs[0], "first")
    assert vote(path, *sides, pairs[1], "equal").of(pairs) == {"first": 1, "second": 0, "equal": 1, "open": 0}
    assert read_votes(path).of(pairs)["first"] == 1
    assert vote(path, *sides, pairs[0], None).of(pairs)["open"] == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert votes_path(*sides[::-1]) != path, "first and second would change places"
    for body in ("{", "[]", '{"format": 9}', '{"format": 1, "votes": {"x": "both", "y": 3}}', '{"format": 1, "votes": []}'):
        path.write_text(body)
        assert read_votes(path) == Votes()


@pytest.mark.parametrize(
    ("first", "second", "chance"), [(1, 0, 1.0), (3, 0, 0.25), (5, 0, 0.0625), (9, 1, 0.0215), (4, 4, 1.0)]
)
def test_how_often_chance_alone_gives_a_result(first: int, second: int, chance: float) -> None:
    assert by_chance(first, second) == by_chance(second, first) == pytest.approx(chance, abs=1e-4)


def test_a_result_that_chance_gives_as_well_names_no_better_file(run: RunDirectory) -> None:
    sides = side_of(run, "450"), side_of(run, "900")
    pairs = [Pair(f"{number:016x}", "x", number, 1.0, (Path(), Path())) for number in range(9)]
    close = Votes({pair.id: "first" if number % 2 else "second" for number, pair in enumerate(pairs)})
    assert "too close to say" in " ".join(close.words(*sides, pairs))
    clear = Votes({pair.id: "second" for pair in pairs})
    assert clear.words(*sides, pairs)[1].startswith(f"{run.name}, step 900 is better")
    assert len(Votes({pairs[0].id: "equal"}).words(*sides, pairs)) == 1


def test_a_sheet_has_both_images_and_blind_the_order_is_that_of_the_pair(tmp_path: Path, run: RunDirectory) -> None:
    colours = []
    for name, colour in (("a.png", (200, 0, 0)), ("b.png", (0, 0, 200))):
        Image.new("RGB", (16, 12), colour).save(tmp_path / name)
        colours.append(colour)
    sides = side_of(run, "450"), side_of(run, "900")
    images = tmp_path / "a.png", tmp_path / "b.png"
    both = {bool(pair.swapped): pair for pair in (Pair(f"{n}", "x", 1, 1.0, images) for n in range(20))}
    assert both.keys() == {False, True}
    for swapped, pair in both.items():
        with Image.open(sheet(*sides, pair)) as seen, Image.open(sheet(*sides, pair, blind=True)) as hidden:
            assert [seen.getpixel((2, 2)), seen.getpixel((seen.width - 2, 2))] == colours
            assert hidden.getpixel((2, 2)) == colours[swapped]
        assert sheet(*sides, pair, blind=True) != sheet(*sides, pair)


def test_measures_of_both_are_taken_from_the_curves(run: RunDirectory) -> None:
    texts = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
    points = [{"file": "output/anafox-000450.safetensors", "strength": 1.0, "value": 0.4}, {"file": 3}, "x"]
    rows = [{"id": "likeness", "value": 0.6, **texts, "curve": points}, {"id": "variety", "value": None, **texts}]
    table = {"format": 1, "parts": [{"id": "checkpoints", "measures": rows, "images": []}]}
    durable.write_json(run.validation / "measures.json", table)
    assert figures_of(side_of(run, "450"))["likeness"] == 0.4
    assert set(figures_of(side_of(run, "900")).values()) == {None}


def test_a_wish_for_files_makes_them_at_all_seeds(run: RunDirectory) -> None:
    settings = read_recipe(run.effective).settings
    wish = GridRequest(grids=("checkpoints",), seeds=2, files=("output/a.safetensors",))
    assert GridRequest.from_json(json.loads(json.dumps(wish.to_json()))) == wish
    found = cells(settings, wish, files=["output/b.safetensors"], final=FINAL, fill=words(settings))
    assert [(cell.file, cell.seed) for cell in found] == [("output/a.safetensors", seed) for seed in (1000, 1000, 1001, 1001)]
    plain = cells(settings, GridRequest(seeds=2), files=["output/b.safetensors"], final=FINAL, fill=words(settings))
    assert {cell.seed for cell in plain if cell.grid == "checkpoints"} == {1000}


def test_what_a_verdict_needs_besides_is_added_and_nothing_twice(run: RunDirectory) -> None:
    settings = read_recipe(run.effective).settings
    given = {"files": ["output/b.safetensors"], "final": FINAL, "fill": words(settings)}
    asked = cells(settings, GridRequest(), **given)
    assert wanted(settings, GridRequest(), **given) == asked
    found = wanted(settings, GridRequest(complete=True), **given)
    assert found[: len(asked)] == asked
    more = {(cell.grid, cell.prompt, cell.seed, cell.strength) for cell in found[len(asked) :]}
    prompts = [template.replace("{subject}", "anafox woman") for template in TEMPLATES]
    each = (0.0, 0.5, 1.0)
    others = {("strengths", prompt, seed, strength) for prompt in prompts for seed in (1001, 1002) for strength in each}
    alone = {("strengths", "anafox portrait photo", seed, strength) for seed in (1000, 1001, 1002) for strength in each}
    of_epochs = {("checkpoints", prompt, 1001, 1.0) for prompt in prompts}
    assert more == others | alone | of_epochs | {("strengths", "anafox portrait photo", 1000, 1.5)}
    assert len(found) == len(set(found)) == len(asked) + len(more)
    weak = wanted(settings, GridRequest(complete=True, strengths=(0.5,), seeds=3), **given)
    assert {cell.strength for cell in weak} == {0.0, 0.5, 1.0, 1.5}
