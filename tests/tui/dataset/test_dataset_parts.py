"""The screens over the dataset step: an image with its caption, all captions at once, and saving."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from made_images import clean_set, drawn
from PIL import Image
from screen_text import hides, paste, shows, type_text, waits
from small_files import YUNET_STAND_IN
from textual.pilot import Pilot

from loratui.engine import durable
from loratui.engine.dataset import caption_store, mask_making
from loratui.engine.disk_errors import disk_error
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.image_screen import DatasetImageScreen
from loratui.tui.dataset.overview_screen import DatasetScreen
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.widgets.caption_editor import CaptionEditor
from loratui.tui.widgets.image_grid import ImageGrid
from loratui.tui.widgets.image_view import ImageView
from loratui.tui.wizard.draft import Draft


def draft_of(folder: Path) -> Draft:
    typed = {"dataset.path": str(folder), "dataset.trigger": "anafox", "dataset.class_word": "woman"}
    return Draft().with_preset("sd15-portrait").with_values({**typed, "base.model": "embedded:sd15"})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return clean_set(tmp_path / "photos", 12, (512, 512))


async def in_the_tiles(pilot: Pilot[Any]) -> DatasetScreen:
    screen = pilot.app.screen
    assert isinstance(screen, DatasetScreen)
    await waits(pilot, lambda: screen.model.judgement is not None)
    screen.query_one(ImageGrid).focus()
    await pilot.pause()
    return screen


async def test_an_image_opens_large_with_everything_about_it(home: Path, photos: Path) -> None:
    drawn(99, (1600, 640)).save(photos / "wide.png")
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("end", "enter")
        text = await shows(pilot, "13 of 13  wide.png", "1600 × 640 px, PNG", "trained at 768 × 320", "colour RGB, 8 bits")
        assert "none: trained on trigger and class word" in text
        assert "faces: not checked" in text
        await shows(pilot, "trained with: anafox woman", "k  crop it around the subject", "! warning")
        await pilot.press("k")
        await shows(pilot, "[✔] k", "trained at 576 × 384")
        await pilot.press("k")
        await shows(pilot, "[ ] k")
        await pilot.press("o")
        await shows(pilot, "no need to turn this image upright")


async def test_an_image_tells_its_path_is_copied_and_asked_for_in_real_pixels(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("enter")
        await shows(pilot, "1 of 12", "[ ] x")
        screen = pilot.app.screen
        assert isinstance(screen, DatasetImageScreen)
        path = photos / screen.name_shown
        assert screen.line("image-text").said.count(str(path)) == 2
        assert [name for name, _ in screen.copyable()] == ["path", "scp line"]
        assert screen.copyable()[0][1] == str(path)
        await pilot.press("p")
        await shows(pilot, "No real pixels", "copies the file")
        await pilot.press("y")
        await shows(pilot, "scp line", "path")
        await pilot.press("escape")
        await shows(pilot, "Caption")
        await pilot.press("e", "p")
        await waits(pilot, lambda: "p" in screen.query_one(CaptionEditor).text)


async def test_a_mask_is_shown_over_its_image(home: Path, photos: Path) -> None:
    (photos / "masks").mkdir()
    half = Image.new("L", (128, 128), 255)
    half.paste(0, (64, 0, 128, 128))
    half.save(photos / "masks" / "00.png")
    whole = (photos / "masks" / "00.png").read_bytes()
    (photos / "masks" / "01.png").write_bytes(whole[:60] + bytes(20) + whole[80:])
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("enter")
        await shows(pilot, "mask: 00.png, not used (m shows it)")
        view = pilot.app.screen.query_one(ImageView)
        await waits(pilot, lambda: view._image is not None)
        bare = view._image
        assert bare is not None
        await pilot.press("m")
        await waits(pilot, lambda: view._image != bare)
        marked = view._image
        assert marked is not None
        right = marked.width // 2 + 1
        for y in range(marked.height):
            start, stop = y * marked.width * 3, (y * marked.width + right - 2) * 3
            assert marked.rgb[start:stop] == bare.rgb[start:stop]
            for x in range(right, marked.width):
                red, green, _ = marked.rgb[(at := (y * marked.width + x) * 3) : at + 3]
                assert red >= 110 > 64 > green
        await pilot.press("m")
        await waits(pilot, lambda: view._image == bare)
        await pilot.press("m", "right")
        await shows(pilot, "The mask is damaged")


async def test_masks_are_made_in_the_dataset_step(home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    known = {"bytes": len(YUNET_STAND_IN), "sha256": hashlib.sha256(YUNET_STAND_IN).hexdigest()}
    weights = {"face": dataclasses.replace(mask_making.WEIGHTS["face"], **known), "person": mask_making.WEIGHTS["person"]}
    monkeypatch.setattr(mask_making, "WEIGHTS", weights)
    (home / "models").mkdir(parents=True)
    (home / "models" / weights["face"].file).write_bytes(YUNET_STAND_IN)
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("a")
        await shows(pilot, "Make the masks that are missing", "302.0 MB, Apache-2.0", "MIT", "p  persons")
        await pilot.press("n")
        await hides(pilot, "Make the masks")
        await pilot.press("a", "f")
        await shows(pilot, "12 masks made")
        await waits(pilot, lambda: len(list((photos / "masks-face").iterdir())) == 12)
        await shows(pilot, "Masks of 12 images are not used")


async def test_writing_a_caption_counts_its_tokens_and_waits_for_a_save(home: Path, photos: Path) -> None:
    before = (photos / "00.txt").read_bytes()
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("enter")
        await shows(pilot, "as in its file", "of 75 tokens", "e caption")
        await pilot.press("e")
        await type_text(pilot, ", q x")
        await shows(pilot, "not saved yet", "q x", "of 75 tokens")
        writing = await shows(pilot, "esc done", "pgdn next", "pgup previous")
        assert "x leave out" not in writing
        assert "esc back" not in writing
        await pilot.press("pagedown")
        await shows(pilot, "2 of 12  01.png", "blue shirt")
        await pilot.press("pageup", "escape")
        await shows(pilot, "q x", "s save captions", "esc back")
        assert (photos / "00.txt").read_bytes() == before
        await pilot.press("s")
        await shows(pilot, "1 caption saved in", "as in its file")
        assert (photos / "00.txt").read_text() == before.decode() + ", q x\n"
        kept = list((photos / caption_store.KEPT).rglob("00.txt"))
        assert [path.read_bytes() for path in kept] == [before]
        await pilot.press("u")
        await shows(pilot, "not saved yet")
        assert screen.model.edits is not None
        assert screen.model.edits.caption("00.png") == before.decode()


async def test_edited_captions_are_among_what_will_be_done(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("captions", {"00.png": "anafox woman, new", "03.png": ""}))
        await pilot.press("w")
        text = await shows(pilot, "00.png  caption: anafox woman, new", "03.png  no caption any more", "2 edited captions")
        assert "s writes them to the caption files at once" in " ".join(text.split())
        assert "enter make the copy" not in text
        await pilot.press("x")
        await shows(pilot, "1 edited caption,")
        assert set(screen.model.edits.chosen.captions) == {"03.png"}


async def test_what_is_beyond_the_window_is_marked_as_cut_off(home: Path, photos: Path) -> None:
    (photos / "00.txt").write_text("a photo of anafox woman, " + ", ".join(["in a very long and colourful street"] * 14))
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("enter")
        await shows(pilot, "of 75 tokens; the end is not read", "✂ cut off:")


async def test_pasted_escape_sequences_and_line_ends_do_not_get_in(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("enter", "e")
        await paste(pilot, " one\n\x1b[31mtwo\u202e three\r\n")
        await pilot.press("escape")
        await shows(pilot, "not saved yet")
        assert screen.model.edits is not None
        typed = screen.model.edits.caption("00.png")
        assert "\x1b" not in typed
        assert "\n" not in typed
        assert "\u202e" not in typed
        assert "one ␛[31mtwo three" in typed


async def test_looking_at_a_caption_with_invisible_characters_is_no_edit(home: Path, photos: Path) -> None:
    (photos / "00.txt").write_text("a photo of anafox woman \u200bin a park\u202e", encoding="utf-8")
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("enter", "e", "escape", "right", "left", "escape")
        await waits(pilot, lambda: pilot.app.screen is screen)
        assert screen.model.edits is not None
        assert not screen.model.edits.unsaved


async def test_the_editor_never_shows_another_images_caption(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("enter")
        for at in range(12):
            await shows(pilot, f"{at + 1} of 12")
            assert pilot.app.screen.query_one(CaptionEditor).text == (photos / f"{at:02d}.txt").read_text()
            await pilot.press("right")


async def test_all_captions_change_at_once_after_a_preview(home: Path, photos: Path) -> None:
    before = {path.name: path.read_bytes() for path in photos.glob("*.txt")}
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("c")
        await shows(pilot, "put the trigger first", "No caption would change", "tags, most frequent first", "smiling")
        await pilot.press("down", "down", "enter")
        await shows(pilot, "Type the text; the preview follows")
        await type_text(pilot, "smiling")
        await pilot.press("enter")
        await type_text(pilot, "laughing")
        text = await shows(pilot, "8 of 12 captions would change:", "− ", "+ ", "enter make this change")
        assert "and 4 more" in text
        await pilot.press("enter")
        await shows(pilot, "8 captions changed here")
        assert screen.model.edits is not None
        assert screen.model.edits.unsaved == 8
        assert {path.name: path.read_bytes() for path in photos.glob("*.txt")} == before
        await pilot.press("u")
        await waits(pilot, lambda: screen.model.edits is not None and screen.model.edits.unsaved == 0)
        await pilot.press("r", "s")
        await shows(pilot, "8 captions saved in")
        assert "laughing" in (photos / "01.txt").read_text()


async def test_a_tag_of_the_table_is_removed_everywhere(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("c", "tab", "down", "enter")
        await shows(pilot, "of 12 captions would change:", "A tag is the text between two commas")
        await pilot.press("enter")
        await shows(pilot, "captions changed here")
        assert screen.model.edits is not None
        assert not any("smiling" in caption for caption in screen.model.edits.captions().values())


@pytest.mark.parametrize(
    ("downs", "typed", "expected"),
    [
        (4, "portrait", "portrait, a photo of anafox woman"),
        (5, "outdoors", "serious, outdoors"),
    ],
)
async def test_words_are_added_in_front_and_at_the_end(home: Path, photos: Path, downs: int, typed: str, expected: str) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("c", *["down"] * downs, "enter")
        await type_text(pilot, typed)
        await shows(pilot, "12 of 12 captions")
        await pilot.press("enter")
        await waits(pilot, lambda: screen.model.edits is not None and screen.model.edits.unsaved == 12)
        assert screen.model.edits is not None
        assert expected in screen.model.edits.caption("00.png")


async def test_tags_say_which_captions_a_change_is_made_to(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("c", "tab")
        await shows(pilot, "tags, most frequent first", "space with/without")
        await pilot.press("slash")
        await type_text(pilot, "smil")
        await pilot.press("enter", "space")
        await shows(pilot, "+   8  smiling")
        await pilot.press("shift+tab", "shift+tab", *["down"] * 5, "enter")
        await type_text(pilot, "happy")
        await shows(pilot, "8 of 8 captions with smiling would change:")
        await pilot.press("enter")
        await shows(pilot, "8 captions changed here")
        await pilot.press("tab", "tab", "space")
        await shows(pilot, "−   8  smiling", "4 of 4 captions without smiling would change:")
        await pilot.press("o", "o")
        await shows(pilot, "tags, by name")
        await pilot.press("g")
        await shows(pilot, "Only 4 images without smiling")
        assert len(screen._tiles.names) == 4
        await pilot.press("escape")
        await waits(pilot, lambda: len(screen._tiles.names) == 12)


async def test_marked_images_alone_are_changed(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("space", "space", "c", *["down"] * 5, "enter")
        await type_text(pilot, "happy")
        await shows(pilot, "2 captions, 10 not meant", "2 of 2 captions would change:")
        await pilot.press("enter")
        await waits(pilot, lambda: screen.model.edits is not None and screen.model.edits.unsaved == 2)
        assert screen.model.edits is not None
        assert set(screen.model.edits.chosen.captions) == {"00.png", "01.png"}
        await pilot.press("escape", "escape")
        await waits(pilot, lambda: not screen.model.marked)
        assert pilot.app.screen is screen


@pytest.mark.long
async def test_a_pattern_that_is_none_is_told_before_it_is_made(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        await in_the_tiles(pilot)
        await pilot.press("c", *["down"] * 9, "enter")
        await type_text(pilot, "(smil")
        await shows(pilot, "This is no regular expression: missing )")
        await type_text(pilot, "ing)")
        await shows(pilot, "8 of 12 captions would change:")


async def test_going_on_asks_what_becomes_of_unsaved_captions(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("a caption", {"00.png": "anafox woman, new"}))
        await pilot.press("n")
        await shows(pilot, "1 caption not saved", "save them and go on", "go on without saving", "stay here")
        await pilot.press("escape")
        await hides(pilot, "save them and go on")
        assert pilot.app.screen is screen
        await pilot.press("n", "s")
        await shows(pilot, "[4 plan]", timeout_s=20)
        assert (photos / "00.txt").read_text() == "anafox woman, new\n"


async def test_captions_of_a_folder_that_cannot_be_written_go_into_a_copy(
    home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_store, "is_writable", lambda scan: False)
    before = (photos / "00.txt").read_bytes()
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("a caption", {"00.png": "anafox woman, new"}))
        await pilot.press("s")
        await waits(
            pilot, lambda: any("cannot be written, so 1 caption saved in a copy" in n.message for n in app._notifications)
        )
        await pilot.press("n")
        await shows(pilot, "[4 plan]", timeout_s=20)
        copy = Path(app.draft.value("dataset.path"))
        assert (copy / "00.txt").read_text() == "anafox woman, new\n"
    assert (photos / "00.txt").read_bytes() == before


async def test_a_disk_that_refuses_is_told_and_nothing_is_lost(
    home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, **_: object) -> None:
        raise disk_error(OSError(28, "No space left on device"), path)

    monkeypatch.setattr(durable, "write_file", full)
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("a caption", {"00.png": "anafox woman, new"}))
        await pilot.press("s")
        await waits(pilot, lambda: any("00.txt: the disk is full. Save them" in n.message for n in app._notifications))
        await shows(pilot, "✎ 1 unsaved")


async def test_a_change_is_worked_out_while_the_deep_check_goes_on(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("d", "c", "down", "down", "down", "down", "enter")
        await type_text(pilot, "portrait")
        await pilot.press("enter")
        await waits(pilot, lambda: screen.model.edits is not None and screen.model.edits.unsaved == 12)
        await waits(pilot, lambda: screen.model.measuring is None, timeout_s=60)
        assert screen.model.edits is not None
        assert len(screen.model.edits.facts) == 12
        assert screen.model.edits.unsaved == 12


async def test_leaving_asks_about_unsaved_captions_from_every_screen_over_the_set(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("a caption", {"00.png": "anafox woman, new"}))
        await pilot.press("enter")
        await shows(pilot, "1 of 12  00.png")
        await pilot.press("q")
        await shows(pilot, "1 caption not saved", "save them and leave", "leave without saving")
        await pilot.press("escape", "q", "s")
        await waits(pilot, lambda: not app.is_running)
    assert (photos / "00.txt").read_text() == "anafox woman, new\n"


async def test_an_image_left_out_by_hand_is_no_warning(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("x")
        await waits(
            pilot,
            lambda: any(f.code == "left_out" for f in screen.model.judgement.findings) if screen.model.judgement else False,
        )
        judged = screen.model.judgement
        assert judged is not None
        assert [done for finding, done in zip(judged.findings, judged.fixed, strict=True) if finding.code == "left_out"] == [
            True
        ]


async def test_what_a_thread_tells_a_screen_that_is_being_taken_away_is_let_go(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await in_the_tiles(pilot)
        await pilot.press("enter")
        await shows(pilot, "1 of 12  00.png")
        part = pilot.app.screen
        assert isinstance(part, DatasetPart)
        part._pruning = True  # as in the moment when the app ends
        await part.remove_children()
        screen.model.changed()
        part._pruning = False
