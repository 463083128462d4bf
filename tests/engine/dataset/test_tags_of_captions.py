"""The table of tags, a person's own implications, and patterns that a person writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.dataset.caption_patterns import LONGEST, pattern_edit
from loratui.engine.dataset.caption_words import implied
from loratui.engine.dataset.implications import FILE, SHIPPED, implications
from loratui.engine.dataset.tag_table import TagTable
from loratui.engine.errors import UsageError

CAPTIONS = {"a": "anafox, smile, hat", "b": "anafox, Smile", "c": "anafox, hat, hat", "d": "dog"}


def test_the_table_counts_orders_and_searches() -> None:
    table = TagTable.of(CAPTIONS)
    assert table.rows() == [("anafox", 3), ("hat", 2), ("smile", 2), ("dog", 1)]
    assert table.rows("rarity")[0] == ("dog", 1)
    assert [tag for tag, _ in table.rows("name")] == ["anafox", "dog", "hat", "smile"]
    assert table.rows(search="A T") == [("hat", 2)]


def test_images_are_found_by_tags_they_have_and_lack() -> None:
    table = TagTable.of(CAPTIONS)
    assert table.chosen() == list(CAPTIONS)
    assert table.chosen(["Smile"]) == ["a", "b"]
    assert table.chosen(["anafox"], ["smile"]) == ["c"]
    assert table.chosen(["anafox", "hat"], ["smile", "dog"]) == ["c"]
    assert table.chosen([], ["anafox"]) == ["d"]
    assert table.chosen(["nobody"]) == []
    assert table.chosen([], ["nobody"]) == list(CAPTIONS)


TAGS = st.sampled_from(["a", "b", "c", "d e"])


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=2), st.lists(TAGS).map(", ".join)), st.sets(TAGS), st.sets(TAGS))
def test_a_choice_is_what_looking_at_each_caption_gives(captions: dict[str, str], having: set[str], lacking: set[str]) -> None:
    own = {name: set(caption.split(", ")) for name, caption in captions.items()}
    wanted = [name for name, tags in own.items() if having <= tags and not lacking & tags]
    assert TagTable.of(captions).chosen(having, lacking) == wanted


def test_own_implications_add_to_the_table_and_replace_lines_of_it(tmp_path: Path) -> None:
    assert implications(tmp_path) == (SHIPPED, "")
    (tmp_path / FILE).write_text('"Fur_coat" = ["coat"]\n"coat" = ["clothes"]\n"ponytail" = []\n"a" = ["b"]\n"b" = ["a"]\n')
    implies, problem = implications(tmp_path)
    assert problem == ""
    assert implies["fur coat"] == ("coat", "clothes")
    assert implies["corgi"] == ("dog",)
    assert implies["a"] == ("b",)
    assert implied("anafox, ponytail, hair", implies) == []
    assert implied("Fur_coat, clothes", implies) == [("fur coat", "clothes")]


@pytest.mark.parametrize("text", ['"a" = "b"', '"a" = [1]', "a", "[a]\nb = 1", "x" * 200_000, "\0", "'a' = " + "[" * 50])
def test_a_file_of_implications_that_cannot_be_used_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    implies, problem = implications(tmp_path)
    assert implies is SHIPPED
    assert str(tmp_path / FILE) in problem


def test_a_pattern_replaces_with_its_groups_in_any_case() -> None:
    assert pattern_edit(r"(\w+) hair", r"\1-haired")("Red Hair, hat") == "Red-haired, hat"
    assert pattern_edit("^", "x, ")("a") == "x, a"


@pytest.mark.parametrize(
    ("pattern", "new"), [("(", ""), ("[", ""), ("a" * (LONGEST + 1), ""), ("a", r"\9"), ("a", r"\g<b>"), ("a{5,1}", "")]
)
def test_a_pattern_that_is_none_is_told(pattern: str, new: str) -> None:
    with pytest.raises(UsageError):
        pattern_edit(pattern, new)("aaa")


def test_a_pattern_ends_in_time_however_it_is_written() -> None:
    change, began = pattern_edit("(a+)+b", "", seconds=0.1), time.monotonic()
    for _ in range(3):  # the time is for all captions together
        with pytest.raises(UsageError, match=r"longer than 0.1 s"):
            change("a" * 5000)
    assert time.monotonic() - began < 10
