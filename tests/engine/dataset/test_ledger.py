"""The ledger: what is written comes back, hashes are of the bytes, and captions are those that are trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.dataset.ledger import build_ledger, read_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError
from loratui.presets.schema import Dataset, Settings


@dataclass(frozen=True)
class Repeats:
    image_repeats: tuple[int, ...]


def settings(**dataset: object) -> Settings:
    return replace(Settings(), dataset=Dataset(**{"trigger": "anafox", "class_word": "woman", **dataset}))  # type: ignore[arg-type]


def picture(path: Path, size: tuple[int, int] = (600, 400)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)


def captions(folder: Path, recipe: Settings) -> dict[str, str]:
    found = scan(folder)
    rows = build_ledger(recipe, found, Repeats((1,) * len(found.images)))["images"]
    return {row["relative"]: row["caption"] for row in rows}


def test_written_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    picture(folder / "a.png")
    (folder / "a.txt").write_text("anafox, café")
    (folder / "broken.png").write_text("x")
    found = scan(folder)
    (tmp_path / "dataset.json").write_text(json.dumps(build_ledger(settings(), found, Repeats((7,)))))
    ledger = read_ledger(tmp_path / "dataset.json")
    (entry,) = ledger.images
    assert ledger.root == folder
    assert [name for name, _ in ledger.left_out] == ["broken.png"]
    assert (entry.path, entry.relative, entry.repeats, entry.caption) == (folder / "a.png", "a.png", 7, "anafox, café")
    assert entry.sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert (entry.width, entry.height, entry.bucket, entry.fit) == (600, 400, Bucket(576, 384), Fit(576, 384, 0, 0))


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    picture(folder / "a.png")
    (folder / "a.png").rename(folder / "\udcff.png")
    found = scan(folder)
    (tmp_path / "dataset.json").write_text(json.dumps(build_ledger(settings(), found, Repeats((1,)))))
    assert read_ledger(tmp_path / "dataset.json").images[0].path.exists()


def test_a_picture_without_caption_trains_on_trigger_and_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("a woman in a park")
    assert captions(tmp_path, settings()) == {"a.png": "anafox woman", "b.png": "a woman in a park"}


def test_a_folders_words_are_the_caption_if_they_name_the_subject(tmp_path: Path) -> None:
    picture(tmp_path / "10_anafox red hair" / "a.png")
    assert set(captions(tmp_path, settings()).values()) == {"anafox red hair"}
    assert set(captions(tmp_path, settings(trigger="bobcat")).values()) == {"bobcat woman"}


def test_several_concepts_keep_their_own_words(tmp_path: Path) -> None:
    picture(tmp_path / "10_anafox" / "a.png")
    picture(tmp_path / "10_bobcat" / "b.png")
    assert set(captions(tmp_path, settings()).values()) == {"anafox", "bobcat"}


def test_regularisation_never_gets_the_trigger(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "reg" / "r.png")
    picture(tmp_path / "reg" / "1_person" / "s.png")
    found = captions(tmp_path, settings())
    assert found == {"a.png": "anafox woman", "reg/r.png": "woman", "reg/1_person/s.png": "person"}


@pytest.mark.parametrize("change", ["gone", "grown"])
def test_a_folder_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    picture(tmp_path / "a.png")
    found = scan(tmp_path)
    if change == "grown":
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + b"x")
    else:
        (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png"):
        build_ledger(settings(), found, Repeats((1,)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        ("", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": 1, "root": "/", "left_out": [], "images": [{"path": "/a"}]}', "damaged"),
        ('{"format": 2}', "newer loratui"),
    ],
)
def test_damaged_ledgers_are_named(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=why):
        read_ledger(path)
