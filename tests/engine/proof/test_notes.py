"""What a person notes in the validation, and the file that keeps it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.proof.notes import FORMAT, LONGEST_NOTE, PART_IDS, SEEN_IDS, Checklist, FileMark, read_checklist, update


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\x00",
        "[" * 5000,
        '{"ticked": 3, "notes": [], "seen": "weak", "files": 1, "chosen": 7}',
        '{"ticked": {"likeness": "yes", "unknown": 1, "next": true}, "notes": {"likeness": 4, "x": "y"}, "seen": ["?", 3]}',
        '{"images": {"a": 1, "b": ""}}',
        '{"files": {"a": 1, "b": {"rating": 9, "note": []}, "c": {"rating": true}}}',
    ],
)
def test_rubbish_in_the_file_is_nothing_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "checklist.json"
    path.write_text(content)
    assert read_checklist(path) == Checklist()


def test_earlier_formats_are_still_read_and_written_in_this_one(tmp_path: Path) -> None:
    path = tmp_path / "checklist.json"
    path.write_text('{"format": 1, "ticked": {"likeness": 5}}')
    assert read_checklist(path) == Checklist(ticked={"likeness": 5.0})
    path.write_text('{"format": 2, "ticked": {"likeness": 5}, "chosen": ""}')
    update(path, lambda kept: kept.rate("output/a.safetensors", 4))
    assert sealed.read(path, tmp_path) == {
        "format": FORMAT,
        "ticked": {"likeness": 5.0},
        "notes": {},
        "seen": [],
        "files": {"output/a.safetensors": {"rating": 4, "note": ""}},
        "chosen": "",
        "images": {},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_viewers_do_not_undo_each_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checklist.json"
    update(path, lambda kept: kept.toggle("likeness", now=5.4))
    second = update(path, lambda kept: kept.note("strength", "  too much at 1.0 \n"))
    assert second == Checklist(ticked={"likeness": 5.0}, notes={"strength": "too much at 1.0"})
    assert read_checklist(path) == second


def test_a_newer_file_is_left_as_it_is(tmp_path: Path) -> None:
    newer = f'{{"format": {FORMAT + 1}, "ticked": {{}}}}'
    path = tmp_path / "checklist.json"
    path.write_text(newer)
    with pytest.raises(UsageError, match="newer loratui"):
        update(path, lambda kept: kept.toggle("likeness"))
    assert path.read_text() == newer


def test_what_was_said_can_be_taken_back() -> None:
    said = (
        Checklist()
        .toggle("strength", 1)
        .note("next", "x")
        .rate("f", 3)
        .note_file("f", "good")
        .choose("f")
        .toggle_seen("weak")
        .note_image("i", "not her")
    )
    assert said.mark("f") == FileMark(3, "good")
    back = (
        said.toggle("strength")
        .note("next", " ")
        .rate("f", 0)
        .note_file("f", "")
        .choose("f")
        .toggle_seen("weak")
        .note_image("i", "")
    )
    assert back == Checklist()


texts = st.text(max_size=50)


@given(
    ticks=st.sets(st.sampled_from(PART_IDS)),
    notes=st.dictionaries(st.sampled_from(PART_IDS), texts),
    seen=st.sets(st.sampled_from(SEEN_IDS)),
    ratings=st.dictionaries(texts, st.integers(0, 5)),
    images=st.dictionaries(texts, texts),
)
def test_everything_that_is_said_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    ticks: set[str],
    notes: dict[str, str],
    seen: set[str],
    ratings: dict[str, int],
    images: dict[str, str],
) -> None:
    kept = Checklist(seen=frozenset(seen))
    for id in ticks:
        kept = kept.toggle(id, 7)
    for id, note in notes.items():
        kept = kept.note(id, note)
    for file, stars in ratings.items():
        kept = kept.rate(file, stars)
    for image, note in images.items():
        kept = kept.note_image(image, note)
    path = tmp_path_factory.mktemp("kept") / "checklist.json"
    assert update(path, lambda _: kept) == kept
    assert read_checklist(path) == kept


def test_a_note_has_an_end() -> None:
    assert len(Checklist().note("next", "x" * 20_000).notes["next"]) == LONGEST_NOTE


def test_nothing_is_written_where_the_run_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "validation" / "checklist.json"
    with pytest.raises(UsageError, match="folder is gone"):
        update(path, lambda kept: kept.toggle("likeness"))
    assert list(tmp_path.iterdir()) == []
