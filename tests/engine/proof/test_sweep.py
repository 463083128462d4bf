"""A sweep: its combinations, its record, and which run is picked by made measures with a known answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.sweep import parse_over, values_in_words, variants
from loratui.engine.proof.judgement import Judgement, Kind
from loratui.engine.proof.notes import update
from loratui.engine.proof.sweep import Row, compare, pick
from loratui.engine.runs import sweeps
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.sweeps import Member, Sweep
from loratui.presets.schema import SchemaError
from loratui.tui.runs.sweep_table import fitted, table


def test_every_combination_is_a_run() -> None:
    found = variants(build_recipe("demo"), [parse_over("rank=4,8"), parse_over("optimizer.learning_rate=1e-4, 5e-4,5e-4")])
    assert [one.words for one in found] == [
        "rank 4, learning_rate 1e-4",
        "rank 4, learning_rate 5e-4",
        "rank 8, learning_rate 1e-4",
        "rank 8, learning_rate 5e-4",
    ]
    assert [one.recipe.settings.adapter.rank for one in found] == [4, 4, 8, 8]
    assert parse_over("targets=sd-scripts,sd-scripts+conv").key == "adapter.targets"
    assert values_in_words({"optimizer.learning_rate": 5e-05, "training.seed": 7}) == "learning_rate 5e-5, seed 7"


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ("rank", SchemaError, "KEY=VALUE"),
        ("rank=8", UsageError, "one value"),
        ("rank=8,x", SchemaError, "adapter.rank"),
        ("rnak=8,16", SchemaError, "did you mean"),
        ("validation.seeds=1,2", UsageError, "same images"),
        ("output.name=a,b", UsageError, "same images"),
    ],
)
def test_what_is_no_sweep_is_said(words: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parse_over(words)


def test_too_many_and_doubled_settings_are_refused() -> None:
    recipe = build_recipe("demo")
    numbers = ",".join(map(str, range(1, 10)))
    with pytest.raises(UsageError, match="81 runs"):
        variants(recipe, [parse_over(f"rank={numbers}"), parse_over(f"training.seed={numbers}")])
    with pytest.raises(UsageError, match="twice"):
        variants(recipe, [parse_over("rank=1,2"), parse_over("adapter.rank=3,4")])
    with pytest.raises(UsageError, match="needs a setting"):
        variants(recipe, [])


def test_a_sweep_is_kept_and_a_foreign_file_is_told(tmp_path: Path) -> None:
    made = sweeps.create(tmp_path, "anafox", ("adapter.rank",), 2, today="20261121")
    whole = Sweep(made.name, made.created, made.keys, 2, (Member("anafox-1", "/x", {"adapter.rank": 4}),))
    sweeps.write(tmp_path, whole)
    assert sweeps.read(tmp_path, "latest") == whole
    assert sweeps.create(tmp_path, "anafox", ("adapter.rank",), 2, today="20261121").name == "anafox-sweep-20261121-2"
    with pytest.raises(UsageError, match="did you mean"):
        sweeps.read(tmp_path, "anafox-sweep-20261121-9")
    path = tmp_path / "sweeps" / f"{made.name}.json"
    for text in ("{", "{}", path.read_text().replace("anafox-1", "../x")):
        path.write_text(text)
        with pytest.raises(UsageError, match="cannot be read"):
            sweeps.read(tmp_path, made.name)
    with pytest.raises(UsageError, match="no sweep"):
        sweeps.read(tmp_path, "../queue")


def parts_of(likeness: float | None, variety: float = 1.0, spread: float = 0.01) -> list[dict[str, Any]]:
    """Measures of a validation at strengths 0.5 and 1, as the job writes them."""

    def row(id: str, value: float, **more: Any) -> Mapping[str, Any]:
        texts = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
        return {"id": id, "value": value, "spread": spread, "base": 0.2, "range": [0.8, 0.95], **texts, **more}

    def curve(id: str, value: float, ratio: float | None) -> Mapping[str, Any]:
        common = {"file": "output/x.safetensors", "step": 9, "base": 0.2, "spread": spread, "ratio": ratio, "images": 4}
        points = [{**common, "strength": strength, "value": value * strength} for strength in (0.5, 1.0)]
        return row(id, value, curve=points)

    alike = [] if likeness is None else [row("likeness", likeness)]
    curves = [*([] if likeness is None else [curve("likeness", likeness, None)]), curve("variety", variety, variety)]
    return [{"id": "likeness", "measures": alike, "images": []}, {"id": "strength", "measures": curves, "images": []}]


def measured(run: RunDirectory, likeness: float, variety: float = 1.0, spread: float = 0.01) -> None:
    """A run's `measures.json`."""
    sealed.write(run.validation / "measures.json", {"format": 1, "parts": parts_of(likeness, variety, spread)}, run.path)


