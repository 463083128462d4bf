"""Words of captions, bulk edits as functions, and counting tokens."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine import limits
from loratui.engine.dataset import caption_edits as edits
from loratui.engine.dataset import caption_words, tokens
from loratui.engine.dataset.captions import contains_trigger
from loratui.engine.dataset.implications import SHIPPED as IMPLIES
from loratui.engine.dataset.implications import same_tag
from loratui.engine.dataset.tag_table import TagTable
from loratui.presets import SHIPPED, load_preset

CAPTIONS = st.text(st.sampled_from("ab xofn,_'éß\U0001f98a1 -[](){}\\/"), max_size=60)


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("", "anafox"),
        ("anafox, woman, smile", "anafox, woman, smile"),
        ("woman, anafox, smile", "anafox, woman, smile"),
        ("a photo of anafox woman, smile", "a photo of anafox woman, smile"),
        ("a woman called anafox in a park", "anafox, a woman called anafox in a park"),
        ("Anafox, woman", "anafox, woman"),
        ("annafox, woman", "anafox, woman"),
        ("a fox, woman", "anafox, a fox, woman"),
    ],
)
def test_trigger_first(caption: str, wanted: str) -> None:
    assert edits.trigger_first(caption, "anafox") == wanted


@given(CAPTIONS)
def test_the_trigger_leads_afterwards_and_a_second_time_changes_nothing(caption: str) -> None:
    once = edits.trigger_first(caption, "anafox")
    assert caption_words.leads(once, "anafox")
    assert contains_trigger(once, "anafox")
    assert edits.trigger_first(once, "anafox") == once


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("anafox, smile", "anafox, woman, smile"),
        ("a photo of anafox, smile", "a photo of anafox, woman, smile"),
        ("a photo of anafox in a park", "a photo of anafox woman in a park"),
        ("anafox", "anafox woman"),
        ("anafox woman", "anafox woman"),
        ("anafox, a young woman in a park", "anafox, a young woman in a park"),
        ("smile", "smile"),
    ],
)
def test_with_class(caption: str, wanted: str) -> None:
    assert edits.with_class(caption, "anafox", "woman") == wanted


@given(CAPTIONS)
def test_the_class_word_follows_afterwards(caption: str) -> None:
    once = edits.with_class(edits.trigger_first(caption, "anafox"), "anafox", "woman")
    assert caption_words.followed_by(once, "anafox", "woman")
    assert edits.with_class(once, "anafox", "woman") == once


@pytest.mark.parametrize(
    ("edit", "caption", "wanted"),
    [
        (lambda c: edits.replaced(c, "cat", "dog"), "Cat, catfish, a cat", "dog, catfish, a dog"),
        (lambda c: edits.replaced(c, "cat", ""), "cat,  a cat here", "a here"),
        (lambda c: edits.replaced(c, "(cat)", r"\1"), "a (cat)", r"a \1"),
        (lambda c: edits.replaced(c, " ", "x"), "a b", "a b"),
        (lambda c: edits.without_tag(c, "long hair"), "a, Long_Hair, long hair day", "a, long hair day"),
        (lambda c: edits.without_tag(c, "b"), "a ,  c", "a ,  c"),
        (edits.without_score_tags, "score_9, score_8_up, source_anime, anafox, rating_safe", "anafox"),
        (edits.without_score_tags, "a score of 3", "a score of 3"),
        (lambda c: edits.with_prefix(c, "drawing, "), "anafox", "drawing, anafox"),
        (lambda c: edits.with_prefix(c, "drawing"), "drawing, anafox", "drawing, anafox"),
        (lambda c: edits.with_prefix(c, "draw"), "drawing", "draw, drawing"),
        (lambda c: edits.with_suffix(c, "red background"), "anafox, ", "anafox, red background"),
        (lambda c: edits.with_suffix(c, "red background"), "anafox, red background", "anafox, red background"),
        (lambda c: edits.with_suffix(c, "x"), "", "x"),
        (lambda c: edits.with_suffix(c, "long hair"), "Long_Hair, smile", "Long_Hair, smile"),
        (lambda c: edits.without_implied(c, IMPLIES), "corgi, dog, red hair, hair", "corgi, red hair"),
        (lambda c: edits.without_implied(c, IMPLIES, ("dog",)), "corgi, dog", "corgi, dog"),
        (lambda c: edits.without_implied(c, IMPLIES), "a ,b", "a ,b"),
        (lambda c: edits.with_tag_at(c, "smile", 2), "anafox, woman, Smile, hat", "anafox, Smile, woman, hat"),
        (lambda c: edits.with_tag_at(c, "smile", 99), "smile, hat", "hat, smile"),
        (lambda c: edits.with_tag_at(c, "smile", 1), "a ,b", "a ,b"),
        (lambda c: edits.tags_sorted(c, len, "anafox", "woman"), "anafox, abc, woman, x", "anafox, woman, x, abc"),
        (lambda c: edits.tags_sorted(c, len, "anafox"), "a woman in the park, x", "a woman in the park, x"),
    ],
)
def test_bulk_edits(edit: object, caption: str, wanted: str) -> None:
    assert edit(caption) == wanted  # type: ignore[operator]


@given(CAPTIONS, CAPTIONS)
def test_prefix_and_suffix_are_added_once(caption: str, words: str) -> None:
    for edit in (edits.with_prefix, edits.with_suffix):
        once = edit(caption, words)
        assert edit(once, words) == once
        assert words.strip(" ,") in once or edit is edits.with_suffix
    added = {same_tag(part) for part in caption_words.parts(edits.with_suffix(caption, words))}
    assert added >= {same_tag(part) for part in caption_words.parts(words.strip(" ,"))}


@given(CAPTIONS, CAPTIONS, st.integers(1, 6))
def test_tags_that_change_places_stay_the_same_tags(caption: str, tag: str, place: int) -> None:
    before = sorted(caption_words.parts(caption))
    for change in (lambda c: edits.with_tag_at(c, tag, place), lambda c: edits.tags_sorted(c, str.lower, "ab")):
        once = change(caption)
        assert sorted(caption_words.parts(once)) == before
        assert change(once) == once


@given(st.lists(st.sampled_from(["dog", "corgi", "Red_hair", "hair", "woman", "x"]), max_size=6).map(", ".join))
def test_what_is_implied_is_gone_and_nothing_else(caption: str) -> None:
    left = caption_words.parts(edits.without_implied(caption, IMPLIES, ("hair",)))
    gone = [tag for tag in caption_words.parts(caption) if tag not in left]
    assert set(gone) == ({"dog"} if {"dog", "corgi"} <= set(caption_words.parts(caption)) else set())


@given(CAPTIONS, CAPTIONS)
def test_a_removed_tag_is_gone(caption: str, tag: str) -> None:
    left = {part.lower() for part in caption_words.parts(edits.without_tag(caption, tag))}
    assert tag.strip().lower() not in left - {""}


@pytest.mark.parametrize("word", ["photo", "picture", "image", "portrait"])
def test_what_a_caption_calls_the_image_may_stand_before_the_trigger(word: str) -> None:
    assert caption_words.leads(f"a {word} of anafox in a park", "anafox")


def test_frequencies_and_changes() -> None:
    captions = {"a": "anafox, smile", "b": "anafox, Smile, smile", "c": "dog"}
    assert TagTable.of(captions).rows() == [("anafox", 2), ("smile", 2), ("dog", 1)]
    assert edits.changes(captions, lambda c: edits.without_tag(c, "smile")) == {"a": "anafox", "b": "anafox"}


@pytest.mark.parametrize(
    ("captions", "style"),
    [
        ([], "none"),
        (["a photo of anafox woman, wearing a coat, in the park"], "words"),
        (["anafox, woman, coat, park"], "tags"),
        (["anafox, 1girl, solo"], "booru"),
        (["long_hair, park"], "booru"),
        (["anafox, woman, coat, park", "a photo of anafox in the park"], "mixed"),
    ],
)
def test_styles(captions: list[str], style: str) -> None:
    assert caption_words.style_of(captions) == style


def test_the_shared_unknown_word_is_guessed() -> None:
    guess = caption_words.shared_unknown_word
    assert guess(["a photo of anafox woman", "anafox wearing a hat", "anafox, park"]) == "anafox"
    assert guess(["anafox bobcatx", "bobcatx anafox", "anafox bobcatx"]) == ""
    assert guess(["a woman", "the woman", "woman"]) == ""
    assert guess(["anafox", "anafox"]) == ""


def test_proposals_are_made_up() -> None:
    assert caption_words.proposals("hamburger") == ("h4mburg3r", "hmbrgr", "hmbrgrlora")
    assert caption_words.proposals("!?") == ()
    assert all(not caption_words.is_common(p) for name in ("anna", "cat", "io", "eve") for p in caption_words.proposals(name))


def test_words_and_their_inflections_are_common() -> None:
    assert all(caption_words.is_common(word) for word in ("Sarah", "wearing", "dogs", "walked", "WOMAN"))
    assert not any(caption_words.is_common(word) for word in ("anafox", "h4mburg3r", ""))


EMBEDDED = SHIPPED / "bases" / "sd15"


def test_tokens_are_counted_by_the_base_where_it_has_a_tokenizer(tmp_path: Path) -> None:
    exact = tokens.counter_for(EMBEDDED)
    assert exact.exact
    assert exact.count("a photo of anafox woman") == 8
    assert exact.count("") == 0
    assert exact.count("woman " * 200) == 200
    assert exact.lost("woman " * 80, 75).split() == ["woman"] * 5
    assert exact.lost("woman", 75) == ""
    assert exact.knows("woman")
    assert not exact.knows("anafox")
    for base in (None, tmp_path):
        assert tokens.counter_for(base) is tokens.ESTIMATE
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{broken")
    assert tokens.counter_for(tmp_path) is tokens.ESTIMATE


GROWS = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Removed", "invert": False}},
        {"normalizer": {"type": "Sequence", "normalizers": [GROWS] * 4}},
        {"normalizer": {**GROWS, "pattern": {"Regex": r"\s+"}}},
        {"normalizer": {**GROWS, "content": "b"}},
        {"normalizer": {"type": "Prepend", "prepend": "a"}},
        {"normalizer": {"type": "BertNormalizer"}},
        {"normalizer": [[]]},
    ],
)
def test_a_tokenizer_that_could_take_for_ever_does_not_count(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "tokenizer").mkdir()
    table = json.loads((EMBEDDED / "tokenizer" / "tokenizer.json").read_text())
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps({**table, **changes}))
    assert tokens.counter_for(tmp_path) is tokens.ESTIMATE


@pytest.mark.parametrize("kind", ["pipe", "device", "deep", "large"])
def test_a_tokenizer_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tokenizer" / "tokenizer.json"
    path.parent.mkdir()
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "deep": lambda: path.write_text("[" * 100_000),
        "large": lambda: path.write_text(json.dumps("a" * limits.MODEL_JSON_BYTES)),
    }[kind]()
    signal.alarm(20)
    assert tokens.counter_for(tmp_path) is tokens.ESTIMATE
    signal.alarm(0)


def test_a_table_of_letters_out_of_a_file_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_2").mkdir()
    table = json.loads((SHIPPED / "bases" / "flux" / "tokenizer_2" / "tokenizer.json").read_text())
    table["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    (tmp_path / "tokenizer_2" / "tokenizer.json").write_text(json.dumps(table))
    counter, usual = tokens.counter_for(tmp_path, "tokenizer_2"), tokens.counter_for(SHIPPED / "bases" / "flux", "tokenizer_2")
    assert counter.exact
    assert counter.count("a photo of ｗｏｍａｎ") == usual.count("a photo of woman")


def test_the_estimate_is_near_for_plain_captions() -> None:
    exact = tokens.counter_for(EMBEDDED)
    for path in sorted((SHIPPED / "bases" / "anafox").glob("*.txt")):
        caption = path.read_text(encoding="utf-8")
        assert tokens.ESTIMATE.count(caption) == pytest.approx(exact.count(caption), rel=0.2)


@given(CAPTIONS, st.integers(1, 20))
def test_what_is_lost_is_the_end(caption: str, window: int) -> None:
    for counter in (tokens.ESTIMATE, tokens.counter_for(EMBEDDED)):
        lost = counter.lost(caption, window)
        assert caption.endswith(lost)
        assert bool(lost) == (counter.count(caption) > window)


def test_windows() -> None:
    assert tokens.window(load_preset("sd15-portrait").settings) == 75
    assert tokens.window(load_preset("flux-identity-18img").settings) == 512
