"""What is chosen for a folder as data: undo, saves in between, drafts, and what one key mends."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_images import clean_set
from PIL import Image

from loratui.engine.dataset import caption_store
from loratui.engine.dataset.buckets import BucketRule
from loratui.engine.dataset.caption_choice import texts
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import scan
from loratui.engine.findings import Finding
from loratui.engine.planning.preflight import token_counter
from loratui.presets import load_preset, schema
from loratui.tui.dataset.bulk_edits import BULK_EDITS, Around, changed_captions, why_nothing
from loratui.tui.dataset.edits import MOST_KEPT, DatasetEdits
from loratui.tui.dataset.image_marks import dimmed_outside, mirrored, tile_label, trained_part
from loratui.tui.dataset.judging import as_trained
from loratui.tui.dataset.quick_fixes import fix_for
from loratui.tui.dataset.recent import recent_folders, remember_folder
from loratui.tui.terminal.thumbnails import Thumbnail
from loratui.tui.widgets.image_grid import TILE_WIDTH

SETTINGS = schema.replace(load_preset("sd15-portrait").settings, {"dataset.trigger": "anafox", "dataset.class_word": "woman"})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> DatasetEdits:
    folder = clean_set(tmp_path_factory.mktemp("set") / "photos", 6)
    return DatasetEdits(str(folder), scan(folder))


def test_undo_and_redo_lead_back_and_forth(prepared: DatasetEdits) -> None:
    first = prepared.with_remedies("mirror", [Remedy("mirror", "00.png")])
    second = first.with_captions("write", {"01.png": "  new\n words "})
    assert second.caption("01.png") == "new\nwords"
    back, what = second.undone()
    assert (back.chosen, what) == (first.chosen, "write")
    start, _ = back.undone()
    assert start.chosen == prepared.chosen
    assert start.undone() == (start, "")
    again, _ = start.redone()
    assert again.chosen == first.chosen
    other = again.with_remedies("leave out", [Remedy("leave_out", "02.png")])
    assert other.redone() == (other, "")


def test_a_caption_that_is_as_its_file_is_no_edit(prepared: DatasetEdits) -> None:
    edited = prepared.with_captions("write", {"00.png": "other"})
    assert edited.unsaved == 1
    assert edited.with_captions("back", {"00.png": prepared.caption("00.png")}).unsaved == 0


def test_left_out_images_are_not_trained_on_and_can_come_back(prepared: DatasetEdits) -> None:
    less = prepared.with_remedies("leave out", [Remedy("leave_out", "02.png")])
    assert [image.relative for image in less.edited.training] == ["00.png", "01.png", "03.png", "04.png", "05.png"]
    assert less.reason_left_out("02.png") == "left out by you"
    assert len(less.without_remedy("again", "leave_out", "02.png").edited.training) == 6


def test_undo_reaches_behind_a_save(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "photos", 3)
    start = DatasetEdits(str(folder), scan(folder))
    old = start.caption("00.png")
    edited = start.with_captions("write", {"00.png": "new words"})
    (folder / "00.txt").write_text("new words\n")
    saved = edited.saved_beside(scan(folder))
    assert saved.unsaved == 0
    back, _ = saved.undone()
    assert back.caption("00.png") == old
    assert back.chosen.captions == {"00.png": old}


def test_what_was_typed_while_a_save_ran_stays_unsaved(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "photos", 3)
    edited = DatasetEdits(str(folder), scan(folder)).with_captions("write", {"00.png": "new"})
    later = edited.with_captions("write", {"01.png": "later"})
    (folder / "00.txt").write_text("new\n")
    assert later.saved_beside(scan(folder)).chosen.captions == {"01.png": "later"}


def test_captions_apart_are_drawn_in_turn_and_saved_in_files_of_their_own(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "photos", 3)
    start = DatasetEdits(str(folder), scan(folder))
    edited = start.with_apart({"00.png"}).with_captions("both", {"00.png": "long\nshort", "01.png": "one\ntext"})
    shown = {image.relative: as_trained(image, SETTINGS, token_counter(SETTINGS)) for image in edited.edited.images}
    assert [(shown[name].read, shown[name].of) for name in ("00.png", "01.png")] == [("long", 2), ("one text", 1)]
    (long,) = (i for i in start.with_apart({"02.png"}).scan.images if i.apart)
    cut = as_trained(long.with_caption("short\n" + "a tree, " * 60), SETTINGS, token_counter(SETTINGS))
    assert (cut.read.startswith("a tree"), bool(cut.cut), cut.of) == (True, True, 2)
    again = start.with_json(edited.to_json())
    assert {image.relative for image in again.edited.images if image.apart} == {"00.png"}
    caption_store.save(again.scan, dict(again.chosen.captions))
    assert [(folder / name).read_text() for name in ("00.txt", "00.2.txt", "01.txt")] == ["long\n", "short\n", "one\ntext\n"]
    assert edited.saved_beside(scan(folder)).unsaved == 0


def test_a_copy_is_of_these_remedies_only(prepared: DatasetEdits, tmp_path: Path) -> None:
    copied = scan(clean_set(tmp_path / "copy", 6))
    chosen = prepared.with_remedies("mirror", [Remedy("mirror", "00.png")]).with_copy(copied)
    assert chosen.trained is copied
    assert chosen.with_captions("write", {"00.png": "x"}).copied is copied
    assert chosen.with_remedies("mirror", [Remedy("mirror", "01.png")]).copied is None
    assert chosen.undone()[0].trained.root == prepared.root


def test_choices_come_back_from_text_if_they_are_of_this_folder(prepared: DatasetEdits, tmp_path: Path) -> None:
    chosen = prepared.with_remedies("mirror", [Remedy("mirror", "00.png")]).with_captions("write", {"01.png": "new"})
    assert prepared.with_json(chosen.to_json()).chosen == chosen.chosen
    other = clean_set(tmp_path / "other", 2)
    assert DatasetEdits(str(other), scan(other)).with_json(chosen.to_json()).chosen.remedies == ()
    for text in ("", "{", "[]", "null", '{"root": 1}', f'{{"root": "{prepared.root}", "remedies": [1]}}'):
        assert prepared.with_json(text) == prepared


def test_very_many_captions_do_not_swell_a_draft(prepared: DatasetEdits) -> None:
    chosen = prepared.with_captions("write", {"00.png": "x" * (MOST_KEPT + 1)})
    assert len(chosen.to_json()) < 1000


def found(id: str, *files: str) -> Finding:
    return Finding.of(id, files)


@pytest.mark.parametrize(
    ("id", "caption", "expected"),
    [
        ("trigger_not_first", "smiling, anafox, woman", "anafox, smiling, woman"),
        ("trigger_missing", "a woman in a park", "anafox, a woman in a park"),
        ("trigger_spelling", "Anafox woman", "anafox woman"),
        ("class_not_second", "anafox, smiling", "anafox, woman, smiling"),
        ("score_tags", "score_9, anafox woman", "anafox woman"),
        ("white_background", "anafox woman", "anafox woman, white background"),
    ],
)
def test_findings_of_captions_are_fixed_by_one_key(prepared: DatasetEdits, id: str, caption: str, expected: str) -> None:
    now = prepared.with_captions("write", {"00.png": caption})
    fix = fix_for(found(id, "00.png"), now, SETTINGS)
    assert fix is not None
    assert fix.captions == {"00.png": expected}
    assert "1 caption" in fix.label


def test_findings_of_settings_are_fixed_by_one_key(prepared: DatasetEdits) -> None:
    for key, value in (("dataset.flip", False), ("dataset.resolution", 512), ("dataset.trigger", "m4ry")):
        fix = fix_for(Finding.of("small.most", settings={key: value}), prepared, SETTINGS)
        assert fix is not None
        assert fix.settings == {key: value}
    for choice in schema.KEYS["dataset.caption_choice"].choices:
        assert fix_for(Finding.of("caption_lines.whole", settings={"dataset.caption_choice": choice}), prepared, SETTINGS)
    assert fix_for(found("too_few_images"), prepared, SETTINGS) is None


def test_every_bulk_edit_says_why_it_would_change_nothing(prepared: DatasetEdits) -> None:
    around = Around(SETTINGS, prepared.captions())
    for edit in BULK_EDITS:
        assert changed_captions(edit, ("", ""), around) == {}
        assert why_nothing(edit, ("", ""), around)


def test_what_is_shown_as_trained_is_an_order_that_the_trainer_draws(prepared: DatasetEdits) -> None:
    shuffling = schema.replace(SETTINGS, {"dataset.shuffle_captions": True, "dataset.keep_tokens": 1})
    image = prepared.edited.training[0]
    shown = as_trained(image, shuffling, token_counter(shuffling))
    drawn = texts((prepared.caption(image.relative),), shuffling.dataset, shuffling.training.seed)[0]
    assert shown.read + shown.cut in drawn
    assert as_trained(image, SETTINGS, token_counter(SETTINGS)).read == prepared.caption(image.relative)


def test_marks_turn_and_darken() -> None:
    image = Thumbnail(2, 2, bytes([200] * 3 + [100] * 3 + [40] * 3 + [80] * 3), 2, 2)
    assert mirrored(image).rgb == bytes([100] * 3 + [200] * 3 + [80] * 3 + [40] * 3)
    from loratui.engine.dataset.buckets import Bucket
    from loratui.engine.dataset.facts import Box

    assert dimmed_outside(image, Box(0, 0, 0.5, 1)).rgb == bytes([200] * 3 + [25] * 3 + [40] * 3 + [20] * 3)
    part = trained_part(1000, 500, Bucket(512, 512))
    assert (part.top, part.bottom) == (0.0, 1.0)
    assert part.width == pytest.approx(0.5, abs=0.01)


def test_recent_folders_are_the_newest_that_are_still_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folders = [tmp_path / f"f{at}" for at in range(12)]
    for folder in folders:
        folder.mkdir()
        remember_folder(home, str(folder))
    remember_folder(home, str(folders[3]))
    folders[11].rmdir()
    assert recent_folders(home)[:2] == (str(folders[3]), str(folders[10]))
    assert len(recent_folders(home)) <= 8
    (home / "recent-folders.json").write_text('{"a": 1}')
    assert recent_folders(home) == ()
    (home / "recent-folders.json").write_bytes(b"\xff\xfe")
    assert recent_folders(home) == ()


@pytest.mark.parametrize(
    ("size", "line"),
    [((512, 512), "512×512→512×512"), ((1024, 1536), "→832×1216"), ((4032, 3024), "→1088×832")],
)
def test_a_tile_holds_whole_sizes_only(tmp_path: Path, size: tuple[int, int], line: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", size).save(folder / "a.jpg")
    prepared = DatasetEdits(str(folder), scan(folder))
    label = tile_label("a.jpg", prepared, {}, BucketRule(1024))
    assert len(label.line) < TILE_WIDTH
    assert label.line == line
