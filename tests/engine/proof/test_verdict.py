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


def curves(likeness: list[float], variety: list[float]) -> list[dict[str, Any]]:
    """Parts of a run with the likeness and the variety of each file of an epoch; the last file has those of the last epoch."""
    rows = measured()
    of_file = [(FINAL, strength, share * likeness[-1]) for strength, share in ((0.5, 0.9), (1.0, 1.0), (1.5, 1.0))]
    varied = [(FINAL, strength, variety[-1] ** strength) for strength in (0.5, 1.0)]
    rows[4]["measures"] = [curve("likeness", of_file), curve("variety", varied)]
    rows[5]["measures"] = [
        curve(id, [(file, 1.0, value) for file, value in zip(EPOCHS, values, strict=True)])
        for id, values in (("likeness", likeness), ("variety", variety))
    ]
    return rows


def test_the_best_file_is_the_last_unless_another_is_clearly_better() -> None:
    assert judge(measured(), None, ABOUT)["best"] == {
        "file": FINAL, "step": 450, "strength": 1.0, "reason": "No other file or strength is clearly better."
    }  # fmt: skip
    learns = judge(curves([0.3, 0.5, 0.7, 0.9], [0.9] * 4), None, ABOUT)["best"]
    assert (learns["file"], learns["strength"]) == (FINAL, 1.0)
    turned = judge(curves([0.6, 0.88, 0.88, 0.88], [0.9, 0.85, 0.5, 0.4]), None, ABOUT)["best"]
    assert (turned["file"], turned["step"]) == (EPOCHS[1], 180)
    assert "more varied" in turned["reason"]


def test_likeness_does_not_fall_from_one_file_to_the_next_for_a_few_images() -> None:
    found = judge(curves([0.88, 0.7, 0.88, 0.88], [0.8] * 4), None, ABOUT)["best"]
    assert found["file"] != EPOCHS[0], "the second file says that the first was lucky"


def test_without_likeness_no_other_file_is_recommended() -> None:
    rows = curves([0.6, 0.9, 0.9, 0.9], [0.9, 0.8, 0.4, 0.3])
    for part in (rows[4], rows[5]):
        part["measures"] = [row for row in part["measures"] if row["id"] != "likeness"]
    found = judge(rows, None, ABOUT)["best"]
    assert (found["file"], found["strength"]) == (FINAL, 1.0)
    assert "not known" in found["reason"]


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
    found = judge(curves([0.88, 0.88, 0.88, 0.88], [0.5, 0.3, 0.15, 0.05]), None, ABOUT)["best"]
    assert (found["file"], found["strength"]) == (EPOCHS[0], 0.5)
    assert "not made yet" in found["reason"]


def test_a_rank_at_its_limit_is_not_raised() -> None:
    flat = measured(likeness=0.6)
    flat[5]["measures"] = [curve("likeness", [(file, 1.0, 0.6) for file in EPOCHS])]
    high = replace(SETTINGS, {"adapter.rank": 128})
    ids = [[one["id"] for one in judge(flat, None, Judged(FINAL, 1.0, of))["advice"]] for of in (SETTINGS, high)]
    assert "higher_rank" in ids[0]
    assert "higher_rank" not in ids[1]
