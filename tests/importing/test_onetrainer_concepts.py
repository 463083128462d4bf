"""The first concept in OneTrainer's settings: its repeats, its own number of samples, and its flips are part of what is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.importing.result import import_settings


def settings_with(path: Path, *concepts: dict[str, Any]) -> Path:
    table = {"training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE", "epochs": 100, "batch_size": 4}
    path.write_text(json.dumps(table | {"concepts": concepts}))
    return path


@pytest.mark.parametrize(
    ("balancing", "strategy", "steps", "repeats"),
    [
        (1.0, "REPEATS", 400, 1),
        (2.0, "REPEATS", 900, 2),
        (2.5, "REPEATS", 1100, 2),
        (0.5, "REPEATS", 200, 1),
        (40.0, "SAMPLES", 1000, 1),
    ],
)
def test_the_balance_of_a_concept_counts(tmp_path: Path, balancing: float, strategy: str, steps: int, repeats: int) -> None:
    row = {"name": "a", "path": "/photos", "balancing": balancing, "balancing_strategy": strategy}
    found = import_settings(settings_with(tmp_path / "config.json", row), images=18)
    assert found.recipe is not None
    assert (found.steps.theirs, found.steps.ours, found.recipe.settings.schedule.repeats) == (steps, steps, repeats)
    assert bool([one for one in found.of("changed") if one.key == "concepts"]) == (
        strategy == "SAMPLES" or balancing != repeats
    )


def test_flips_are_taken_and_a_concept_that_is_off_is_passed_over(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "path": "/off", "enabled": False},
        {"name": "b", "path": "/on", "image": {"enable_random_flip": True}},
    ]
    found = import_settings(settings_with(tmp_path / "config.json", *rows), images=18)
    assert found.recipe is not None
    assert (found.recipe.settings.dataset.path, found.recipe.settings.dataset.flip) == ("/on", True)


def test_a_list_of_which_nothing_is_trained_is_said_to_be(tmp_path: Path) -> None:
    found = import_settings(settings_with(tmp_path / "config.json", {"name": "a", "path": "/off", "enabled": False}), images=18)
    (one,) = [one for one in found.of("changed") if one.key == "concepts"]
    assert "is switched off there" in one.why
