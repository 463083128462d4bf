"""Remedies: proposed, described, dropped; carried out on a copy while originals stay as they are; captions saved and taken back."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import clean_set, drawn
from PIL import Image

from loratui.engine import durable
from loratui.engine.dataset import caption_store, remedies
from loratui.engine.dataset.archives import unpack_once
from loratui.engine.dataset.facts import Box
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.prepared_copy import RECORD, copy_below, make_copy, read_history
from loratui.engine.dataset.remedies import Remedy, crop_proposal, proposed
from loratui.engine.dataset.scan import read_folder, scan
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError, DiskError, UsageError
from loratui.engine.findings import Finding
from loratui.presets import load_preset, schema


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A set in which much can be fixed."""
    folder = clean_set(tmp_path / "set", 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn(0, (180, 136)).save(folder / "00.png", exif=exif)
    clear = drawn(1).convert("RGBA")
    clear.paste((255, 0, 0, 0), (0, 0, 64, 64))
    clear.save(folder / "01.png")
    drawn(2, (300, 128)).save(folder / "02.png")
    (folder / "04.png").write_bytes((folder / "03.png").read_bytes())
    return folder


def inspected(folder: Path, **changes: object):  # type: ignore[no-untyped-def]
    start = {"dataset.trigger": "anafox", "dataset.class_word": "woman", **changes}
    return inspect_folder(folder, schema.replace(load_preset("demo").settings, start), preset="demo", deep=True)


def test_what_is_fixed_is_no_longer_found_and_the_originals_stay(spoiled: Path, tmp_path: Path) -> None:
    before = fingerprint(spoiled)
    found = inspected(spoiled)
    ids = {f.code for f in found.findings}
    assert {"rotated", "transparent", "long_shape", "copies"} <= ids
    assert found.deep is not None
    chosen = proposed(found.findings, found.scan, found.deep.facts, colour="blue")
    assert [f"{remedy.relative}: {remedy.describe()}" for remedy in sorted(chosen, key=lambda r: r.relative)] == [
        "00.png: turned upright, as its EXIF note says",
        '01.png: laid on plain blue, and "blue background" added to its caption if it has one',
        "02.png: cropped to 64% of its width and 100% of its height",
        "04.png: left out",
    ]
    told: list[tuple[int, int]] = []
    make_copy(found.scan, chosen, tmp_path / "copy", lambda done, total: told.append((done, total)))
    assert fingerprint(spoiled) == before
    assert told[-1] == (5, 5)
    after = inspected(tmp_path / "copy", **{"dataset.images_wanted": (2, 20)})
    assert {f.code for f in after.findings} & ids <= {"too_few_images"}
    sizes = {i.relative: (i.width, i.height) for i in after.scan.images}
    assert sizes["00.png"] == (136, 180)
    assert Image.open(tmp_path / "copy" / "01.png").getpixel((5, 5)) == remedies.PLAIN_COLOURS["blue"]
    captions = {i.relative: i.caption for i in after.scan.images}
    assert str(captions["01.png"]).endswith(", blue background")
    assert captions["03.png"] == next(i.caption for i in found.scan.images if i.relative == "03.png")
    assert (tmp_path / "copy" / "03.png").read_bytes() == (spoiled / "03.png").read_bytes()
    assert stat.S_IMODE((tmp_path / "copy" / "01.png").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("names", "with_caption", "kept"),
    [
        (("copy of 00.png", "00.png"), ("copy of 00.png", "00.png"), "00.png"),
        (("00 (1).png", "long-name-00.png"), (), "long-name-00.png"),
        (("a - Copy.png", "b.png"), ("a - Copy.png",), "a - Copy.png"),
        (("a.png", "copyright.png"), (), "a.png"),
        (("a.png", "b.png"), (), "a.png"),
    ],
)
def test_of_the_same_file_the_likelier_original_is_kept(
    tmp_path: Path, names: tuple[str, ...], with_caption: tuple[str, ...], kept: str
) -> None:
    one = Image.new("RGB", (64, 64), "red")
    for name in names:
        one.save(tmp_path / name)
    for name in with_caption:
        (tmp_path / name).with_suffix(".txt").write_text("anafox woman")
    found = inspected(tmp_path)
    findings = [finding for finding in found.findings if finding.code == "copies"]
    gone = {remedy.relative for remedy in proposed(findings, found.scan)}
    assert set(names) - gone == {kept}


def test_dropping_a_remedy_undoes_it(spoiled: Path, tmp_path: Path) -> None:
    chosen = (Remedy("leave_out", "04.png"), Remedy("mirror", "03.png"))
    make_copy(scan(spoiled), chosen, tmp_path / "one")
    history = read_history(tmp_path / "one")
    assert history is not None
    assert (history.source, history.remedies) == (spoiled, chosen)
    make_copy(scan(spoiled), history.remedies[:1], tmp_path / "two")
    assert (tmp_path / "two" / "03.png").read_bytes() == (spoiled / "03.png").read_bytes()
    assert (tmp_path / "one" / "03.png").read_bytes() != (spoiled / "03.png").read_bytes()


def test_what_was_left_out_before_a_copy_is_not_forgotten(tmp_path: Path) -> None:
    """Of a zip, then of a copy, then of a copy of that."""
    clean_set(tmp_path / "set", 4)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in (tmp_path / "set").iterdir():
            packed.write(path, path.name)
        packed.writestr("raw.CR2", b"x")
    folder = unpack_once(tmp_path / "set.zip", tmp_path / "unpacked")
    first = copy_below(tmp_path / "copies", scan(folder), (Remedy("leave_out", "00.png"),))
    second = copy_below(tmp_path / "copies", scan(first), (Remedy("leave_out", "01.png"),))
    history = read_history(second)
    assert history is not None
    assert [name for name, _ in history.left_out] == ["raw.CR2", "00.png", "01.png"]


def test_mirror_crop_and_shrink_in_one_order(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 100), "white")
    image.paste("red", (0, 0, 50, 100))
    image.save(tmp_path / "a.png")
    own = (Remedy("shrink", "a.png", longest_px=64), Remedy("crop", "a.png", box=Box(0.5, 0, 1, 1)), Remedy("mirror", "a.png"))
    result = remedies.render(tmp_path / "a.png", own)
    assert result.size == (64, 64)
    assert result.getpixel((60, 30)) == (255, 0, 0)
    assert result.getpixel((5, 30)) == (255, 255, 255)


