"""Captions: how bytes become text, and which text an image is trained on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.dataset import caption_choice
from loratui.engine.dataset.captions import LONGEST_BYTES, compose, contains_trigger, decode, lines, normalised
from loratui.presets.schema import Dataset


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"anafox smiling\n", "anafox smiling", "utf-8"),
        ("anafox, café".encode(), "anafox, café", "utf-8"),
        (b"\xef\xbb\xbfanafox", "anafox", "utf-8 with BOM"),
        ("anafox, 写真".encode("utf-16"), "anafox, 写真", "utf-16"),
        ("anafox".encode("utf-16-be").join([b"\xfe\xff", b""]), "anafox", "utf-16"),
        ("anafox, caf\xe9 \x93x\x94".encode("latin-1"), "anafox, café “x”", "cp1252"),
        (b"one\r\n\r\ntwo\tthree", "one\ntwo three", "utf-8"),
        ("one\u2028two\x85three".encode(), "one\ntwo\nthree", "utf-8"),
        ("anafox, 写真".encode("utf-16-le"), "anafox, 写真", "UTF-16 without a mark"),
        ("anafox, 写真".encode("utf-16-be"), "anafox, 写真", "UTF-16 without a mark"),
        ("анна".encode("utf-16-le"), "анна", "UTF-16 without a mark"),
        ("anafox".encode("utf-32"), "anafox", "utf-32"),
        ("anafox, 红色的帽子, 在公园里微笑".encode("gbk"), "anafox, 红色的帽子, 在公园里微笑", "GBK"),
        ("anafox, женщина в красной шляпе".encode("cp1251"), "anafox, женщина в красной шляпе", "cp1251"),
        ("anafox, 赤い帽子の女性".encode("cp932"), "anafox, 赤い帽子の女性", "Shift-JIS (cp932)"),
        ("anafox, 紅色的帽子, 在公園裡微笑的女人".encode("big5"), "anafox, 紅色的帽子, 在公園裡微笑的女人", "Big5"),
        ("anafox, 빨간 모자를 쓴 여자".encode("euc-kr"), "anafox, 빨간 모자를 쓴 여자", "EUC-KR (cp949)"),
        ("anafox mit großem Hut, lächelnd".encode("latin-1"), "anafox mit großem Hut, lächelnd", "cp1252"),
        ("anafox, kobieta w słońcu, żółty płaszcz".encode("cp1250"), "anafox, kobieta w słońcu, żółty płaszcz", "cp1250"),
        (b"a\x00b \x1b[31mred", "a b [31mred", "utf-8"),
        (b"   \n ", "", "utf-8"),
        (b"", "", "utf-8"),
    ],
)
def test_decoding_rule(data: bytes, text: str, encoding: str) -> None:
    decoded = decode(data)
    assert (decoded.text, decoded.encoding, decoded.cut) == (text, encoding, False)


def test_a_huge_caption_is_cut_between_characters() -> None:
    decoded = decode("é".encode() * LONGEST_BYTES)
    assert decoded.cut
    assert decoded.encoding == "utf-8"
    assert set(decoded.text) == {"é"}


@given(st.binary(max_size=300))
def test_any_bytes_become_clean_lines_of_text(data: bytes) -> None:
    text = decode(data).text
    assert text == normalised(text)
    for line in lines(text):
        assert line == " ".join(line.split()) != ""
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)


@given(st.text(max_size=80))
def test_utf8_text_without_controls_survives(text: str) -> None:
    clean = " ".join("".join(c for c in text if c.isprintable() or c == " ").split())
    if not clean.startswith("\ufeff"):
        assert decode(clean.encode()).text == clean


@pytest.mark.parametrize(
    ("caption", "trigger", "class_word", "final"),
    [
        ("anafox in a park", "anafox", "woman", "anafox in a park"),
        ("in a park", "anafox", "woman", "in a park"),
        (None, "anafox", "woman", "anafox woman"),
        (None, "anafox", "", "anafox"),
        (None, "", "woman", "woman"),
        ("", " anafox ", "woman", "anafox woman"),
        (None, "", "", ""),
    ],
)
def test_compose(caption: str | None, trigger: str, class_word: str, final: str) -> None:
    assert compose(caption, trigger, class_word) == final


@pytest.mark.parametrize(
    ("caption", "trigger", "found"),
    [
        ("anafox in a park", "anafox", True),
        ("photo of anafox, smiling", "anafox", True),
        ("(anafox:1.2)", "anafox", True),
        ("Anafox in a park", "anafox", False),
        ("anafoxes", "anafox", False),
        ("my anafox2", "anafox", False),
        ("a.b c", "a.b", True),
        ("axb", "a.b", False),
        ("anything", "", True),
    ],
)
def test_trigger_is_a_word_spelled_and_cased_the_same(caption: str, trigger: str, found: bool) -> None:
    assert contains_trigger(caption, trigger) is found


def variants(caption: str, dataset: Dataset, seed: int) -> tuple[str, ...]:
    (own,) = caption_choice.texts((caption,), dataset, seed)
    return own


def test_shuffled_tags_keep_the_first_ones_and_lose_none() -> None:
    caption = "qxz, woman, hat, tree, car, sun"
    orders = variants(caption, Dataset(shuffle_captions=True, keep_tokens=2, caption_variants=8), 42)
    assert len(orders) == 8
    assert len(set(orders)) > 2
    assert all(order.split(", ")[:2] == ["qxz", "woman"] for order in orders)
    assert all(sorted(order.split(", ")) == sorted(caption.split(", ")) for order in orders)
    loose = variants(caption, Dataset(shuffle_captions=True, caption_variants=8), 42)
    assert len({order.split(", ")[0] for order in loose}) > 2


def test_orders_are_a_function_of_seed_and_caption_and_there_are_none_without_shuffling() -> None:
    shuffling = Dataset(shuffle_captions=True, caption_variants=4)
    caption = "qxz, woman, hat, tree, car, sun"
    assert variants(caption, shuffling, 1) == variants(caption, shuffling, 1)
    assert variants(caption, shuffling, 1) != variants(caption, shuffling, 2)
    assert variants(caption, Dataset(caption_variants=4), 1) == (caption,)
