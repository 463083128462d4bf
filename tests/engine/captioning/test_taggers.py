"""The WD taggers: their table, thresholds, categories and underscores, on a tagger that answers by an image's brightness."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_captioners import make_tagger
from PIL import Image

from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.taggers import MOST_SURE, load, read_tags, spoken
from loratui.engine.errors import LoratuiError, UsageError

pytest.importorskip("onnxruntime", reason="the extra taggers is not installed")
WD = CAPTIONERS["wd14"]


def white(mean: int, size: tuple[int, int] = (30, 30)) -> Image.Image:
    return Image.new("RGB", size, (mean, mean, mean))


def test_tags_come_by_certainty_above_the_threshold_of_their_category_with_one_rating(tmp_path: Path) -> None:
    model = load(WD, make_tagger(tmp_path), {})
    grey, bright = model.captions([white(175), white(255)], "")
    assert [(tag.name, tag.category) for tag in grey.tags] == [
        ("o_o", "general"),
        ("fox_(animal)", "general"),
        ("long_hair", "general"),
        ("explicit", "rating"),
    ]
    assert [tag.score for tag in grey.tags[:3]] == sorted((tag.score for tag in grey.tags[:3]), reverse=True)
    assert grey.text == "o_o, fox (animal), long hair"
    assert [tag.name for tag in bright.tags] == ["someone_(series)", "fox_(animal)", "explicit"]


def test_thresholds_are_a_persons_choice(tmp_path: Path) -> None:
    make_tagger(tmp_path)
    names = [
        [tag.name for tag in load(WD, tmp_path, options).captions([white(215)], "")[0].tags if tag.category != "rating"]
        for options in ({"general_threshold": 0.9}, {"general_threshold": 1, "character_threshold": 0.4}, {})
    ]
    assert names == [["fox_(animal)"], ["someone_(series)"], ["fox_(animal)", "o_o"]]
    for options in ({"general_threshold": 1.5}, {"character_threshold": "much"}, {"general_threshold": float("nan")}):
        with pytest.raises(UsageError, match="between 0 and 1"):
            load(WD, tmp_path, options)


def test_no_threshold_gives_more_tags_than_anybody_reads(tmp_path: Path) -> None:
    names = tuple((str(at), f"tag_{at}", "0") for at in range(MOST_SURE + 50))
    (answer,) = load(WD, make_tagger(tmp_path, tags=names), {"general_threshold": 0}).captions([white(255)], "")
    assert [tag.name for tag in answer.tags] == [f"tag_{at}" for at in range(MOST_SURE + 49, 49, -1)]


def test_the_whole_image_is_seen_on_a_white_square(tmp_path: Path) -> None:
    model = load(WD, make_tagger(tmp_path), {"general_threshold": 0.5})
    (stripe,) = model.captions([Image.new("RGB", (40, 10))], "")  # black, a quarter of the square: its mean is 191
    (square,) = model.captions([white(191, (40, 40))], "")
    assert [tag.name for tag in stripe.tags] == [tag.name for tag in square.tags] == ["o_o", "fox_(animal)", "explicit"]
    assert [tag.score for tag in stripe.tags] == pytest.approx([tag.score for tag in square.tags], abs=0.02)


def test_underscores_become_spaces_but_in_faces() -> None:
    given = ("long_hair", "fox_(animal)", "o_o", "(o)_(o)", ">_<", "||_||", "2girls", "x-ray_glasses", "3_3")
    assert [spoken(name) for name in given] == [
        *("long hair", "fox (animal)", "o_o", "(o)_(o)", ">_<", "||_||", "2girls", "x-ray glasses", "3_3"),
    ]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("tag_id,name,category\n1,fox,0\n", "its table has 1 tag, but it gives figures for 7"),
        ("tag_id,category\n1,0\n", "not a table of tags"),
        ("", "not a table of tags"),
        ("tag_id,name,category\n" + "1\n" * 7, "not a table of tags"),
    ],
)
def test_a_table_of_another_model_is_refused(tmp_path: Path, table: str, why: str) -> None:
    make_tagger(tmp_path)
    (tmp_path / "selected_tags.csv").write_text(table)
    with pytest.raises(LoratuiError, match=why):
        load(WD, tmp_path, {})


def test_a_file_that_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    make_tagger(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(LoratuiError, match="onnxruntime cannot load it"):
        load(WD, tmp_path, {})


def test_names_of_a_table_lose_what_terminals_obey(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("tag_id,name,category\n1,a\x1b[2Jb,0\n2,c,4\n")
    names = read_tags(tmp_path / "t.csv")
    assert "\x1b" not in names[0][0]
    assert [category for _, category in names] == ["general", "character"]
