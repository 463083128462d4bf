"""Folders as phones, kohya's trainer, FluxGym and OneTrainer leave them: what is meant is read, all else has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_images import drawn, photo_like
from PIL import Image
from small_files import HEIC

from loratui.engine.dataset import decoding, file_kinds, reader
from loratui.engine.dataset.checks import run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.deep import measure_all
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.scan import DatasetScan, read_folder, scan
from loratui.engine.errors import DatasetError
from loratui.presets import load_preset


def write_image(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(len(str(path)), (96, 64)).save(path, **options)  # type: ignore[arg-type]
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def reasons(found: DatasetScan) -> dict[str, str]:
    return {item.relative: item.reason for item in found.left_out}


def missed(found: DatasetScan) -> set[str]:
    """What gives a warning."""
    return {item.relative for item in found.left_out if item.image or item.reason == reader.ORPHAN}


@pytest.mark.parametrize("given", ["project", "project/dataset", "project/dataset/img"])
def test_a_folder_of_kohyas_trainer_from_any_of_its_levels(tmp_path: Path, given: str) -> None:
    base = tmp_path / "project" / "dataset"
    write_image(base / "img" / "10_anafox woman" / "a.png")
    write_image(base / "reg" / "1_woman" / "r.png")
    write_image(tmp_path / "project" / "model" / "sample" / "s_000.png")
    touch(base / "img" / "10_anafox woman", "a.npz", "a_0096x0064_sdxl.npz")
    touch(tmp_path / "project", "log/events.out", "model/last.safetensors", "dataset/meta_cap.json")
    found = scan(tmp_path / given)
    assert [(i.concept, i.folder_repeats) for i in found.training] == [("anafox woman", 10)]
    assert [(i.concept, i.folder_repeats) for i in found.regularisation] == ([("woman", 1)] if given[-3:] != "img" else [])
    assert missed(found) == set()
    if given == "project":
        assert "a trainer wrote" in reasons(found)["model/sample"]


def test_kohyas_folder_names_trigger_class_and_caption(tmp_path: Path) -> None:
    write_image(tmp_path / "10_anafox woman" / "a.png")
    found = inspect_folder(tmp_path, load_preset("demo").settings)
    assert (found.guessed_trigger, found.case.settings.dataset.class_word) == ("anafox", "woman")
    assert found.examples() == ("anafox woman",)
    (missing,) = (finding for finding in found.findings if finding.code == "caption_missing")
    assert (missing.severity, missing.message) == ("info", '1 of 1 image has no caption: trained on "anafox woman".')


def test_a_folder_of_fluxgym(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "anafox"
    for at in range(3):
        write_image(folder / f"IMG_{at}.jpg").with_suffix(".txt").write_text(f"anafox, number {at}")
        touch(folder, f"IMG_{at}_0096x0064_flux.npz", f"IMG_{at}_flux_te.npz")
    touch(folder, "sample_prompts.txt", "dataset.toml", "train.sh", "README.md")
    for given in (folder, folder.parent):
        found = scan(given)
        assert [i.caption for i in found.training] == [f"anafox, number {at}" for at in range(3)]
        assert (found.concepts[0].name, len(found.concepts), missed(found)) == ("", 1, set())
    assert reasons(scan(folder))["sample_prompts.txt"] == file_kinds.PROMPTS


def test_concepts_of_onetrainer_without_their_masks(tmp_path: Path) -> None:
    for concept in ("person", "jacket"):
        write_image(tmp_path / concept / "a.png").with_suffix(".txt").write_text(f"a photo of {concept}")
    write_image(tmp_path / "person" / "a-masklabel.png")
    found = scan(tmp_path)
    assert [(c.name, c.images) for c in found.concepts] == [("jacket", 1), ("person", 1)]
    assert [(note.code, note.files) for note in found.notes] == [("unnumbered", ("jacket", "person"))]
    assert reasons(found) == {"person/a-masklabel.png": file_kinds.MASK}


def test_a_folder_of_ai_toolkit_without_its_caches_and_controls(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png").with_suffix(".txt").write_text("[trigger] in a park")
    write_image(tmp_path / "_controls" / "a.depth.jpg")
    touch(tmp_path, "_latent_cache/a_x.safetensors", "_t_e_cache/a.safetensors", ".aitk_size.json")
    found = scan(tmp_path)
    assert [image.relative for image in found.images] == ["a.png"]
    assert missed(found) == set()
    assert (reasons(found)["_controls"], reasons(found)["_t_e_cache"]) == (file_kinds.CONTROLS, file_kinds.CACHE)
    codes = [finding.code for finding in run_checks(Case(found, load_preset("demo").settings)).findings]
    assert "caption_placeholders" in codes


def test_caches_of_other_trainers_beside_the_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    touch(tmp_path, "a_0096x0064_sdxl.npz", "a.safetensors", "cache/vae/a.pt")
    (tmp_path / "aspect_ratio_bucket_metadata_x.json").write_text('{"a.png": {"original_size": [96, 64]}}')
    (tmp_path / "aspect_ratio_bucket_indices_x.json").write_text('{"aspect_ratio_bucket_indices": {"1.5": ["a.png"]}}')
    found = scan(tmp_path)
    assert ([image.caption for image in found.images], missed(found)) == ([None], set())
    assert len(found.left_out) == 4


def test_a_folder_without_a_number_is_read_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "a.png")
    assert len(scan(tmp_path).images) == 1
    write_image(tmp_path / "5_anafox" / "b.png")
    found = scan(tmp_path)
    assert [i.relative for i in found.images] == ["5_anafox/b.png"]
    assert missed(found) == {"photos"}


def test_results_of_training_are_never_trained_on(tmp_path: Path) -> None:
    write_image(tmp_path / "Samples" / "a.png")
    found = read_folder(tmp_path)
    assert found.images == ()
    assert "a trainer wrote" in reasons(found)["Samples"]
    with pytest.raises(DatasetError) as refusal:
        scan(tmp_path)
    assert str(tmp_path / "Samples") in refusal.value.remedy
    assert len(scan(tmp_path / "Samples").images) == 1


def test_folders_too_deep_are_said(tmp_path: Path) -> None:
    write_image(tmp_path / "5_anafox" / "b.png")
    write_image(tmp_path / "5_anafox" / "more" / "c.png")
    write_image(tmp_path / "a" / "b" / "c" / "d" / "e.png")
    assert missed(scan(tmp_path)) == {"5_anafox/more", "a/b/c/d"}


def test_a_whole_disk_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_FOLDERS", 3)
    for at in range(6):
        write_image(tmp_path / f"f{at}" / "a.png")
    found = scan(tmp_path)
    assert len(found.images) == 3
    assert "not looked into" in reasons(found)["f3"]
    assert missed(found) == {"f3"}


@pytest.mark.parametrize(
    "name", ["IMG_1234.JPG", "IMG_1234(1).JPG", "a.JPEG.jpg", "a.jfif", "a.jpe", "A.PNG", "a.WebP", "a.Bmp", "a.TIFF", "a.AVIF"]
)
def test_names_of_images(tmp_path: Path, name: str) -> None:
    kind = file_kinds.SUFFIXES[Path(name).suffix.lower()]
    write_image(tmp_path / name, format=kind)
    (image,) = scan(tmp_path).images
    assert (image.width, image.height, image.format) == (96, 64, kind)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.gif", "GIF"), ("a.SVG", "SVG"), ("a.CR2", "raw"), ("a.nef", "raw"), ("a.DNG", "raw"), ("a.psd", "paint"),
        ("a.jxl", "JPEG XL"), ("a.tga", "not read"),
    ],
)  # fmt: skip
def test_images_that_are_not_read_are_a_warning(tmp_path: Path, name: str, says: str) -> None:
    write_image(tmp_path / "good.png")
    touch(tmp_path, name, "a.txt")
    found = scan(tmp_path)
    assert says in reasons(found)[name]
    assert missed(found) == {name}, "its caption is not called an orphan as well"


@pytest.mark.parametrize(
    "name",
    ["IMG_1.MOV", "IMG_1.AAE", "a.npz", "metadata.json", "metadata.jsonl", "dataset.toml", "._a.jpg", ".DS_Store", "Thumbs.db",
     "desktop.ini", "__MACOSX/._a.jpg", "a.pdf", "notes.md", "prompts.txt", "readme.txt", "@eaDir/a.jpg", "Icon\r"],
)  # fmt: skip
def test_other_files_are_a_note_with_a_reason(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "a.png")
    touch(tmp_path, name)
    found = scan(tmp_path)
    assert list(reasons(found)) == [name.partition("/")[0]]
    assert missed(found) == set()
    (finding,) = (f for f in run_checks(Case(found, load_preset("demo").settings)).findings if f.code == "ignored")
    assert reasons(found)[name.partition("/")[0]] in finding.message


def test_a_caption_belongs_to_its_image_however_the_accent_is_written(tmp_path: Path) -> None:
    """A Mac takes é apart, and the tool that captioned did not."""
    write_image(tmp_path / "cafe\u0301.JPG")
    (tmp_path / "caf\u00e9.txt").write_text("anafox in a café", encoding="utf-8")
    (image,) = scan(tmp_path).images
    assert image.caption == "anafox in a café"
    assert scan(tmp_path).left_out == ()


def test_a_film_behind_a_photo_does_no_harm(tmp_path: Path) -> None:
    """Motion photos hold a whole MP4 behind the JPEG."""
    path = write_image(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + b"\0\0\0\x14ftypmp42" + bytes(50_000))
    (image,) = scan(tmp_path).images
    assert measure_all([image], 128, workers=1).damaged == {}


def test_a_tiff_of_a_rare_kind_is_called_one(tmp_path: Path) -> None:
    Image.new("F", (8, 8)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data.replace(b"\x53\x01\x03\0\x01\0\0\0\x03", b"\x53\x01\x03\0\x01\0\0\0\x09"))
    assert "TIFF that cannot be read" in reasons(read_folder(tmp_path))["a.tif"]


def test_what_loratui_keeps_in_a_folder_is_not_mentioned(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    touch(tmp_path, ".captions-before/0001/a.txt", ".loratui-prepared.json", ".loratui-unpacked.json")
    assert scan(tmp_path).left_out == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<!DOCTYPE html><html>", "web page"), (b"\n<html lang=en>", "web page"), (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bytes(4000), "zeros"), (b"PK\x03\x04" + bytes(40), "zip"), (b"%PDF-1.7", "document"), (b"\0\0\0\x14ftypqt  ", "film"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"), (b"GIF89a" + bytes(40), "GIF"),
    ],
)  # fmt: skip
def test_what_pretends_to_be_an_image_is_called_by_its_name(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert says in reasons(read_folder(tmp_path))["a.jpg"]


def test_an_image_of_another_format_than_its_name_says_is_read(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "WEBP"), ("b.png", "JPEG"), ("c.webp", "PNG"), ("d.jpg", "AVIF")):
        write_image(tmp_path / name, format=kind)
    assert [i.format for i in scan(tmp_path).images] == ["WEBP", "JPEG", "PNG", "AVIF"]


def test_a_jpeg_with_more_images_in_it_is_read_as_its_first(tmp_path: Path) -> None:
    """Portrait mode, stereo cameras and Ultra HDR store a depth map, a second view or a gain map behind the image."""
    first, second = photo_like(1, (640, 480)), Image.new("RGB", (640, 480), "red")
    first.save(tmp_path / "portrait.jpg", "MPO", save_all=True, append_images=[second], quality=92)
    (image,) = scan(tmp_path).images
    assert (image.format, image.traits.animated) == ("JPEG", False)
    measured = measure_all([image], 128, workers=1)
    assert measured.damaged == {}
    near = decoding.load_rgb(image.path).resize((1, 1)).getpixel((0, 0))
    wanted = first.resize((1, 1)).getpixel((0, 0))
    assert isinstance(near, tuple)
    assert isinstance(wanted, tuple)
    assert max(abs(a - b) for a, b in zip(near, wanted, strict=True)) <= 2


@pytest.mark.parametrize("name", ["IMG_2.HEIC", "IMG_2.heif", "IMG_2.HIF", "sent.jpg"])
def test_heic_is_turned_once_whatever_its_name(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / name).write_bytes(HEIC)
    (image,) = scan(tmp_path).images
    assert (image.width, image.height, image.format, image.traits.orientation) == (32, 64, "HEIF", 1)
    upright = decoding.load_rgb(tmp_path / name)
    assert upright.size == (32, 64)
    corners = {at: upright.getpixel(at) for at in ((2, 2), (29, 2), (2, 61), (29, 61))}
    assert [at for at, (red, _, blue) in corners.items() if red > blue] == [(29, 2)]  # type: ignore[misc]
    measured = measure_all([image], 128, workers=1)
    assert measured.damaged == {}


def test_without_its_extra_heic_is_named_by_content_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "heif_is_read", lambda: False)
    write_image(tmp_path / "good.png")
    for name in ("a.HEIC", "b.jpg"):
        (tmp_path / name).write_bytes(HEIC)
    found = scan(tmp_path)
    assert reasons(found) == dict.fromkeys(("a.HEIC", "b.jpg"), file_kinds.HEIF_MISSING)
    assert missed(found) == {"a.HEIC", "b.jpg"}


def test_many_files_left_out_for_one_reason_are_one_finding(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    touch(tmp_path, *(f"{at}.CR2" for at in range(30)))
    (finding,) = (f for f in run_checks(Case(scan(tmp_path), load_preset("demo").settings)).findings if f.code == "left_out")
    assert len(finding.files) == 30
    assert finding.message.startswith("30 files (0.CR2, 1.CR2")
