"""A verdict as `measures.json` has it: what is read of it, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.engine.proof.judgement import Advice, Best, Do, Judgement, Measures, judgement_of, read_judgement
from loratui.engine.proof.kept import parts_of
from loratui.engine.proof.notes import PART_IDS, Checklist, update
from loratui.engine.proof.verdict.judge import Judged
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings

FILE = "output/anafox-000540.safetensors"


def table(**changes: Any) -> dict[str, Any]:
    """A judgement with one advice of each kind; `changes` to its keys."""
    does: dict[str, Any] = {
        "use": {"use": {"file": FILE, "strength": 0.8}},
        "longer": {"continue_epochs": 3},
        "lower": {"settings": {"adapter.rank": 8}},
        "out": {"leave_out": ["a.png"]},
        "words": {"re_caption": ["b.png"]},
        "see": {"look": "Look at the hands."},
    }
    advice = [{"id": id, "change": f"Do {id}.", "why": "It helps.", "do": do} for id, do in does.items()]
    verdict = {"kind": "overtrained", "confidence": 0.82, "reasons": ["One.", "Two."]}
    best = {"file": FILE, "step": 540, "strength": 0.8, "reason": "It is best."}
    return {"format": 1, "parts": [], "verdict": verdict, "best": best, "advice": advice, **changes}


def test_all_of_it_is_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.validation.mkdir()
    (run.validation / "measures.json").write_text(json.dumps(table()))
    found = read_judgement(run, Settings())
    assert found is not None
    assert (found.kind, found.confidence, found.reasons) == ("overtrained", 0.82, ("One.", "Two."))
    assert found.best == Best(FILE, 540, 0.8, "It is best.")
    assert {one.id: one.do for one in found.advice} == {
        "use": Do(use=Best(FILE, None, 0.8, "")),
        "longer": Do(continue_epochs=3),
        "lower": Do(settings={"adapter.rank": 8}),
        "out": Do(leave_out=("a.png",)),
        "words": Do(re_caption=("b.png",)),
        "see": Do(look="Look at the hands."),
    }


@pytest.mark.parametrize("verdict", [None, 3, {}, {"kind": "excellent"}, {"kind": ["good"]}])
def test_without_a_verdict_there_is_no_judgement(verdict: object) -> None:
    assert judgement_of(table(verdict=verdict)) is None


@pytest.mark.parametrize(
    "do",
    [
        None,
        {},
        {"later": 1},
        {"continue_epochs": 0},
        {"continue_epochs": True},
        {"continue_epochs": 10**9},
        {"settings": {"no.such": 1}},
        {"settings": {"adapter.rank": 8, "no.such": 1}},
        {"leave_out": ["../../etc/passwd", 3]},
        {"use": {"file": "/etc/passwd", "strength": 1}},
        {"use": {"file": FILE, "strength": float("nan")}},
    ],
)
def test_an_advice_that_nothing_can_be_done_with_is_left_out(do: object) -> None:
    found = judgement_of(table(advice=[{"id": "x", "change": "X.", "why": "", "do": do}]))
    assert found is not None
    assert found.advice == ()


def test_texts_are_in_one_line_and_have_an_end() -> None:
    rows = [{"id": "x", "change": "a\n b" + "c" * 5000, "why": 3, "do": {"look": "here"}}] * 1000
    found = judgement_of(table(advice=rows, verdict={"kind": "good", "confidence": 7, "reasons": "no list"}, best=3))
    assert found is not None
    assert (found.confidence, found.reasons, found.best, len(found.advice)) == (1.0, (), None, 100)
    assert found.advice[0].change.startswith("a bccc")
    assert len(found.advice[0].change) == 1000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {"verdict": anything | st.fixed_dictionaries({"kind": st.just("good"), "confidence": anything, "reasons": anything})},
        optional={"best": anything, "advice": anything | st.lists(st.fixed_dictionaries({"id": st.text(), "do": anything}))},
    )
)
def test_anything_is_survived(body: dict[str, Any]) -> None:
    found = judgement_of(body)
    assert found is None or isinstance(found, Judgement)
    assert all(isinstance(one, Advice) for one in (found.advice if found else ()))


TEXTS = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
LIKENESS = {**TEXTS, "id": "likeness", "value": 0.5, "spread": 0.1, "base": 0.1, "range": [0.4, 0.6]}


def measured(*rows: dict[str, Any]) -> dict[str, Any]:
    """A `measures.json` with these rows in every part."""
    parts = [{"id": id, "status": "measured", "measures": list(rows), "images": []} for id in PART_IDS]
    return table(parts=parts, file=FILE, strength=1.0)


def test_what_the_person_noted_since_counts_more_than_what_was_judged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.validation.mkdir()
    (run.validation / "measures.json").write_text(json.dumps(measured(LIKENESS)))
    before = read_judgement(run, Settings())
    assert before is not None
    assert before.reasons != ("One.", "Two."), "it is judged again"
    update(run.validation / "checklist.json", lambda kept: kept.toggle_seen("sticks"))
    after = read_judgement(run, Settings())
    assert after is not None
    assert (after.kind, after.reasons) == ("memorised", ("You saw details of the photos stick.",))


ids = st.sampled_from(["likeness", "variety", "copy_layout", "copy_hash", "sharpness", "captions_fit", "distinct", "people"])
more = st.dictionaries(
    st.sampled_from(
        ["spread", "base", "range", "ratio", "curve", "copies", "share_above", "alike", "groups", "lost", "distinct"]
    ),
    anything | st.lists(st.fixed_dictionaries({"file": anything, "step": anything, "strength": anything, "value": anything})),
)
rows = st.builds(lambda id, value, more: {**TEXTS, "id": id, "value": value, **more}, ids, st.none() | st.floats(-2, 2), more)


@settings(max_examples=15)
@given(st.lists(rows, max_size=4))
def test_rows_of_a_stranger_are_judged_or_not(rows: list[dict[str, Any]]) -> None:
    found = Measures(parts_of(measured(*rows)), Judged(FILE, 1.0, Settings())).judge(Checklist())
    assert found is None or isinstance(found, Judgement)
