"""The dataset step by its keys: what is listed, what is fixed, what is carried out, and that nothing of the person's changes."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import answers_as_told
import made_images
import pytest
from made_images import clean_set, drawn, photo_like
from PIL import Image
from screen_text import hides, screen_text, shows, waits
from textual.pilot import Pilot

from loratui.engine.dataset import yunet
from loratui.engine.jobs import JOBS
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.changes_screen import ChangesScreen
from loratui.tui.dataset.overview_screen import DatasetScreen
from loratui.tui.dataset.topic_list import TopicList
from loratui.tui.widgets.field import Field, PathSuggester
from loratui.tui.widgets.image_grid import ImageGrid
from loratui.tui.wizard.draft import Draft


def draft_of(folder: Path, trigger: str = "anafox") -> Draft:
    typed = {"dataset.path": str(folder), "dataset.trigger": trigger, "dataset.class_word": "woman"}
    return Draft().with_preset("sd15-portrait").with_values({**typed, "base.model": "embedded:sd15"})


def prints(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def step(pilot: Pilot[Any]) -> DatasetScreen:
    found = next(screen for screen in pilot.app.screen_stack if isinstance(screen, DatasetScreen))
    assert isinstance(found, DatasetScreen)
    return found


async def checked(pilot: Pilot[Any]) -> DatasetScreen:
    await waits(pilot, lambda: step(pilot).model.judgement is not None)
    await pilot.pause()
    return step(pilot)


async def on_topic(pilot: Pilot[Any], words: str) -> None:
    """Puts the highlight on the row whose title has these words."""
    rows = step(pilot).query_one(TopicList)
    rows.focus()
    at = next(n for n, topic in enumerate(rows._shown) if words in topic.title.plain)
    rows.highlighted = at
    await pilot.pause()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve good images and one of each fault."""
    folder = clean_set(tmp_path / "photos", 12, (512, 512))
    turned = photo_like(98, (900, 1200))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    (folder / "turned.txt").write_text("a photo of anafox woman, in a field")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folder / "copy of 03.png").write_bytes((folder / "03.png").read_bytes())
    (folder / "copy of 03.txt").write_text("Anafox woman, score_9, masterpiece, outdoors, smiling, standing")
    return folder


async def test_findings_come_gravest_first_with_word_sign_reason_and_remedy(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "14 images, 14 with a caption", "! warning", "· note")
        assert text.index("! warning") < text.index("· note")
        await on_topic(pilot, "same file")
        await shows(pilot, "Why it matters", "What to do", "m  leave 1 image out", "copy of 03.png")


async def test_a_remedy_is_one_key_and_so_is_taking_it_back(home: Path, photos: Path) -> None:
    before = prints(photos)
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await on_topic(pilot, "rotated by EXIF")
        await pilot.press("m")
        await shows(pilot, "Chosen: turn 1 image upright", "◆ 1 change", "✔ fixed")
        await pilot.press("u")
        await shows(pilot, "Taken back: turn 1 image upright")
        await hides(pilot, "◆ 1 change")
        await pilot.press("r")
        await shows(pilot, "Done again", "◆ 1 change")
        assert screen.model.edits is not None
        assert [(r.kind, r.relative) for r in screen.model.edits.chosen.remedies] == [("rotate", "turned.jpg")]
    assert prints(photos) == before


async def test_what_will_be_done_is_listed_and_then_done_on_a_copy(home: Path, photos: Path) -> None:
    before = prints(photos)
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await on_topic(pilot, "rotated by EXIF")
        await pilot.press("m")
        await on_topic(pilot, "same file")
        await pilot.press("m", "n")
        await shows(pilot, "2 changes, made on a copy", "turned.jpg", "turned upright", "left out", "Your own images stay")
        await pilot.press("enter")
        await shows(pilot, "[4 plan]", timeout_s=20)
        copy = Path(app.draft.value("dataset.path"))
        assert copy.is_relative_to(home / "datasets")
        with Image.open(copy / "turned.png") as made:
            assert made.size == (1200, 900)
        assert len(list(copy.glob("*.txt"))) == 13
        assert app.draft.scan is not None
        assert len(app.draft.scan.training) == 13
        await pilot.press("escape")
        text = await shows(pilot, "[3 dataset]", "◆ 2 changes", str(photos))
        assert "datasets" not in text.split("Trigger")[0]
        await pilot.press("tab", "n")
        await shows(pilot, "[4 plan]")
        assert app.draft.value("dataset.path") == str(copy)
    assert prints(photos) == before


