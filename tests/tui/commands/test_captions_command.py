"""`loratui captions`: counting, finding and changing, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_images import clean_set

from loratui.engine.dataset.implications import FILE
from loratui.tui import cli


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = clean_set(tmp_path / "photos", 4)
    texts = ("anafox, woman, smile, red hair, hair", "anafox, woman, smile", "anafox, woman, hat", "hat, anafox")
    for at, text in enumerate(texts):
        (folder / f"{at:02d}.txt").write_text(text)
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["captions", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def texts_of(folder: Path) -> list[str]:
    return [path.read_text().strip() for path in sorted(folder.glob("*.txt"))]


def test_tags_are_counted_and_images_found(home: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, str(photos), "--having", "anafox", "--lacking", "smile")
    assert found.keys() == {
        *("folder", "images", "captioned", "tags", "implied", "chosen", "changed", "dry_run", "written", "kept")
    }
    assert found["tags"][:2] == [{"tag": "anafox", "captions": 4}, {"tag": "woman", "captions": 3}]
    assert found["implied"] == [{"tag": "red hair", "implies": "hair", "captions": 1}]
    assert found["chosen"] == ["02.png", "03.png"]
    assert found["written"] is False
    assert asked(capsys, str(photos), "--only", "0[12]*", "--having", "smile")["chosen"] == ["01.png"]
    assert cli.main(["captions", str(photos)]) == 0
    assert "     4  anafox\n" in capsys.readouterr().out


def test_changes_are_made_in_their_order_to_the_images_chosen(
    home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts_of(photos)
    words = (str(photos), "--having", "smile", "--remove-implied", "--add", "indoors", "--move", "indoors", "3")
    planned = asked(capsys, *words, "--dry-run")
    assert texts_of(photos) == before
    assert planned["changed"][1] == {
        "image": "01.png",
        "before": "anafox, woman, smile",
        "after": "anafox, woman, indoors, smile",
    }
    done = asked(capsys, *words)
    assert done["changed"] == planned["changed"]
    assert texts_of(photos) == ["anafox, woman, indoors, smile, red hair", "anafox, woman, indoors, smile", *before[2:]]
    assert (Path(done["kept"]) / "00.txt").read_text() == before[0]
    assert cli.main(["captions", str(photos), "--sort-tags", "--trigger", "anafox", "--class", "woman"]) == 0
    assert texts_of(photos)[0] == "anafox, woman, indoors, smile, red hair"
    assert "2 captions of 4 changed" in capsys.readouterr().out or texts_of(photos)[3] == "anafox, hat"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trigger-first",), "Add --trigger WORD"),
        (("--class-second", "--trigger", "anafox"), "Add --class WORD"),
        (("--pattern", "(", ""), "regular expression"),
        (("--move", "smile", "first"), "number from 1 on"),
        (("--add", " "), "empty"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_written(
    home: Path, photos: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    before = texts_of(photos)
    assert cli.main(["captions", str(photos), *words]) == 2
    assert told in capsys.readouterr().err
    assert texts_of(photos) == before


def test_own_implications_are_used_by_check_too(home: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / FILE).write_text('"hat" = ["anafox"]\n')
    assert {"tag": "hat", "implies": "anafox", "captions": 2} in asked(capsys, str(photos))["implied"]
    cli.main(["check", str(photos), "--json"])
    found = {finding["id"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found["implied_tags"]["files"] == ["00.png", "02.png", "03.png"]
    (home / FILE).write_text("no table")
    cli.main(["check", str(photos)])
    assert f"{home / FILE} is not used" in capsys.readouterr().err


def test_one_image_without_a_caption_is_told_of(home: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "03.txt").unlink()
    assert cli.main(["captions", str(photos)]) == 0
    assert "1 image without a caption is left alone." in capsys.readouterr().out
