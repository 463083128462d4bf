"""The ledger: what is written comes back, hashes are of the bytes, and captions are those that are trained on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.dataset.archives import unpack_once
from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.dataset.facts import Box
from loratui.engine.dataset.ledger import build_ledger, identity_of, read_ledger, with_times_shown
from loratui.engine.dataset.prepared_copy import copy_below
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError
from loratui.presets import schema
from loratui.presets.schema import Dataset, Settings


@dataclass(frozen=True)
class Repeats:
    image_repeats: tuple[int, ...]

    @property
    def image_exposures(self) -> tuple[int, ...]:
        return tuple(10 * repeats for repeats in self.image_repeats)


def settings(**dataset: object) -> Settings:
    return replace(Settings(), dataset=Dataset(**{"trigger": "anafox", "class_word": "woman", **dataset}))  # type: ignore[arg-type]


def image(path: Path, size: tuple[int, int] = (600, 400)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)


def captions(folder: Path, recipe: Settings) -> dict[str, str]:
    found = scan(folder)
    rows = build_ledger(recipe, found, Repeats((1,) * len(found.images)))["images"]
    return {row["relative"]: row["caption"] for row in rows}


def test_written_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    image(folder / "a.png")
    (folder / "a.txt").write_text("anafox, café")
    (folder / "broken.png").write_text("x")
    found = scan(folder)
    (tmp_path / "dataset.json").write_text(json.dumps(build_ledger(settings(), found, Repeats((7,)))))
    ledger = read_ledger(tmp_path / "dataset.json")
    (entry,) = ledger.images
    assert ledger.root == folder
    assert [name for name, _ in ledger.left_out] == ["broken.png"]
    assert (entry.path, entry.relative, entry.repeats, entry.caption) == (folder / "a.png", "a.png", 7, "anafox, café")
    assert (entry.planned_exposures, entry.times_shown, entry.source, entry.remedies) == (70, None, "a.png", ())
    assert entry.sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert (entry.width, entry.height, entry.bucket, entry.fit) == (600, 400, Bucket(576, 384), Fit(576, 384, 0, 0))


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    image(folder / "a.png")
    (folder / "a.png").rename(folder / "\udcff.png")
    found = scan(folder)
    (tmp_path / "dataset.json").write_text(json.dumps(build_ledger(settings(), found, Repeats((1,)))))
    assert read_ledger(tmp_path / "dataset.json").images[0].path.exists()


def test_an_image_without_caption_trains_on_trigger_and_class(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("a woman in a park")
    assert captions(tmp_path, settings()) == {"a.png": "anafox woman", "b.png": "a woman in a park"}


def test_a_folders_words_are_the_caption_if_they_name_the_subject(tmp_path: Path) -> None:
    image(tmp_path / "10_anafox red hair" / "a.png")
    assert set(captions(tmp_path, settings()).values()) == {"anafox red hair"}
    assert set(captions(tmp_path, settings(trigger="bobcat")).values()) == {"bobcat woman"}


def test_several_concepts_keep_their_own_words(tmp_path: Path) -> None:
    image(tmp_path / "10_anafox" / "a.png")
    image(tmp_path / "10_bobcat" / "b.png")
    assert set(captions(tmp_path, settings()).values()) == {"anafox", "bobcat"}


def test_regularisation_never_gets_the_trigger(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "reg" / "r.png")
    image(tmp_path / "reg" / "1_person" / "s.png")
    found = captions(tmp_path, settings())
    assert found == {"a.png": "anafox woman", "reg/r.png": "woman", "reg/1_person/s.png": "person"}


def test_what_was_seen_stands_in_the_ledger_and_leaves_its_identity_alone(tmp_path: Path) -> None:
    image(tmp_path / "set" / "a.png")
    table = build_ledger(settings(), scan(tmp_path / "set"), Repeats((2,)))
    seen = with_times_shown(table, [5], settings())
    (tmp_path / "dataset.json").write_text(json.dumps(seen))
    ledger = read_ledger(tmp_path / "dataset.json")
    assert (ledger.images[0].planned_exposures, ledger.images[0].times_shown) == (20, 5)
    assert ledger.identity == identity_of(table) == identity_of(with_times_shown(seen, [6], settings()))
    table["images"][0]["caption"] = "another"
    assert identity_of(table) != ledger.identity


@pytest.mark.parametrize(
    ("choice", "texts"),
    [
        ("line", {"anafox in a {red|blue} hat", "anafox laughing", "anafox"}),
        ("line+wildcards", {"anafox in a red hat", "anafox in a blue hat", "anafox laughing", "anafox"}),
    ],
)
def test_each_caption_of_an_image_is_counted(tmp_path: Path, choice: str, texts: set[str]) -> None:
    image(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "a.txt").write_text("anafox in a {red|blue} hat\n\nanafox laughing\nanafox\n")
    chosen = schema.replace(settings(), {"dataset.caption_choice": choice})
    table = build_ledger(chosen, scan(tmp_path / "set"), Repeats((2,)))
    (row,) = table["images"]
    assert row["lines"] == ["anafox in a {red|blue} hat", "anafox laughing", "anafox"]
    assert {caption["text"] for caption in row["captions"]} == texts
    assert sum(caption["planned"] for caption in row["captions"]) == row["planned"] == 20
    assert row["caption"] in texts
    seen = with_times_shown(table, [7], chosen)
    assert sum(seen["images"][0]["captions_seen"]) == 7
    assert identity_of(seen) == identity_of(table)
    (tmp_path / "dataset.json").write_text(json.dumps(seen))
    assert read_ledger(tmp_path / "dataset.json").images[0].lines == tuple(row["lines"])


def test_one_caption_has_no_list(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("anafox\nlaughing")
    (row,) = build_ledger(settings(), scan(tmp_path), Repeats((2,)))["images"]
    assert row["caption"] == "anafox laughing"
    assert not row.keys() & {"lines", "captions"}


def test_what_is_done_to_an_image_as_it_is_read_is_listed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "gray").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (60, 40), (1, 2, 3, 4)).save(tmp_path / "clear.png")
    Image.new("CMYK", (60, 40)).save(tmp_path / "print.jpg")
    Image.new("RGB", (60, 40)).save(tmp_path / "plain.png")
    rows = build_ledger(settings(), scan(tmp_path), Repeats((1,) * 4))["images"]
    assert {row["relative"]: [remedy["kind"] for remedy in row["remedies"]] for row in rows} == {
        "turned.jpg": ["rotate"], "clear.png": ["flatten"], "print.jpg": ["convert"], "plain.png": [],
    }  # fmt: skip
    assert [row["remedies"][0]["colour"] for row in rows if row["relative"] == "clear.png"] == ["white"]


def test_a_prepared_copy_brings_its_remedies_and_what_it_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        image(tmp_path / "set" / name)
    (tmp_path / "set" / "broken.png").write_text("x")
    chosen = (Remedy("leave_out", "b.png"), Remedy("mirror", "a.png"), Remedy("crop", "a.png", Box(0, 0, 0.5, 1)))
    copy = copy_below(tmp_path / "copies", scan(tmp_path / "set"), chosen, captions={"c.png": "anafox, edited"})
    table = build_ledger(settings(), scan(copy), Repeats((1, 1)))
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    ledger = read_ledger(tmp_path / "dataset.json")
    first, second = ledger.images
    assert (first.source, [remedy.kind for remedy in first.remedies]) == ("a.png", ["mirror", "crop"])
    assert (first.width, second.remedies, second.caption) == (300, (), "anafox, edited")
    assert dict(ledger.left_out) == {"b.png": "was left out by choice", "broken.png": dict(ledger.left_out)["broken.png"]}
    assert "not an image" in dict(ledger.left_out)["broken.png"]
    assert table["source"] == str(tmp_path / "set")


def test_the_same_choice_gives_the_same_copy(tmp_path: Path) -> None:
    image(tmp_path / "set" / "a.png")
    found = scan(tmp_path / "set")
    mirrored = (Remedy("mirror", "a.png"),)
    first = copy_below(tmp_path / "copies", found, mirrored)
    stamp = (first / "a.png").stat().st_ino
    assert copy_below(tmp_path / "copies", found, mirrored) == first
    assert (first / "a.png").stat().st_ino == stamp
    others = {
        copy_below(tmp_path / "copies", found, ()),
        copy_below(tmp_path / "copies", found, mirrored, captions={"a.png": "anafox"}),
    }
    assert len(others | {first}) == 3


def test_a_copy_or_zip_of_a_concept_folder_keeps_its_words(tmp_path: Path) -> None:
    folder = tmp_path / "10_anafox red hair"
    image(folder / "a.png")
    copy = copy_below(tmp_path / "copies", scan(folder), (Remedy("mirror", "a.png"),))
    assert captions(copy, settings()) == {"a.png": "anafox red hair"}
    assert [c.folder_repeats for c in scan(copy).concepts] == [10]
    with zipfile.ZipFile(tmp_path / "10_anafox.zip", "w") as packed:
        packed.write(folder / "a.png", "a.png")
    assert captions(unpack_once(tmp_path / "10_anafox.zip", tmp_path / "unpacked"), settings()) == {"a.png": "anafox woman"}


def test_what_a_zip_left_out_is_in_the_ledger(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.write(tmp_path / "a.png", "set/a.png")
        packed.writestr("../evil.png", b"x")
    for _ in range(2):  # the second time nothing is unpacked
        folder = unpack_once(tmp_path / "set.zip", tmp_path / "unpacked")
        left_out = build_ledger(settings(), scan(folder), Repeats((1,)))["left_out"]
        assert [item["relative"] for item in left_out] == ["../evil.png"]


@pytest.mark.parametrize("change", ["gone", "grown"])
def test_a_folder_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    image(tmp_path / "a.png")
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