async def test_one_change_can_be_taken_out_of_the_list(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await checked(pilot)
        for words in ("rotated by EXIF", "same file"):
            await on_topic(pilot, words)
            await pilot.press("m")
        await pilot.press("w")
        await shows(pilot, "2 changes", "x drop")
        await pilot.press("x")
        await shows(pilot, "1 change, made on a copy")
        await pilot.press("escape")
        await waits(pilot, lambda: pilot.app.screen is screen)
        assert screen.model.edits is not None
        assert len(screen.model.edits.chosen.remedies) == 1


async def test_the_tiles_say_how_each_image_stands(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(160, 60)) as pilot:
        screen = await checked(pilot)
        text = await shows(pilot, "512×512→512×512", "! 03.png", "✖ broken.png")
        assert "▸  00.png" in text
        grid = screen.query_one(ImageGrid)
        grid.focus()
        await pilot.press("right", "x")
        await shows(pilot, "▸– 01.png", "left out by you", "13 images")
        await pilot.press("x")
        await hides(pilot, "left out by you")
        await waits(pilot, lambda: len(grid.shown_images) >= 15)
        assert not grid.shown_images[photos / "broken.png"]


async def test_only_the_images_of_a_finding_are_shown_until_esc(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(80, 24)) as pilot:
        screen = await checked(pilot)
        await on_topic(pilot, "same file")
        await pilot.press("enter")
        await shows(pilot, "▸! 03.png", "! copy of 03.png", "esc shows all again")
        assert screen.query_one(ImageGrid).names == ["03.png", "copy of 03.png"]
        await pilot.press("escape")
        await waits(pilot, lambda: len(screen.query_one(ImageGrid).names) == 15)
        assert pilot.app.screen is screen


async def test_the_deep_check_runs_beside_and_can_be_ended(home: Path, photos: Path) -> None:
    (photos / "cut short.jpg").write_bytes((photos / "turned.jpg").read_bytes()[:9000])
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await pilot.press("tab", "d")
        await shows(pilot, "deep check", "d stop check")
        await pilot.press("tab", "right")
        await waits(pilot, lambda: screen.model.measuring is None, timeout_s=60)
        assert screen.model.edits is not None
        assert len(screen.model.edits.facts) + len(screen.model.edits.damaged) == len(screen.model.edits.scan.images)
        await waits(
            pilot,
            lambda: screen.model.judgement is not None and not any("deep" in r for _, r in screen.model.judgement.not_checked),
        )
        assert "d deep check" not in screen_text(pilot.app)


async def test_faces_are_looked_for_once_the_detector_is_here(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[Path] = []
    photos = clean_set(tmp_path / "few", 3, (64, 64))
    support = Path(made_images.__file__).parent
    monkeypatch.setenv("PYTHONPATH", str(support))
    monkeypatch.setattr(yunet, "fetch_weights", here.append)
    monkeypatch.setattr(yunet, "detector_name", lambda home: "made_images:StandInFaceDetector" if here else "")
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await pilot.press("tab", "d")
        await waits(pilot, lambda: screen.model.all_measured and screen.model.measuring is None, timeout_s=60)
        assert not screen.model.faces_known
        await pilot.press("f")
        await waits(pilot, lambda: screen.model.faces_known, timeout_s=60)


async def test_why_faces_cannot_be_looked_for_is_told(home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yunet, "opencv_is_there", lambda: False)
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await pilot.press("tab", "f")
        await shows(pilot, "Looking for faces needs OpenCV", "loratui[faces]")


async def test_the_deep_check_ends_when_it_is_told_to(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(answers_as_told.__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("ANSWER", "time.sleep(60)")
    monkeypatch.setitem(JOBS, "measure", dataclasses.replace(JOBS["measure"], module="answers_as_told"))
    folder = clean_set(tmp_path / "many", 4)
    async with LoratuiApp(home, "dataset", draft=draft_of(folder)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await pilot.press("tab", "d", "d")
        await waits(pilot, lambda: screen.model.measuring is None, timeout_s=20)
        assert screen.model.edits is not None
        assert not screen.model.edits.facts
        await shows(pilot, "d deep check")


async def test_a_zip_is_unpacked_elsewhere_and_what_it_lacks_is_told(home: Path, tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 10)
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
        packed.writestr("../out.png", b"x")
    before = archive.read_bytes()
    app = LoratuiApp(home, "dataset", draft=draft_of(archive))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "10 images, 10 with a caption", "photos.zip")
        await checked(pilot)
        await on_topic(pilot, "left out")
        await shows(pilot, "../out.png", "leads out of the")
        assert Path(app.draft.value("dataset.path")).is_relative_to(home / "datasets")
    assert archive.read_bytes() == before
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("there", [True, False])
async def test_without_images_the_way_to_bring_them_is_shown_and_copied(
    home: Path, tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.7 51234 198.51.100.20 40022")
    folder = tmp_path / "photos of anna"
    if there:
        folder.mkdir()
    app = LoratuiApp(home, "dataset", draft=draft_of(folder))
    async with app.run_test(notifications=True, size=(160, 40)) as pilot:
        await shows(pilot, "✖", "scp -P 40022 -r", "198.51.100.20", "next to its folder photos")
        await pilot.press("tab")
        await shows(pilot, "y copy the line")
        lines = app.screen.copyable()  # type: ignore[attr-defined]
        assert lines[0][1].endswith("photos of anna/'" if there else "photos of anna'")


async def test_images_that_came_meanwhile_are_read_by_key_and_choices_stay(home: Path, photos: Path) -> None:
    later = photos.parent / "later"
    async with LoratuiApp(home, "dataset", draft=draft_of(later)).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "f5 reads", "f5 reload")
        shutil.copytree(photos, later)
        await pilot.press("f5")
        screen = await checked(pilot)
        assert isinstance(screen, DatasetScreen)
        screen.query_one(ImageGrid).focus()
        await pilot.press("x")
        await shows(pilot, "◆ 1 change")
        before = screen.model.edits
        drawn(300).save(later / "zz-new.png")
        await pilot.press("f5")
        await waits(pilot, lambda: screen.model.edits is not before and "zz-new.png" in screen.query_one(ImageGrid).names)
        await shows(pilot, "◆ 1 change")


async def test_the_path_completes_folders_and_zips(home: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.ZIP").write_bytes(b"")
    (tmp_path / "photos.txt").write_text("x")
    suggester = PathSuggester((".zip",))
    assert await suggester.get_suggestion(f"{tmp_path}/pho") == f"{tmp_path}/photos.ZIP"
    assert await PathSuggester().get_suggestion(f"{tmp_path}/pho") is None


async def test_a_trigger_that_is_no_plain_word_is_warned_about_as_it_is_typed(home: Path, photos: Path) -> None:
    draft = draft_of(photos, trigger="my anna!")
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(80, 24)) as pilot:
        await checked(pilot)
        field = next(field for field in step(pilot).query(Field) if field.key == "dataset.trigger")
        field.enter()
        await pilot.press("end", "!")
        await shows(pilot, "! my anna!! has signs in it (!): take one plain word.")


async def test_an_image_instead_of_its_folder_is_said_to_be_one(home: Path, photos: Path) -> None:
    draft = draft_of(photos / "00.png")
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(160, 40)) as pilot:
        text = await shows(pilot, "this is a file, not a folder", "the folder that holds it")
        assert "has no folders" not in text
        assert "00.png" not in text.split("To bring photos here")[1]


async def test_a_folder_used_before_is_one_key_away(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await pilot.press("tab", "n")
        await shows(pilot, "[4 plan]")
    empty = Draft().with_preset("sd15-portrait")
    async with LoratuiApp(home, "dataset", draft=empty).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "Type the path", "Used before", str(photos))
        await pilot.press("tab")
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "recent"
        await pilot.press("enter")
        await shows(pilot, "14 images")


async def test_an_everyday_trigger_is_warned_of_and_better_ones_are_proposed(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos, "mary"))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await pilot.press("down")
        await shows(pilot, "mary is an everyday word; made up: m4ry")
        await on_topic(pilot, 'trigger "mary"')
        await pilot.press("m")
        await shows(pilot, 'take "m4ry" as the trigger')
        assert app.draft.value("dataset.trigger") == "m4ry"


async def test_the_word_of_all_captions_is_offered_and_one_key_takes_it(home: Path, tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 10)
    app = LoratuiApp(home, "dataset", draft=draft_of(folder, ""))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "◆ anafox is in all captions; → takes it")
        assert app.draft.value("dataset.trigger") == ""
        await pilot.press("right")
        assert next(field for field in app.screen.query(Field) if field.key == "dataset.trigger").text == "anafox"
        await pilot.press("tab", "n")
        await shows(pilot, "[4 plan]")
        assert app.draft.value("dataset.trigger") == "anafox"


async def test_the_word_of_all_captions_is_not_taken_unasked_and_its_finding_takes_it_too(home: Path, tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 10)
    app = LoratuiApp(home, "dataset", draft=draft_of(folder, ""))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await on_topic(pilot, "No trigger word is set")
        assert app.draft.value("dataset.trigger") == ""
        await pilot.press("m")
        await shows(pilot, 'Chosen: take "anafox" as the trigger')
        assert app.draft.value("dataset.trigger") == "anafox"


async def test_several_concepts_show_share_and_what_regularisation_costs(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "concepts"
    clean_set(root / "10_anafox woman", 6)
    clean_set(root / "2_bobrak man", 9)
    clean_set(root / "reg", 8)
    async with LoratuiApp(home, "dataset", draft=draft_of(root)).run_test(notifications=True, size=(160, 50)) as pilot:
        await checked(pilot)
        await on_topic(pilot, "concepts")
        text = await shows(pilot, "anafox woman", "bobrak man", "regularisation", "77%", "23%")
        assert (
            "They cost 78 image-steps an epoch, 50% of the time" in " ".join(text.split()).replace(" │ ", " ") or "78" in text
        )
        assert "more than twice as often" in " ".join(text.split())


async def test_trained_with_shows_what_the_model_reads_and_what_is_cut(home: Path, tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 10)
    (folder / "00.txt").write_text("a photo of anafox woman, " + ", ".join(["in a very long and colourful street"] * 14))
    async with LoratuiApp(home, "dataset", draft=draft_of(folder)).run_test(notifications=True, size=(160, 50)) as pilot:
        await checked(pilot)
        await on_topic(pilot, "trained with")
        await shows(pilot, "of 75 tokens", "✂ cut off:", "00.png", "09.png")


async def test_hostile_names_and_captions_stay_harmless(home: Path, tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 4)
    names = ("写真\u202egpj.png", "\x1b[31mred.png", "a\nb.png", "🦊" * 20 + ".png", "n" * 200 + ".png", "[bold]x[red].png")
    for at, name in enumerate(names):
        path = folder / name
        drawn(50 + at, (128, 128)).save(path, "PNG")
        path.with_suffix(".txt").write_text(f"anafox woman \u202e evil \x1b]0;x\x07 🦊 [red]{'x' * 300}", encoding="utf-8")
    (folder / "00.txt").write_bytes(b"caf\xe9 anafox \xff\xfe")
    for size, opened in (((80, 24), 10), ((120, 40), 0)):
        async with LoratuiApp(home, "dataset", draft=draft_of(folder)).run_test(notifications=True, size=size) as pilot:
            screen = await checked(pilot)
            await pilot.press("tab")
            for _ in range(8):
                await pilot.press("down")
            await pilot.press("tab")
            assert len(screen.query_one(ImageGrid).names) == 10
            for _ in range(opened):
                await pilot.press("enter")
                shown = screen_text(pilot.app)
                assert not {c for c in shown if ord(c) < 32 and c != "\n"}
                assert "\u202e" not in shown
                await pilot.press("escape", "right")


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
async def test_without_enough_colours_images_are_words_and_the_cursor_is_seen(
    variable: str, home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv(variable, "linux")
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        text = await shows(pilot, "▸", "512×512→512×512")
        assert "▀" not in text
        screen.query_one(ImageGrid).focus()
        await pilot.press("right", "enter")
        await shows(pilot, "Caption", "512 × 512 px")


async def test_what_was_chosen_survives_going_back_and_forth_and_a_dropped_link(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await on_topic(pilot, "rotated by EXIF")
        await pilot.press("m")
        assert screen.model.edits is not None
        screen.model.choose(screen.model.edits.with_captions("a caption", {"00.png": "anafox woman, typed"}))
        await pilot.press("escape")
        await shows(pilot, "not saved yet")
        app.open("dataset")
        await shows(pilot, "◆ 1 change", "✎ 1 unsaved")
        kept = Draft(app.draft.recipe, typed=app.draft.typed)
    async with LoratuiApp(home, "dataset", draft=kept).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "◆ 1 change", "✎ 1 unsaved")


async def test_another_folder_drops_what_was_chosen(home: Path, photos: Path, tmp_path: Path) -> None:
    other = clean_set(tmp_path / "other", 11)
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        screen = await checked(pilot)
        await on_topic(pilot, "rotated by EXIF")
        await pilot.press("m")
        field = screen.query(Field).first()
        field.enter()
        field._input.value = str(other)
        await shows(pilot, "11 images")
        await hides(pilot, "◆ 1 change")


async def test_the_footer_tells_only_keys_that_work(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(160, 40)) as pilot:
        await checked(pilot)
        text = screen_text(pilot.app).splitlines()[-1]
        assert "enter next" in text
        assert "m fix" not in text
        await on_topic(pilot, "the set")
        assert "m fix" not in screen_text(pilot.app).splitlines()[-1]
        await on_topic(pilot, "same file")
        await shows(pilot, "m fix", "enter images", "n next", "d deep check")
        assert "s save captions" not in screen_text(pilot.app).splitlines()[-1]
        await pilot.press("question_mark")
        await shows(pilot, "choose the quick fix of this finding")


async def test_a_copy_that_is_no_longer_wanted_leaves_nothing(home: Path, photos: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=draft_of(photos)).run_test(notifications=True, size=(120, 40)) as pilot:
        await checked(pilot)
        await on_topic(pilot, "rotated by EXIF")
        await pilot.press("m", "n")
        await shows(pilot, "enter make the copy")
        changes = pilot.app.screen
        assert isinstance(changes, ChangesScreen)
        changes.action_carry_out()
        changes.action_back()
        await shows(pilot, "Not copied")
        await waits(pilot, lambda: not list((home / "datasets").glob("*")))
        await pilot.press("escape")
        await shows(pilot, "◆ 1 change")
