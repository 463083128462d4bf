"""Every value that is not the preset's is among the changes that are shown, whichever it is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_run import finished_run

from loratui.engine.errors import UsageError
from loratui.engine.planning.preflight import Finding
from loratui.engine.planning.prepare import Prepared
from loratui.engine.planning.recipe import Recipe, build_recipe, effective_toml, read_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets.bases import demo_dataset
from loratui.presets.schema import KEYS, KeyInfo, get
from loratui.tui import cli
from loratui.tui.commands import common
from loratui.tui.runs import comparing
from loratui.tui.wizard import plan_screen as plan_screen
from loratui.tui.wizard.draft import SUBJECT_KEYS, Draft, changes_in_words
from loratui.tui.wizard.preflight_rows import rows

OTHER: dict[str, Any] = {
    "dataset.image_bands": "1-9 few; 10- enough",
    "dataset.images_wanted": (3, 7),
    "schedule.exposures_wanted": (3, 700),
    "adapter.rank_wanted": (1, 2),
    "validation.strengths": (0.0, 2.0),
    "when_finished.copy_to": "hub:owner/name",
}
"""Values of keys for which none can be made up."""


def another(info: KeyInfo, now: Any) -> Any:
    """A value that the key may have and does not."""
    if info.name in OTHER:
        return OTHER[info.name]
    if info.choices:
        return next(choice for choice in info.choices if choice != now)
    if isinstance(now, bool):
        return not now
    if isinstance(now, tuple):
        return ("something else",)
    if isinstance(now, str):
        return f"{now}x"
    if isinstance(now, int):
        return now + 1 if info.high is None or now + 1 <= info.high else now - 1
    return now * 0.9 if now * 0.9 > 0 else 0.001


CHANGED = [(key, another(info, get(build_recipe("sd15-portrait").settings, key))) for key, info in KEYS.items()]


def prepared(recipe: Recipe) -> Prepared:
    found: tuple[Finding, ...] = ()
    scan = SimpleNamespace(training=(), images=())
    return Prepared(recipe, cast("Any", scan), plan_for_counts(recipe, 18), found)


@pytest.mark.parametrize(("key", "value"), CHANGED, ids=[key for key, _ in CHANGED])
def test_each_key_of_the_schema_is_among_the_changes(key: str, value: Any, tmp_path: Path) -> None:
    recipe = build_recipe("sd15-portrait").with_changes({key: value})
    assert recipe.changed == {key}
    listed = [one.key for one in recipe.differences()]
    assert listed == ([] if key == "dataset.path" else [key])
    assert [one[0] for one in changes_in_words(recipe)] == ([] if key in SUBJECT_KEYS else [key])
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert read_recipe(tmp_path / "recipe.toml").changed == {key}


def test_plan_preflight_and_the_plans_screen_list_them(capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"dataset.resolution": 640, "adapter.rank": 64, "dataset.flip": True}
    recipe = build_recipe("sd15-portrait").with_changes({**changes, "dataset.trigger": "anafox"})
    sets = [
        "--set",
        "dataset.resolution=640",
        "--set",
        "rank=64",
        "--set",
        "flip=true",
        "--set",
        "epochs=9",
        "--set",
        "alpha=64",
    ]
    assert cli.main(["plan", "--preset", "sd15-portrait", "--images", "18", *sets]) == 0
    printed = capsys.readouterr().out
    assert "  dataset.resolution = 640  (preset: 512)" in printed
    assert "  dataset.flip = true  (preset: no)" in printed
    assert "  schedule.epochs = 9  (preset: by the rule)" in printed
    assert "  adapter.alpha = 64.0  (preset: follows rank)" in printed
    [told] = [row.message for row in rows(prepared(recipe), Path("/")) if row.message.startswith("Changed")]
    assert told == "Changed from sd15-portrait: dataset.resolution 512 → 640, dataset.flip no → yes, adapter.rank 128 → 64."
    lines = [line.plain for line in plan_screen._describe(Draft(recipe), plan_for_counts(recipe, 18), None, ())]
    assert "  ◆ dataset.resolution 640  (preset: 512)" in lines
    assert "  Rank 64, alpha 64 (follows rank). Learning rate 1e-4, effective 1e-4." in lines


def test_the_status_of_a_run_and_its_start_list_them(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(home)
    recipe = build_recipe("demo", sets=("adapter.rank=8", "dataset.resolution=64"))
    run.recipe.write_text(recipe.to_toml())
    assert cli.main(["status", run.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == {"dataset.resolution": 64, "adapter.rank": 8}
    assert cli.main(["status", run.name]) == 0
    assert "Changed from demo: dataset.resolution 128 → 64, adapter.rank 16 → 8." in capsys.readouterr().out
    run.recipe.write_text("[nonsense")
    assert cli.main(["status", run.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is None

    def not_started(*_: object) -> None:
        raise UsageError("Not started.")

    monkeypatch.setattr(common, "start_prepared", not_started)
    assert cli.main(["train", str(demo_dataset()), "--preset", "demo", "--set", "rank=8", "--trigger", "anafox", "--yes"]) == 2
    printed = "".join(capsys.readouterr())
    assert "Rank 8, alpha 16 (follows rank × 2). Learning rate 5e-4, effective 1e-3." in printed
    assert "Changed from demo: adapter.rank 16 → 8." in printed


def test_the_effective_rate_stands_beside_the_rate_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--preset", "sdxl-person", "--images", "32", "--set", "rank=8"]) == 0
    printed = capsys.readouterr().out
    assert "rank                      8  alpha 4 (follows rank × 0.5)" in printed
    assert "learning rate          4e-4  effective 2e-4 (alpha 4 / rank 8 × 4e-4)" in printed
    assert cli.main(["presets", "show", "sdxl-person"]) == 0
    printed = capsys.readouterr().out
    assert "learning_rate = 0.0004  # effective 2e-4" in printed
    assert "alpha_ratio = 0.5  # alpha 16 (follows rank × 0.5)" in printed
    recipe = build_recipe("sdxl-person", sets=("rank=8",))
    [told] = [row.message for row in rows(prepared(recipe), Path("/")) if row.message.startswith("Rank")]
    assert told == "Rank 8, alpha 4 (follows rank × 0.5). Learning rate 4e-4, effective 2e-4."


def test_runs_that_differ_in_any_key_differ_in_the_comparison() -> None:
    own = build_recipe("sd15-portrait").settings
    table = {key: get(own, key) for key in KEYS}
    for key, value in CHANGED:
        listed = [name for name, _ in comparing.differing([table, {**table, key: value}])]
        assert listed == ([] if key == "output.name" else [key])


def test_a_rank_that_alpha_follows_shows_both_in_the_comparison(tmp_path: Path) -> None:
    tables = []
    for rank in (16, 8):
        recipe = build_recipe("flux-identity-18img", sets=(f"rank={rank}",))
        (tmp_path / str(rank)).mkdir()
        (tmp_path / str(rank) / "effective.toml").write_text(effective_toml(recipe, plan_for_counts(recipe, 18)))
        tables.append(comparing._settings(cast("Any", SimpleNamespace(path=str(tmp_path / str(rank))))))
    assert comparing.differing(tables) == (("adapter.rank", ("16", "8")), ("adapter.alpha", ("16", "8")))
