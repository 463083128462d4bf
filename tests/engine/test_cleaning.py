"""Foreign strings that are shown or kept: nothing in them moves the cursor, turns the line around or paints over others."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import drawn

from loratui.engine.cleaning import clean
from loratui.engine.dataset.archives import left_out_of, unpack


def most_marks(text: str) -> int:
    most = marks = 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        most = max(most, marks)
    return most


@pytest.mark.parametrize(
    "flood",
    [
        "a" + "\u0301" * 500,
        "a" + "\u0301\u200b" * 300,
        "e" + "\u20dd" * 90,
        "\u0300" * 400,
        "กั" + "\u0e4d" * 100,
        "a" + "\U000e0100" * 90,
    ],
)
def test_a_flood_of_marks_is_cut(flood: str) -> None:
    shown = clean(flood)
    assert most_marks(shown) <= 4
    assert len(shown) <= 6


@pytest.mark.parametrize(
    "text",
    ["Việt Nam", "e\u0302\u0323", "שָׁלוֹם", "ที่นี่", "བརྒྱ", "हिन्दी", "é è ñ", "Ǻ", "קְּ֔", "مُحَمَّدٌ"],
)
def test_what_people_write_stays(text: str) -> None:
    assert clean(text) == text


@given(st.text(alphabet=st.characters(), max_size=100))
def test_whatever_comes_is_one_harmless_line(text: str) -> None:
    shown = clean(text)
    assert most_marks(shown) <= 4
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not any(
        unicodedata.bidirectional(letter) in ("LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI", "PDI") for letter in shown
    )
    assert clean(shown) == shown


def test_names_out_of_a_zip_are_kept_as_they_can_be_shown(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    drawn(1).save(tmp_path / "a.png")
    names = [
        "p/gnp.\u202exe\u200b.png",
        "p/a" + "\u0301" * 60 + ".png",
        "p/plain.png",
        "p/\x9b2J.png",
        "p/.\u200b./x.png",
        "p/\U000e0041tag.exe",
    ]
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            packed.write(tmp_path / "a.png", name)
        packed.writestr("p/gnp.\u202exe\u200b.txt", "its caption")
    done = unpack(archive, tmp_path / "out")
    kept = {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.suffix in (".png", ".txt")
    }
    assert kept == {"p/gnp.xe.png", "p/gnp.xe.txt", "p/a" + "\u0301" * 4 + ".png", "p/plain.png"}
    left_out = dict(left_out_of(done))
    assert "control characters" in left_out["p/\\x9b2J.png"]
    assert "leads out" in left_out["p/../x.png"]  # what the eye does not see stood between the dots
    assert "p/tag.exe" in left_out
    assert not (tmp_path / "x.png").exists()
