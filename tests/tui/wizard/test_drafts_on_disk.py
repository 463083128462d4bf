"""Drafts: every change is on the disk, what lies there may be anything, and the app offers it again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from screen_text import screen_text, shows, type_text, waits

from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.drafts import DraftSaver, SavedDraft, delete_draft, list_drafts, new_id, saved_from, write_draft


def test_a_draft_comes_back_as_it_was(home: Path) -> None:
    draft = demo_draft().with_text("schedule.epochs", "3").with_typed("adapter.rank", "many")
    draft = draft.with_preset("sd15-portrait").with_typed("optimizer.learning_rate", "1e")
    write_draft(home, new_id(), draft, "plan")
    (saved,) = list_drafts(home)
    again = saved.open()
    assert again.recipe == draft.recipe
    assert again.typed == {"optimizer.learning_rate": "1e"}
    assert again.with_preset("demo").value("schedule.epochs") == 3
    assert (saved.step, saved.title, saved.preset) == ("plan", "anafox", "sd15-portrait")


def test_drafts_are_for_their_owner_alone(home: Path) -> None:
    write_draft(home, "a", demo_draft(), "plan")
    assert (home / "drafts").stat().st_mode & 0o777 == 0o700
    assert (home / "drafts" / "a.json").stat().st_mode & 0o777 == 0o600


def test_the_newest_stands_first_and_one_can_go(home: Path) -> None:
    for at, id in enumerate(("a", "b", "c")):
        write_draft(home, id, demo_draft(), "plan", now=1000.0 + at)
    assert [draft.id for draft in list_drafts(home)] == ["c", "b", "a"]
    delete_draft(home, "b")
    delete_draft(home, "b")
    assert [draft.id for draft in list_drafts(home)] == ["c", "a"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.dictionaries(
                    st.sampled_from(["format", "saved", "step", "preset", "changes", "typed", "others", "dataset.path"]), inner
                )
                | st.lists(inner, max_size=3)
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_lies_in_the_folder_the_list_survives_it(home: Path, data: bytes) -> None:
    folder = home / "drafts"
    folder.mkdir(exist_ok=True)
    (folder / "x.json").write_bytes(data)
    for saved in list_drafts(home):
        assert isinstance(saved, SavedDraft)
        assert isinstance(saved.title, str)


def test_a_draft_of_a_newer_version_is_left_alone(home: Path) -> None:
    write_draft(home, "a", demo_draft(), "plan")
    path = home / "drafts" / "a.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    assert list_drafts(home) == []
    assert path.exists()


def test_the_saver_writes_the_newest_state_and_forgets(home: Path) -> None:
    saver = DraftSaver(home)
    for epochs in range(1, 30):
        saver.save("a", demo_draft().with_text("schedule.epochs", str(epochs)), "plan")
    saver.flush()
    assert list_drafts(home)[0].changes["schedule.epochs"] == 29
    saver.forget("a")
    assert list_drafts(home) == []


def test_a_disk_that_refuses_is_no_crash(home: Path) -> None:
    (home / "drafts").write_text("in the way")
    saver = DraftSaver(home)
    saver.save("a", demo_draft(), "plan")
    saver.flush()
    assert "drafts" in saver.problem


def test_an_earlier_run_becomes_a_draft_of_its_own() -> None:
    recipe = demo_draft().with_text("adapter.rank", "8").recipe
    assert recipe is not None
    saved = saved_from(recipe, "plan")
    assert saved.open().recipe == recipe


def test_a_recipe_whose_preset_is_not_here_keeps_its_values() -> None:
    import dataclasses

    recipe = demo_draft().recipe
    assert recipe is not None
    saved = saved_from(dataclasses.replace(recipe, preset="gone"), "plan")
    again = saved.open().recipe
    assert again is not None
    assert (again.preset, again.settings) == ("", recipe.settings)


async def test_what_is_typed_is_on_the_disk_and_is_offered_again(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "1 800 image-steps")
        assert list_drafts(home) == []
        await pilot.press("down", "5")
        await waits(pilot, lambda: bool(list_drafts(home)))
        await pilot.press("down", "9", "9", "9")
        await shows(pilot, "too large")
        await pilot.press("q")
    app.close()
    assert app.return_value is not None
    assert "Your draft is saved" in app.return_value[0]
    async with LoratuiApp(home, view_only=True).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "view only", "RAM")
        assert "Draft: " not in screen_text(pilot.app)
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "Draft: anafox", "n continues it")
        await pilot.press("n")
        await shows(pilot, "Continue a draft?", "last step: plan", "Plan a new run")
        await pilot.press("enter")
        text = await shows(pilot, "[4 plan]", "× 5 epochs = 900 image-steps")
        assert "999" in text
        await pilot.press("enter")
        await shows(pilot, "too large")


async def test_a_draft_can_be_thrown_away_or_left(home: Path) -> None:
    write_draft(home, "a", demo_draft(), "plan", now=time.time())
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await pilot.press("n")
        await shows(pilot, "Continue a draft?")
        await pilot.press("d")
        await shows(pilot, "Delete the draft of")
        await pilot.press("n", "d")
        await shows(pilot, "Delete the draft of")
        assert len(list_drafts(home)) == 1
        await pilot.press("y")
        await waits(pilot, lambda: list_drafts(home) == [])
        await pilot.press("enter")
        await shows(pilot, "[1 preset]")


async def test_the_wizard_keeps_what_was_typed_on_every_way(home: Path) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(120, 50)) as pilot:
        await shows(pilot, "[5 samples]")
        await pilot.press("end")
        await type_text(pilot, " at night")
        await shows(pilot, "blue background at night")
        await pilot.press("escape")
        await shows(pilot, "[4 plan]")
        await pilot.press("escape", "escape")
        await shows(pilot, "[2 base]")
        for step in ("[3 dataset]", "[4 plan]", "[5 samples]"):
            app.open({"[3 dataset]": "dataset", "[4 plan]": "plan", "[5 samples]": "samples"}[step])
            await shows(pilot, step)
        assert "blue background at night" in screen_text(app)


async def test_a_draft_that_cannot_be_used_is_told(home: Path) -> None:
    write_draft(home, "a", demo_draft(), "plan")
    path = home / "drafts" / "a.json"
    path.write_text(path.read_text().replace('"demo"', '"gone"'))
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await pilot.press("n")
        await shows(pilot, "Continue a draft?")
        await pilot.press("enter")
        await shows(pilot, "cannot read the draft", "gone")


def test_a_draft_without_a_preset_is_none(home: Path) -> None:
    saver = DraftSaver(home)
    app = LoratuiApp(home)
    app.draft = Draft()
    saver.flush()
    assert list_drafts(home) == []


@pytest.mark.parametrize("name", ["a b.json", ".json"])
def test_strange_names_are_passed_over(home: Path, name: str) -> None:
    folder = home / "drafts"
    folder.mkdir()
    (folder / Path(name).name).write_text('{"format": 1, "saved": 1, "step": "", "preset": "demo", "changes": {}}')
    assert list_drafts(home) == []
