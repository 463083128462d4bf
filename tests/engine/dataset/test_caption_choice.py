"""Several captions an image: which is shown when, how often each, and wildcards, however many texts they could make."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.engine.dataset import caption_choice, wildcards
from loratui.engine.dataset.caption_choice import MOST_TEXTS, counts, drawn, lines_of, readings, texts
from loratui.presets.schema import Dataset

WILD = Dataset(caption_choice="line+wildcards", caption_variants=8)


def test_what_is_drawn_from_follows_the_setting() -> None:
    caption = "anafox in a {red|blue} hat\nanafox laughing"
    assert lines_of(caption, Dataset()) == ("anafox in a {red|blue} hat anafox laughing",)
    assert lines_of(caption, Dataset(caption_choice="line")) == ("anafox in a {red|blue} hat", "anafox laughing")
    own = readings(lines_of(caption, WILD), WILD, 42)
    assert Counter(own[0]) == {"anafox in a red hat": 4, "anafox in a blue hat": 4}
    assert own[1] == ("anafox laughing",)
    one = Dataset(caption_choice="line")
    assert readings(lines_of(caption, one), one, 42) == (("anafox in a {red|blue} hat",), ("anafox laughing",))


@pytest.mark.parametrize(
    ("text", "count", "made"),
    [
        ("{a|b}{c|d}", 4, {"ac": 1, "ad": 1, "bc": 1, "bd": 1}),
        ("{a|{b|c}}", 8, {"a": 4, "b": 2, "c": 2}),
        ("x, {a|}, y", 2, {"x, a, y": 1, "x, y": 1}),
        ("{a}", 2, {"a": 2}),
        (r"\{a\|b\}", 2, {"{a|b}": 2}),
        ("{a|b", 2, {"{a|b": 2}),
        ("a|b}", 2, {"a|b}": 2}),
        ("{2$$a|b}", 2, {"{2$$a|b}": 2}),
        ("{0.3::a|b}", 2, {"{0.3::a|b}": 2}),
    ],
)
def test_wildcards(text: str, count: int, made: dict[str, int]) -> None:
    assert Counter(wildcards.drawn(text, count, "seed")) == made


def test_an_explosion_of_choices_is_never_spelled_out() -> None:
    text = " ".join("{a|b|c|d}" for _ in range(5000))
    made = wildcards.drawn(text, 8, "seed")
    assert len(made) == 8 == len(set(made))
    for at in range(0, 10_000, 999):
        assert set(Counter(text[at] for text in made if text[at] != " ").values()) <= {2}
    deep = "{a|" * 3000 + "b" + "}" * 3000
    assert wildcards.drawn(deep, 2, "seed") == (deep, deep)
    assert wildcards.why_unread(deep)
    wide = "{" + "|".join(f"w{n}" for n in range(10_000)) + "}"
    assert len(set(wildcards.drawn(wide, 8, "seed"))) == 8


@given(st.text(alphabet="{}|\\,ab $:1.", max_size=60), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_as_many_readings_as_asked_for(text: str, count: int) -> None:
    made = wildcards.drawn(text, count, "seed")
    assert len(made) == count
    assert made == wildcards.drawn(text, count, "seed")
    assert all(len(reading) <= len(text) + text.count(",") for reading in made)
    if not wildcards.has_choice(text):
        assert len(set(made)) == 1


@given(
    st.lists(st.sampled_from(["a", "{x|y|z} hat", "b, c, d", "{p|q} {r|s}", "e"]), min_size=1, max_size=6, unique=True),
    st.integers(0, 80),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 2**63 - 1),
)
@settings(deadline=None)
def test_counts_are_those_of_drawing_one_by_one(lines: list[str], shown: int, variants: int, shuffle: bool, seed: int) -> None:
    dataset = Dataset(caption_choice="line+wildcards", caption_variants=variants, shuffle_captions=shuffle)
    of = texts(lines, dataset, seed)
    one_by_one = [drawn(of, seed, "a.png", at) for at in range(shown)]
    assert {text: count for text, count in counts(of, seed, "a.png", shown).items() if count} == Counter(one_by_one)
    by_line = [sum(text in own for text in one_by_one) for own in of]
    if not shuffle:
        assert max(by_line) - min(by_line) <= 1
    assert [drawn(of, seed, "a.png", at) for at in range(shown)] == one_by_one


def test_images_and_seeds_have_orders_of_their_own() -> None:
    of = tuple((f"line {n}",) for n in range(6))

    def course(seed: int, image: str) -> list[str]:
        return [drawn(of, seed, image, at) for at in range(24)]

    assert course(1, "a.png") != course(2, "a.png")
    assert course(1, "a.png") != course(1, "b.png")
    assert course(1, "a.png")[:6] != course(1, "a.png")[6:12]
    assert Counter(course(1, "a.png")) == dict.fromkeys((own[0] for own in of), 4)


def test_no_more_texts_are_encoded_than_the_most() -> None:
    dataset = Dataset(caption_choice="line+wildcards", caption_variants=1000, shuffle_captions=True)
    caption = "\n".join(f"{{a|b|c}} {n}, x, y" for n in range(3000))
    lines = lines_of(caption, dataset)
    assert len(lines) == MOST_TEXTS
    assert sum(map(len, texts(lines, dataset, 1))) <= MOST_TEXTS
    few = lines_of("\n".join(f"{{a|b|c}} {n}" for n in range(3)), dataset)
    assert sum(map(len, texts(few, dataset, 1))) <= MOST_TEXTS


def test_shuffled_tags_come_in_every_order_that_was_encoded() -> None:
    dataset = Dataset(shuffle_captions=True, keep_tokens=1, caption_variants=4)
    of = texts(("qxz, a, b, c, d",), dataset, 7)
    seen = Counter(drawn(of, 7, "a.png", at) for at in range(40))
    assert set(seen) == set(of[0])
    assert caption_choice.readings(("qxz, a, b, c, d",), dataset, 7) == (("qxz, a, b, c, d",),)