def row(name: str, likeness: float | None, kind: Kind | None = None, *, variety: float = 1.0, stars: int = 0) -> Row:
    """A run that is validated and judged."""
    judgement = None if kind is None else Judgement(kind, 0.9)
    return Row(Member(name, "", {"adapter.rank": 4}), None, tuple(parts_of(likeness, variety)), judgement, stars)


@pytest.fixture
def trio(tmp_path: Path) -> Sweep:
    runs = [create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121") for _ in range(3)]
    members = tuple(Member(run.name, str(run.path), {"adapter.rank": 4 * 2**at}) for at, run in enumerate(runs))
    return Sweep("s-1", 1.0, ("adapter.rank",), 3, members)


def directories(sweep: Sweep) -> list[RunDirectory]:
    return [one.directory for one in sweep.members if one.directory is not None]


def test_nothing_is_picked_before_something_is_measured(trio: Sweep) -> None:
    found = compare(trio)
    assert (found.pick.run, found.strength) == ("", None)
    assert found.pick.reasons == ("No run was measured yet.",)
    assert [row[1] for row in table(found)][1:] == [one.run for one in trio.members]


def test_the_run_with_the_best_images_at_equal_strength_is_picked(trio: Sweep) -> None:
    first, second, third = directories(trio)
    measured(first, 0.5)
    measured(second, 0.78)
    measured(third, 0.78, variety=0.3)
    found = compare(trio)
    assert (found.pick.run, found.strength, found.strengths) == (second.name, 1.0, (0.5, 1.0))
    assert "best images at strength 1" in found.pick.reasons[0]
    assert compare(trio, 0.5).strength == 0.5
    titles, *rows = table(found)
    assert titles == ("", "run", "rank", "verdict", "likeness", "variety")
    assert [row[0] for row in rows] == ["", "▸", ""]
    assert json.dumps(found.rows[1].measures(1.0))
    assert max(len(line) for line in fitted([titles, *rows], 60)) <= 60


def test_of_runs_within_the_spread_the_lighter_is_picked_and_the_others_are_named(trio: Sweep) -> None:
    first, second, third = directories(trio)
    for run, likeness in ((first, 0.8), (second, 0.82), (third, 0.4)):
        measured(run, likeness, spread=0.08)
    found = compare(trio)
    assert found.pick.run in (first.name, second.name)
    assert found.pick.as_good
    assert third.name not in found.pick.as_good


def test_a_run_that_was_memorised_is_not_picked_though_it_is_the_most_alike() -> None:
    rows = [row("a", 0.79, "memorised"), row("b", 0.6, "undertrained"), Row(Member("c", "", {}), None)]
    found = pick(rows, 1.0)
    assert found.run == "b"
    assert {"Left out: a (memorised).", "1 run not measured yet."} < set(found.reasons)
    assert pick([row("a", 0.79, "memorised"), row("b", 0.6, "wrong_data")], 1.0).run == ""


def test_the_least_trained_run_is_not_picked_for_its_variety() -> None:
    found = pick([row("a", 0.5, "undertrained"), row("b", 0.7, "good", variety=0.6)], 1.0)
    assert found.run == "b"
    assert "Judged good: b." in found.reasons
    without = pick([row("a", None, "undertrained"), row("b", None, "unclear", variety=0.6)], 1.0)  # no face was found
    assert without.run == ""
    assert "Likeness is not known" in without.reasons[-1]
    assert pick([row("a", None, "undertrained"), row("b", None, "good", variety=0.6)], 1.0).run == "b"


def test_the_stars_of_a_person_come_first(trio: Sweep) -> None:
    assert pick([row("a", 0.4, "memorised", stars=5), row("b", 0.78, "good", stars=2)], 1.0).run == "a"
    first, second, _ = directories(trio)
    measured(first, 0.4)
    measured(second, 0.78)
    with EventLog.open(first.events) as log:
        log.append("output_written", step=9, epoch=1, path="output/x.safetensors", bytes=9, final=True)
    assert compare(trio).pick.run == second.name
    update(first.validation / "checklist.json", lambda kept: kept.rate("output/x.safetensors", 5))
    found = compare(trio)
    assert found.pick.run == first.name
    assert f"You gave 5 of 5 stars to {first.name}." in found.pick.reasons
