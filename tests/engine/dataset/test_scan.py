"""Scanning folders: what is read, what is left out and why, and every refusal as a sentence."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.dataset import decoding
from loratui.engine.dataset.checks import run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.scan import DatasetScan, scan, verify, without
from loratui.engine.errors import DatasetError, ExitCode, LoratuiError
from loratui.presets import load_preset


def write_image(path: Path, size: tuple[int, int] = (64, 48), caption: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def left_out(found: DatasetScan) -> dict[str, str]:
    return {item.relative: item.reason for item in found.left_out}


def notes(found: DatasetScan) -> dict[str, tuple[str, ...]]:
    return {note.code: note.files for note in found.notes}


def test_a_plain_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", caption="anafox in a park")
    write_image(tmp_path / "a.jpg", (100, 200))
    found = scan(tmp_path)
    assert [i.relative for i in found.images] == ["a.jpg", "b.png"]
    first, second = found.images
    assert (first.width, first.height, first.format, first.caption, first.caption_path) == (100, 200, "JPEG", None, None)
    assert (second.caption, second.caption_path) == ("anafox in a park", tmp_path / "b.txt")
    assert second.bytes == (tmp_path / "b.png").stat().st_size
    assert [(c.name, c.folder, c.images, c.folder_repeats, c.regularisation) for c in found.concepts] == [
        ("", "", 2, None, False)
    ]
    assert (found.left_out, found.notes) == ((), ())


@pytest.mark.parametrize("name", ["A.PNG", "a.Jpg", "a.JPEG", "a.WebP", "a.tif", "a.BMP"])
def test_endings_in_any_case(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name, {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:].lower(), name[2:].upper()))
    assert len(scan(tmp_path).images) == 1


def test_concept_folders_as_children(tmp_path: Path) -> None:
    for name, count in (("10_anafox woman", 3), ("5_bobcat man", 2)):
        for at in range(count):
            write_image(tmp_path / name / f"{at}.png")
    found = scan(tmp_path)
    assert [(c.name, c.images, c.folder_repeats) for c in found.concepts] == [("anafox woman", 3, 10), ("bobcat man", 2, 5)]
    assert {(i.concept, i.folder_repeats) for i in found.images} == {("anafox woman", 10), ("bobcat man", 5)}


def test_a_concept_folder_by_itself(tmp_path: Path) -> None:
    write_image(tmp_path / "10_anafox woman" / "a.png")
    (image,) = scan(tmp_path / "10_anafox woman").images
    assert (image.concept, image.folder_repeats, image.relative) == ("anafox woman", 10, "a.png")


@pytest.mark.parametrize("name", ["2024_holiday", "0_anafox", "anafox_10", "photos"])
def test_other_numbers_are_no_repeats(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name / "a.png")
    (image,) = scan(tmp_path / name).images
    assert (image.concept, image.folder_repeats) == ("", None)
    (image,) = scan(tmp_path).images  # of a folder around it, since there is no other
    assert (image.relative, image.concept, image.folder_repeats) == (f"{name}/a.png", "", None)


@pytest.mark.parametrize(
    "name", ["reg", "Reg", "reg_woman", "regularisation", "regularization images", "class_pictures", "prior photos"]
)
def test_regularisation_folders(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "10_anafox woman" / "a.png")
    write_image(tmp_path / name / "r.png")
    write_image(tmp_path / name / "1_woman" / "s.png")
    found = scan(tmp_path)
    assert [i.relative for i in found.training] == ["10_anafox woman/a.png"]
    assert [(i.relative.rpartition("/")[2], i.concept, i.folder_repeats) for i in found.regularisation] == [
        ("s.png", "woman", 1),
        ("r.png", "", None),
    ]


def test_a_folder_called_region_is_not_regularisation(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "region" / "b.png")
    found = scan(tmp_path)
    assert len(found.images) == 1
    assert "N_token" in left_out(found)["region"]


def test_everything_left_out_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "heif_is_read", lambda: False)
    write_image(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.png").write_text("<html>log in</html>")
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    (tmp_path / "notes.md").write_text("hello")
    (tmp_path / "gone.txt").write_text("a caption")
    (tmp_path / "dir.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    write_image(tmp_path.parent / "outside.png")
    (tmp_path / "leads-out.png").symlink_to(tmp_path.parent / "outside.png")
    (tmp_path / "inside.png").symlink_to(tmp_path / "good.png")
    (tmp_path / "5_linked").symlink_to(tmp_path.parent)
    for ignored in (".hidden.png", "Thumbs.db", ".DS_Store", "._good.png"):
        (tmp_path / ignored).write_bytes(b"x")
    found = scan(tmp_path)
    assert [i.relative for i in found.images] == ["good.png", "inside.png", "leads-out.png"]
    reasons = left_out(found)
    assert set(reasons) == {
        "broken.png", "empty.jpg", "page.png", "phone.HEIC", "moving.gif", "notes.md", "gone.txt", "pipe.png",
        "loop.png", "dangling.jpg", "5_linked", "dir.png",
        ".hidden.png", "Thumbs.db", ".DS_Store", "._good.png",
    }  # fmt: skip
    assert {reasons[name] for name in (".hidden.png", ".DS_Store", "._good.png")} == {"is hidden"}
    assert reasons["Thumbs.db"] == "belongs to the operating system"
    assert "folder" in reasons["dir.png"]
    assert "empty" in reasons["empty.jpg"]
    assert "install loratui[heic]" in reasons["phone.HEIC"]
    assert "GIF" in reasons["moving.gif"]
    assert "caption without" in reasons["gone.txt"]
    assert "pipe" in reasons["pipe.png"]
    assert reasons["5_linked"] == "is a link to a folder that it lies in"
    assert all("nowhere" in reasons[name] for name in ("loop.png", "dangling.jpg"))
    important = {item.relative for item in found.left_out if item.image}
    assert {"broken.png", "empty.jpg", "phone.HEIC", "dangling.jpg"} <= important
    assert not {"notes.md", "gone.txt"} & important


def test_a_socket_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    monkeypatch.chdir(tmp_path)  # socket paths must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.png")
        assert "socket" in left_out(scan(tmp_path))["s.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_image(tmp_path / "locked.png").chmod(0)
    assert "Permission denied" in left_out(scan(tmp_path))["locked.png"]


def test_caption_files(tmp_path: Path) -> None:
    for name in "abcdefg":
        write_image(tmp_path / f"{name}.png")
    (tmp_path / "a.caption").write_text("from .caption")
    (tmp_path / "b.TXT").write_text("capital ending")
    (tmp_path / "c.png.txt").write_text("whole name")
    (tmp_path / "d.txt").write_text("the text file")
    (tmp_path / "d.caption").write_text("the other file")
    (tmp_path / "e.txt").write_text("  \n")
    (tmp_path / "f.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "g.txt").symlink_to("/etc/passwd")
    found = scan(tmp_path)
    captions = {i.relative: i.caption for i in found.images}
    assert captions == {
        "a.png": "from .caption",
        "b.png": "capital ending",
        "c.png": "whole name",
        "d.png": "the text file",
        "e.png": None,
        "f.png": "café",
        "g.png": None,
    }
    assert notes(found) == {"two_captions": ("d.png",), "caption_empty": ("e.txt",)}
    assert {i.relative: i.caption_encoding for i in found.images if i.caption_encoding != "utf-8"} == {"f.png": "cp1252"}
    assert "no caption" in left_out(found)["g.txt"]


def test_images_that_differ_only_in_their_ending_share_a_caption(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", caption="anafox")
    write_image(tmp_path / "a.jpg")
    found = scan(tmp_path)
    assert [i.caption for i in found.images] == ["anafox", "anafox"]
    assert notes(found)["same_stem"] == ("a.jpg", "a.png")


def test_one_thing_of_many_caption_files_is_said_once(tmp_path: Path) -> None:
    for name in "abcdefg":
        write_image(tmp_path / f"{name}.png", caption=" ")
        write_image(tmp_path / f"{name}.jpg")
        write_image(tmp_path / f"x{name}.png", caption="anafox")
        (tmp_path / f"x{name}.caption").write_text("anafox woman")
    settings = load_preset("sd15-portrait").settings
    findings = {f.code: f for f in run_checks(Case(scan(tmp_path), settings)).findings}
    messages = {id: findings[id].message for id in ("caption_empty", "two_captions", "same_stem")}
    assert messages == {
        "caption_empty": "7 files (a.txt, b.txt, c.txt, d.txt, e.txt …): each is an empty caption.",
        "two_captions": "7 files (xa.png, xb.png, xc.png, xd.png, xe.png …): each has two caption files; "
        "the .txt counts, the .caption does not.",
        "same_stem": "a.jpg, a.png, b.jpg, b.png, c.jpg … share a caption, since only their endings differ.",
    }


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.png", "новое фото.png".encode(), b"-rf.png", b"[link=x].png", b"a\nb.png", b"\x1b[31m.png"]
)
def test_hostile_names_are_opened_as_they_are(tmp_path: Path, name: bytes) -> None:
    write_image(tmp_path / "good.png").rename(tmp_path / os.fsdecode(name))
    (image,) = scan(tmp_path).images
    assert os.fsencode(image.relative) == name


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "other files", "only broken", "only regularisation"])
def test_refusals_say_what_where_and_what_to_do(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "set"
    if kind == "file":
        folder.write_text("x")
    elif kind != "missing":
        folder.mkdir()
    if kind == "other files":
        (folder / "a.md").write_text("x")
    if kind == "only broken":
        (folder / "a.png").write_text("x")
        (folder / "b.png").write_text("x")
    if kind == "only regularisation":
        write_image(folder / "reg" / "a.png")
    with pytest.raises(LoratuiError) as refusal:
        scan(folder)
    error = refusal.value
    assert error.exit_code == (ExitCode.USAGE if kind == "file" else ExitCode.DATASET)
    assert str(folder) in error.message
    assert error.remedy
    assert {
        "missing": "no such folder",
        "file": "not a folder",
        "empty": "is empty",
        "other files": "no images",
        "only broken": "a.png",
        "only regularisation": "only regularisation",
    }[kind] in error.message


def test_verify_finds_damage_behind_the_header(tmp_path: Path) -> None:
    for name in "abc":
        Image.effect_noise((300, 300), 60).save(tmp_path / f"{name}.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    found = scan(tmp_path)
    assert len(found.images) == 3
    checked = verify(found)
    assert [i.relative for i in checked.images] == ["a.jpg", "c.jpg"]
    assert checked.concepts[0].images == 2
    assert "damaged" in left_out(checked)["b.jpg"]
    assert verify(checked) == checked


def test_verify_stops_in_time_and_says_so(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    checked = verify(scan(tmp_path), budget_s=-1.0)
    assert len(checked.images) == 3
    assert "3 of 3" in next(n for n in checked.notes if n.code == "not_decoded").message


def test_verify_refuses_when_nothing_is_left(tmp_path: Path) -> None:
    Image.effect_noise((300, 300), 60).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:5000])
    with pytest.raises(DatasetError, match=r"a\.jpg is damaged"):
        verify(scan(tmp_path))


def test_leaving_out_keeps_the_rest_as_it_is(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    found = scan(tmp_path)
    less = without(found, {"b.png": "is a mirrored selfie"})
    assert [i.relative for i in less.images] == ["a.png", "c.png"]
    assert left_out(less) == {"b.png": "is a mirrored selfie"}
    assert without(found, {}) is found
