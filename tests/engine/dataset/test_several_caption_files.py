"""Several caption files an image: `a.txt`, `a.2.txt` … are captions apart, for the checks, the ledger, a save and a copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_images import drawn

from loratui.engine.dataset import caption_store, prepared_copy, reader
from loratui.engine.dataset.caption_choice import counts, readings
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.ledger import build_ledger, final_lines
from loratui.engine.dataset.scan import scan
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import make_plan
from loratui.presets import load_preset, schema

SETTINGS = schema.replace(load_preset("demo").settings, {"dataset.trigger": "anafox", "dataset.class_word": "woman"})
LONG = "anafox woman in a red coat on a bench under trees in a park"


def image(folder: Path, name: str, **texts: str) -> Path:
    """An image with caption files; `_2` is `NAME.2.txt`."""
    path = folder / name
    drawn(len(name), (96, 64)).save(path)
    for key, words in texts.items():
        path.with_name(path.stem + key.replace("_", ".").replace("main", "") + ".txt").write_text(words)
    return path


def captions(folder: Path) -> dict[str, tuple[str | None, bool]]:
    return {found.relative: (found.caption, found.apart) for found in scan(folder).images}


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_numbered_files_are_captions_of_their_image(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main=LONG, _2="anafox woman, coat", _10="anafox woman,\nin a park", _3="anafox woman sits")
    image(tmp_path, "b.png", main="anafox woman\nat home")
    found = scan(tmp_path)
    assert captions(tmp_path) == {
        "a.png": (f"{LONG}\nanafox woman, coat\nanafox woman sits\nanafox woman, in a park", True),
        "b.png": ("anafox woman\nat home", False),
    }
    assert [path.name for path in found.images[0].further] == ["a.2.txt", "a.3.txt", "a.10.txt"]
    assert found.left_out == ()


def test_a_number_is_part_of_the_name_where_an_image_has_it(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main="anafox woman", _2="anafox woman laughing", _3="anafox woman sitting", _1="first")
    image(tmp_path, "a.2.png")
    found = scan(tmp_path)
    assert captions(tmp_path) == {
        "a.png": ("anafox woman\nanafox woman sitting", True),
        "a.2.png": ("anafox woman laughing", False),
    }
    assert [(item.relative, item.reason) for item in found.left_out] == [("a.1.txt", reader.ORPHAN)]


def test_each_is_drawn_by_the_seed_equally_often(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main=LONG, _2="anafox woman, coat")
    (found,) = scan(tmp_path).images
    for choice in ("whole", "line", "line+wildcards"):
        settings = schema.replace(SETTINGS, {"dataset.caption_choice": choice})
        lines = final_lines(found, settings, several_concepts=False)
        assert lines == (LONG, "anafox woman, coat")
        assert set(counts(readings(lines, settings.dataset, 42), 42, "a.png", 100).values()) == {50}
    first = schema.replace(SETTINGS, {"dataset.caption_choice": "first"})
    assert final_lines(found, first, several_concepts=False) == (LONG,)
    assert final_lines(replace(found, caption="x\ny", apart=False), first, several_concepts=False) == ("x",)


def test_the_ledger_counts_each_and_trains_on_them(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main=LONG, _2="anafox woman, coat")
    found = scan(tmp_path)
    plan = make_plan(build_recipe("demo", sets=("schedule.repeats=5", "schedule.epochs=2", "dataset.trigger=anafox")), found)
    (row,) = build_ledger(SETTINGS, found, plan)["images"]
    assert row["lines"] == [LONG, "anafox woman, coat"]
    assert row["captions"] == [{"text": LONG, "planned": 5}, {"text": "anafox woman, coat", "planned": 5}]


def test_checks_read_each_of_them(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main=LONG, _2="a woman in a coat" + " and a tree" * 40)
    codes = {finding.code: finding for finding in inspect_folder(tmp_path, SETTINGS).findings}
    assert codes["trigger_missing"].files == codes["caption_cut"].files == ("a.png",)
    assert codes["caption_lines"].message == "1 image with 2 captions in several files: each is drawn equally often: a.png."
    assert codes["caption_lines"].settings == {"dataset.caption_choice": "first"}


def test_captions_in_another_encoding_are_read_in_all_files(tmp_path: Path) -> None:
    path = image(tmp_path, "a.png", main="anafox woman in a cafe")
    path.with_name("a.2.txt").write_bytes("anafox im schönen Café".encode("cp1252"))
    (found,) = scan(tmp_path).images
    assert (found.caption, found.caption_encoding) == ("anafox woman in a cafe\nanafox im schönen Café", "cp1252")


def test_a_save_gives_each_line_its_file(tmp_path: Path) -> None:
    image(tmp_path, "a.png", main="one", _2="two", _5="three")
    image(tmp_path, "a.3.png", main="another image")
    saved = caption_store.save(scan(tmp_path), {"a.png": "1\n2\n3\n4"})
    assert saved.written == 1
    assert files(tmp_path) == {"a.txt": "1\n", "a.2.txt": "2\n", "a.3.txt": "another image", "a.4.txt": "3\n", "a.5.txt": "4\n"}
    assert captions(tmp_path)["a.png"] == ("1\n2\n3\n4", True)
    saved = caption_store.save(scan(tmp_path), {"a.png": "1"})
    assert files(tmp_path) == {"a.txt": "1\n", "a.3.txt": "another image"}
    assert {path.name for path in saved.kept.iterdir()} == {"a.txt", "a.2.txt", "a.4.txt", "a.5.txt"}
    assert captions(tmp_path)["a.png"] == ("1", False)


def test_a_save_that_fails_brings_all_of_them_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path, "a.png", main="one", _2="two", _3="three")
    before = files(tmp_path)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        with pytest.raises(Exception, match="no"):
            caption_store.save(scan(tmp_path), {"a.png": "1"})
    assert files(tmp_path) == before


def test_a_prepared_copy_keeps_them_apart(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    image(folder, "a.png", main="one", _2="two")
    image(folder, "b.png", main="one\ntwo")
    prepared_copy.make_copy(scan(folder), [], tmp_path / "copy")
    assert captions(tmp_path / "copy") == {"a.png": ("one\ntwo", True), "b.png": ("one\ntwo", False)}