def test_captions_follow_their_images_when_names_collide(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    drawn(1).save(folder / "a.jpg")
    drawn(2).save(folder / "a.png")
    (folder / "a.txt").write_text("anafox")
    make_copy(scan(folder), (Remedy("mirror", "a.jpg"),), tmp_path / "copy")
    found = scan(tmp_path / "copy")
    assert [(i.relative, i.caption) for i in found.images] == [("a-png.png", "anafox"), ("a.png", "anafox")]
    assert found.notes == ()


def test_gps_and_comments_do_not_reach_the_copy(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x0112] = 3
    drawn(1).save(folder / "a.jpg", exif=exif, comment=b"secret place")
    (image,) = scan(folder).images
    assert image.traits.gps
    make_copy(scan(folder), (Remedy("rotate", "a.jpg"),), tmp_path / "copy")
    (copy,) = scan(tmp_path / "copy").images
    assert not copy.traits.gps
    assert b"secret" not in copy.path.read_bytes()


def test_concept_folders_stay_in_the_copy(tmp_path: Path) -> None:
    clean_set(tmp_path / "set" / "10_anafox woman", 2)
    make_copy(scan(tmp_path / "set"), (), tmp_path / "copy")
    assert scan(tmp_path / "copy").concepts == scan(tmp_path / "set").concepts


def test_a_copy_is_whole_or_not_there(spoiled: Path, tmp_path: Path) -> None:
    found = scan(spoiled)
    (spoiled / "05.png").unlink()
    with pytest.raises(DatasetError, match=r"05\.png"):
        make_copy(found, (), tmp_path / "copy")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    (tmp_path / "copy").mkdir()
    with pytest.raises(DatasetError, match="already exists"):
        make_copy(scan(spoiled), (), tmp_path / "copy")


def test_nonsense_is_refused() -> None:
    for remedy in (
        Remedy("crop", "a"),
        Remedy("crop", "a", box=Box(0.5, 0, 0.4, 1)),
        Remedy("crop", "a", box=Box(0, 0, 2, 1)),
        Remedy("flatten", "a", colour="octarine"),
        Remedy("shrink", "a", longest_px=1),
    ):
        with pytest.raises(UsageError):
            remedies.checked(remedy)
    with pytest.raises(UsageError):
        remedies.from_json([{"kind": "crop", "relative": "a", "what": 1}])
    assert read_history(Path("/nowhere")) is None


def test_remedies_are_the_same_after_json() -> None:
    first, second = Remedy("flatten", "a", colour="red"), Remedy("flatten", "a", colour="blue")
    assert remedies.from_json(json.loads(json.dumps(remedies.to_json((first, second))))) == (first, second)


def test_varied_backgrounds_differ_and_stay() -> None:
    names = [Remedy("flatten", f"{n}.png", colour="varied").background_name for n in range(40)]
    assert len(set(names)) > 5
    assert names == [Remedy("flatten", f"{n}.png", colour="varied").background_name for n in range(40)]


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_crop_proposals_lie_within_and_have_a_moderate_shape(width: int, height: int) -> None:
    from loratui.engine.dataset.scan import ImageEntry

    image = ImageEntry(Path("a"), "a", width, height, "PNG", None, None, "", None, False, 1)
    box = crop_proposal(image, None)
    if box is None:
        assert max(width, height) <= 1.6 * min(width, height) + 1
    else:
        remedies.checked(Remedy("crop", "a", box=box))
        shape = (box.width * width) / (box.height * height)
        assert 0.97 / 1.5 <= shape <= 1.5 * 1.03  # shares have four digits


def test_proposals_name_only_images_that_are_there(spoiled: Path) -> None:
    assert proposed([Finding.of("blurred", ["gone.png"])], scan(spoiled)) == ()


# Captions


def texts(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted(folder.glob("*.*")) if p.suffix in (".txt", ".caption")}


def test_each_save_of_captions_keeps_the_old_ones(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 3)
    (folder / "01.txt").rename(folder / "01.caption")
    (folder / "02.txt").unlink()
    before = texts(folder)
    names = ("00.png", "01.png", "02.png")
    saved = caption_store.save(scan(folder), {name: f"new\n {name} \u00e9" for name in names})
    assert saved.written == 3
    assert texts(folder) == {"00.txt": "new\n00.png é\n", "01.caption": "new\n01.png é\n", "02.txt": "new\n02.png é\n"}
    assert (saved.kept / "00.txt").read_text() == before["00.txt"]
    assert [i.relative for i in scan(folder).images] == list(names)
    assert scan(folder).left_out == ()
    again = caption_store.save(scan(folder), {"00.png": "again"})
    assert (again.kept / "00.txt").read_text() == "new\n00.png é\n"


def test_a_save_that_fails_half_way_brings_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clean_set(tmp_path / "set", 3)
    before = texts(folder)
    write, calls = durable.write_file, []

    def full(path: Path, data: bytes, **how: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise disk_error(OSError(28, "No space left on device"), path)
        write(path, data, **how)

    monkeypatch.setattr(durable, "write_file", full)
    with pytest.raises(DiskError, match="disk is full"):
        caption_store.save(scan(folder), {f"0{n}.png": "new" for n in range(3)})
    assert texts(folder) == before


def test_an_unknown_image_and_a_giant_caption_are_refused(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 1)
    with pytest.raises(DatasetError, match="no such image"):
        caption_store.save(scan(folder), {"../x.png": "a"})
    with pytest.raises(DatasetError, match="Shorten"):
        caption_store.save(scan(folder), {"00.png": "x" * 100_000})


def test_a_read_only_folder_is_known(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 1)
    assert caption_store.is_writable(read_folder(folder))


def test_the_record_is_hidden_from_the_scan(spoiled: Path, tmp_path: Path) -> None:
    make_copy(scan(spoiled), (), tmp_path / "copy")
    assert (tmp_path / "copy" / RECORD).exists()
    assert scan(tmp_path / "copy").left_out == ()
