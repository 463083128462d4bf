"""The verdict from measured parts: each kind, what is unknown, what the person said, the best file, and what to change."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_rows import EPOCHS, FINAL, curve, measured

from loratui.engine.proof.notes import PART_IDS, Checklist, FileMark
from loratui.engine.proof.verdict.axes import AXES, Measured, Reading, read_axes
from loratui.engine.proof.verdict.judge import Judged, judge
from loratui.engine.proof.verdict.rules import KINDS, reasons, rules, weigh
from loratui.engine.runs.held_out import HeldOut
from loratui.engine.runs.image_losses import Pull
from loratui.presets.schema import Adapter, Dataset, Schedule, Settings, replace

SETTINGS = Settings(dataset=Dataset(trigger="qxz"), schedule=Schedule(epochs=10), adapter=Adapter(rank=16))
ABOUT = Judged(FINAL, 1.0, SETTINGS)


def judged(notes: Checklist | None = None, **changes: float | None) -> dict[str, Any]:
    found = judge(measured(**changes), notes, ABOUT)
    assert json.loads(json.dumps(found)) == found, "it is written as JSON"
    return found


CASES: dict[str, tuple[dict[str, float | None], str]] = {
    "good": ({}, "use_best"),
    "undertrained": ({"likeness": 0.45, "change": 0.3}, "train_longer"),
    "overtrained": ({"mirrored": -0.9, "variety": 0.1}, "fewer_epochs"),
    "memorised": ({"copied": 0.8, "variety": 0.2, "distinct": 0.1}, "leave_out_alike"),
    "wrong_data": ({"trigger_said": 0.0, "likeness": 0.4}, "caption_trigger"),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_told_with_its_reasons_and_what_to_change(kind: str) -> None:
    changes, id = CASES[kind]
    found = judged(**changes)
    assert found["verdict"]["kind"] == kind
    assert found["verdict"]["confidence"] > 0.6
    assert all(reason.endswith(".") and "{" not in reason for reason in found["verdict"]["reasons"])
    assert found["verdict"]["reasons"]
    assert id in [one["id"] for one in found["advice"]]
    for one in found["advice"]:
        assert one["change"]
        assert one["why"].endswith(".")
        assert len(one["do"]) == 1


@pytest.mark.parametrize("changes", [{"people": 2.0}, {"captions_fit": 0.5}, {"trigger_said": 0.0}])
def test_wrong_data_is_told_whatever_the_likeness(changes: dict[str, float]) -> None:
    for likeness in (0.35, 0.6, 0.9):
        assert judged(likeness=likeness, **changes)["verdict"]["kind"] == "wrong_data"


def test_what_is_unknown_makes_the_verdict_less_sure_and_nothing_at_all_makes_none() -> None:
    sure = judged()["verdict"]["confidence"]
    less = judged(likeness=None, variety=None, mirrored=None)["verdict"]
    assert less["confidence"] < sure
    nothing = judge([], None, ABOUT)
    assert nothing["verdict"] == {
        "kind": "unclear", "confidence": 0.0, "reasons": ["The images of the LoRA are not measured, so nothing can be said of it."]
    }  # fmt: skip
    assert nothing["best"] is None
    photos_alone = judge([{"id": "likeness", "measures": [measured()[0]["measures"][3]], "images": []}], None, ABOUT)
    assert photos_alone["verdict"]["kind"] == "unclear"


def test_seeds_that_are_far_apart_make_it_less_sure() -> None:
    rows = measured(likeness=0.75)
    before = judge(rows, None, ABOUT)["verdict"]["confidence"]
    rows[0]["measures"][0]["spread"] = 0.25
    assert judge(rows, None, ABOUT)["verdict"]["confidence"] < before


def test_the_person_overrides() -> None:
    stars = judged(Checklist(files={FINAL: FileMark(rating=5)}), copied=0.8, variety=0.2)
    assert stars["verdict"] == {"kind": "good", "confidence": 0.95, "reasons": ["You gave the file 5 of 5 stars."]}
    seen = judged(Checklist(seen=frozenset({"weak"})))
    assert (seen["verdict"]["kind"], seen["advice"][0]["id"]) == ("undertrained", "train_longer")
    assert judged(Checklist(seen=frozenset({"feature"})))["verdict"]["kind"] == "good", "it says nothing of the whole"
    chosen = judged(Checklist(chosen=FINAL))
    assert chosen["best"]["reason"] == "You chose this file."
    liked = judged(Checklist(files={FINAL: FileMark(rating=4), EPOCHS[0]: FileMark(rating=2)}))
    assert (liked["best"]["file"], liked["best"]["reason"]) == (FINAL, "You gave this file the most stars.")
    ticked = judged(Checklist(ticked=dict.fromkeys(PART_IDS[:-1], 1.0)), copied=0.8, variety=0.2)
    assert ticked["verdict"] == {"kind": "good", "confidence": 0.95, "reasons": ["You ticked every part."]}
    assert judged(Checklist(ticked={"likeness": 1.0}), copied=0.8, variety=0.2)["verdict"]["kind"] != "good"


def test_what_the_person_marked_has_its_remedy_first() -> None:
    found = judged(Checklist(seen=frozenset({"feature", "anatomy"})))["advice"]
    assert [one["id"] for one in found[:2]] == ["rank_for_feature", "odd_image"]
    assert found[0]["do"] == {"settings": {"adapter.rank": 32}}


def test_the_best_file_is_the_last_unless_another_is_clearly_better() -> None:
    rows = measured(copied=0.0)
    assert judge(rows, None, ABOUT)["best"] == {
        "file": FINAL, "step": 180, "strength": 1.0, "reason": "No other file or strength is clearly better."
    }  # fmt: skip
    values = zip(EPOCHS, (1.0,) * 4, (0.6, 0.9, 0.8, 0.6), strict=True)
    rows[5]["measures"] = [curve("likeness", list(values))]
    rows[4]["measures"] = [curve("likeness", [(FINAL, 0.5, 0.5), (FINAL, 1.0, 0.6), (FINAL, 1.5, 0.6)])]
    found = judge(rows, None, ABOUT)["best"]
    assert (found["file"], found["step"], found["strength"]) == (EPOCHS[1], 180, 1.0)
    assert "more like" in found["reason"]


def test_photos_that_stand_out_are_named_with_what_to_do() -> None:
    pulls = [Pull("odd.png", "stuck", 0.0, 0.3), Pull("twin.png", "exhausted", 0.7, 0.3)]
    found = judge(measured(), None, Judged(FINAL, 1.0, SETTINGS, pulls=pulls))["advice"]
    assert [one["do"] for one in found if one["id"] == "re_caption_stuck"] == [{"re_caption": ["odd.png"]}]
    assert [one["do"] for one in found if one["id"] == "leave_out_exhausted"] == [{"leave_out": ["twin.png"]}]


def test_held_out_losses_are_an_axis() -> None:
    turned = [HeldOut(step // 10, step, loss, 1.0, "held_out") for step, loss in ((10, 0.9), (20, 0.8), (30, 0.95))]
    kept = [HeldOut(step // 10, step, loss, 1.0, "held_out") for step, loss in ((10, 0.9), (20, 0.8), (30, 0.79))]
    chances = [weigh(read_axes(Measured(measured(), rows)), rules()).chances["overtrained"] for rows in ((), turned, kept)]
    assert chances[1] > chances[0] > chances[2]


def test_every_axis_has_a_rule_or_serves_the_best_file() -> None:
    used = {sign.axis for sign in rules().signs}
    assert used <= AXES.keys()
    assert {kind for sign in rules().signs for kind in sign.points} == set(KINDS)


@given(st.dictionaries(st.sampled_from(sorted(AXES)), st.floats(-5, 5)), st.floats(0, 2))
def test_chances_are_chances_whatever_the_axes(values: dict[str, float], spread: float) -> None:
    axes = {name: Reading(value, spread) for name, value in values.items()}
    weighed = weigh(axes, rules())
    assert math.isclose(sum(weighed.chances.values()), 1)
    assert all(0 <= degree <= 1 for degree in weighed.degrees.values())
    assert all("{" not in reason for reason in reasons(weighed, axes, rules()))


def test_advice_without_a_run_names_no_settings() -> None:
    found = judge(measured(likeness=0.4), None, Judged(FINAL, 1.0))
    assert not any("settings" in one["do"] or "continue_epochs" in one["do"] for one in found["advice"])


def test_a_lora_that_does_nothing_is_said_to() -> None:
    found = judged(change=0.0, likeness=0.3, mirrored=None)
    assert found["verdict"]["kind"] == "undertrained"
    assert found["advice"][0]["id"] == "does_nothing"


def test_a_file_at_a_strength_that_was_not_made_is_foreseen() -> None:
    rows = measured()
    of_file = [(FINAL, 0.5, 0.85), (FINAL, 1.0, 0.88), (FINAL, 1.5, 0.88)]
    rows[4]["measures"] = [curve("likeness", of_file), curve("variety", [(f, s, 0.4) for f, s, _ in of_file])]
    epochs = [(file, 1.0, value) for file, value in zip(EPOCHS, (0.5, 0.85, 0.88, 0.88), strict=True)]
    varied = [(file, 1.0, value) for file, value in zip(EPOCHS, (0.9, 0.8, 0.4, 0.4), strict=True)]
    rows[5]["measures"] = [curve("likeness", epochs), curve("variety", varied)]
    found = judge(rows, None, ABOUT)["best"]
    assert (found["file"], found["strength"]) == (EPOCHS[1], 0.5)
    assert "not made yet" in found["reason"]


def test_a_rank_at_its_limit_is_not_raised() -> None:
    flat = measured(likeness=0.6)
    flat[5]["measures"] = [curve("likeness", [(file, 1.0, 0.6) for file in EPOCHS])]
    high = replace(SETTINGS, {"adapter.rank": 128})
    ids = [[one["id"] for one in judge(flat, None, Judged(FINAL, 1.0, of))["advice"]] for of in (SETTINGS, high)]
    assert "higher_rank" in ids[0]
    assert "higher_rank" not in ids[1]
