"""What the wizard knows so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.presets.schema import SchemaError
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import PLAN_FIELDS, Draft, next_step_for_folder, shown_value


def test_the_demo_is_the_worked_example() -> None:
    plan = demo_draft().plan()
    assert plan is not None
    assert (plan.images, plan.repeats, plan.epochs, plan.image_steps, plan.optimizer_steps) == (18, 10, 10, 1800, 900)


def test_every_field_of_the_plan_is_a_setting_and_says_what_it_does() -> None:
    draft = demo_draft()
    for field in PLAN_FIELDS:
        assert draft.value(field.key) is not None
        assert "\n" not in field.help


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("schedule.epochs", "5", 5),
        ("schedule.epochs", "", 0),
        ("training.batch_size", "", 2),
        ("optimizer.learning_rate", "2e-4", 2e-4),
        ("optimizer.learning_rate", "0,0002", 2e-4),
    ],
)
def test_numbers_as_people_type_them(key: str, text: str, value: float) -> None:
    assert demo_draft().with_text(key, text).value(key) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("schedule.epochs", "0"), ("schedule.epochs", "1.5"), ("adapter.rank", "many"), ("training.batch_size", "-1")],
)
def test_what_is_no_number_is_refused_in_words(key: str, text: str) -> None:
    with pytest.raises(SchemaError, match=key):
        demo_draft().with_text(key, text)


def test_the_same_preset_again_keeps_what_was_changed_and_another_one_only_the_subject() -> None:
    draft = demo_draft().with_text("schedule.epochs", "3")
    assert draft.with_preset("demo").value("schedule.epochs") == 3
    other = draft.with_preset("sd15-portrait")
    assert (other.value("schedule.epochs"), other.value("schedule.exposures")) == (0, 160)
    assert other.value("dataset.path") == draft.value("dataset.path")


def test_another_folder_forgets_what_was_read() -> None:
    draft = demo_draft()
    assert draft.with_values({"dataset.trigger": "x"}).scan is not None
    assert draft.with_values({"dataset.path": "/elsewhere"}).scan is None
    assert Draft().plan() is None


def test_a_reason_names_its_source() -> None:
    assert demo_draft().why("schedule.repeats").endswith("(FLUX guide)")


def test_the_next_step_names_what_is_there(tmp_path: Path) -> None:
    assert "no folders" in next_step_for_folder(str(tmp_path / "gone"))
    for number in range(8):
        (tmp_path / f"photos{number}").mkdir()
    text = next_step_for_folder(str(tmp_path / "deep" / "gone"))
    assert "photos0, photos1" in text
    assert "and 2 more" in text
    assert "Type the path" in next_step_for_folder("")


def test_the_next_step_has_whole_paths_and_sends_nobody_away_from_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert f"Folders in {tmp_path}: photos." in next_step_for_folder("gone")
    assert next_step_for_folder("photos/x.jpg") == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "yes"), (False, "no"), (1e-4, "1e-4"), (0.5, "0.5"), (3, "3"), ((0.0, 1.5), "0.0, 1.5"), ("a", "a")],
)
def test_values_are_shown_as_people_write_them(value: object, shown: str) -> None:
    assert shown_value(value) == shown


def test_what_a_rule_decides_has_the_reason_of_what_it_is_made_of() -> None:
    portrait, pony = Draft().with_preset("sd15-portrait"), Draft().with_preset("pony-realism")
    assert "50 take up to 4 000" in portrait.why("schedule.epochs")
    assert "15 images × 27" in portrait.why("schedule.repeats")
    assert "the aim is 2 500" in pony.why("schedule.epochs")
    assert Draft().with_preset("sdxl-person").why("schedule.epochs").startswith("16 epochs")
