"""Zips: images and captions come out, nothing leaves the folder, bombs are refused."""

from __future__ import annotations

import io
import stat
import struct
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import clean_set, drawn

from loratui.engine.dataset import archives
from loratui.engine.dataset.archives import findings, is_archive, left_out_of, unpack
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError


def png() -> bytes:
    file = io.BytesIO()
    drawn(1).save(file, "PNG")
    return file.getvalue()


def packed(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def test_a_zip_of_a_folder_is_read_like_the_folder(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 3)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"my photos/{path.name}")
    assert is_archive(tmp_path / "a.zip")
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert left_out_of(unpacked) == ()
    assert unpacked == tmp_path / "out" / "my photos"
    before, after = scan(folder), scan(unpacked)
    assert [(i.relative, i.caption) for i in before.images] == [(i.relative, i.caption) for i in after.images]
    assert stat.S_IMODE((unpacked / "00.png").stat().st_mode) == 0o600


def test_concept_folders_stay(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"10_anafox woman/a.png": png(), "5_bobcat man/a.png": png()})
    found = scan(unpack(tmp_path / "a.zip", tmp_path / "out"))
    assert [(c.name, c.folder_repeats) for c in found.concepts] == [("anafox woman", 10), ("bobcat man", 5)]


@pytest.mark.parametrize(
    "name",
    ["../a.png", "/a.png", "x/../../a.png", "..\\a.png", "C:\\a.png", "C:a.png", "a\x1b.png", "a\n.png", "n" * 300 + ".png",
     "/".join("abcdefghij") + "/a.png"],
)  # fmt: skip
def test_names_that_lead_out_are_left_out(tmp_path: Path, name: str) -> None:
    packed(tmp_path / "a.zip", {name: png(), "good.png": png()})
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "in" / "out")
    assert sorted(p.name for p in (tmp_path / "in" / "out").rglob("*")) == [archives.RECORD, "good.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "in"]
    (finding,) = findings(left_out_of(unpacked))
    assert (finding.code, finding.severity) == ("zip_left_out", "warning")


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (kind | 0o777) << 16
            file.writestr(entry, "/etc/passwd")
        file.writestr("good.png", png())
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert left_out_of(unpacked) == (("link.png", "is a link or no plain file"), ("pipe.png", "is a link or no plain file"))


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {f"{n}.png": b"\0" * 9_000_000 for n in range(4)})
    with pytest.raises(DatasetError, match="times its size"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_header_that_lies_about_the_size_does_not_help(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"a.txt": b"x" * 3_000_000, "good.png": png()})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(mark)
        data[start + at : start + at + 4] = struct.pack("<I", 10)
    (tmp_path / "a.zip").write_bytes(bytes(data))
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [name for name, _ in left_out_of(unpacked)] == ["a.txt"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [archives.RECORD, "good.png"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FOLDER_FILES", 3)
    packed(tmp_path / "a.zip", {f"{n}.png": b"" for n in range(4)})
    with pytest.raises(DatasetError, match="holds 4 files"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_many_tiny_files_are_no_set_of_images(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {f"{n}.txt": b"" for n in range(2000)})
    with pytest.raises(DatasetError, match=r"holds 2 000 files, more than 1 000 in a zip of 185\.8 kB"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_encrypted_double_hidden_and_foreign_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", png())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.png", b"other")
        file.writestr("__MACOSX/._a.png", b"x")
        file.writestr("run.exe", b"MZ")
        file.writestr("c.gif", b"GIF89a")
        file.writestr("e.png", b"secret")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    central = data.index(b"e.png", data.index(b"PK\x01\x02"))
    data[central - 46 + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert dict(left_out_of(unpacked))["a.png"] == "is in the zip twice"
    assert dict(left_out_of(unpacked))["e.png"] == "is encrypted"
    assert [(f.code, f.files) for f in findings(left_out_of(unpacked))][-1] == ("zip_ignored", ("__MACOSX/._a.png", "run.exe"))
    assert (tmp_path / "out" / "a.png").read_bytes() == png()


def test_a_damaged_zip_is_said(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"a.png": png(), "b.png": png()})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:90] = b"\xff" * 30
    (tmp_path / "a.zip").write_bytes(bytes(data))
    (left,) = left_out_of(unpack(tmp_path / "a.zip", tmp_path / "out"))
    assert left[0] == "a.png"
    assert "is damaged" in left[1]
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 nothing")
    assert not is_archive(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("name", "said", "remedy"),
    [("cut.zip", "its end is missing", "copy it again"), ("set.7z", "archive is not read", "Unpack it")],
)
def test_what_is_no_whole_zip_is_not_told_to_be_a_folders_file(tmp_path: Path, name: str, said: str, remedy: str) -> None:
    path = tmp_path / name
    path.write_bytes(packed(tmp_path / "whole.zip", {"a.jpg": b"x" * 1000}).read_bytes()[:-40])
    with pytest.raises(DatasetError, match=said) as caught:
        scan(path)
    assert remedy in caught.value.remedy


def test_the_same_zip_is_unpacked_once_and_a_run_can_be_prepared_from_it(tmp_path: Path) -> None:
    from loratui.engine.planning.prepare import prepare
    from loratui.engine.planning.recipe import build_recipe

    folder = clean_set(tmp_path / "set", 10)
    with zipfile.ZipFile(tmp_path / "[my] set.zip", "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    recipe = build_recipe("demo", dataset=tmp_path / "[my] set.zip", trigger="anafox", class_word="woman")
    prepared = prepare(recipe, tmp_path / "home")
    assert len(prepared.scan.images) == 10
    place = Path(prepared.recipe.settings.dataset.path)
    assert place.parent == tmp_path / "home" / "datasets"
    assert place.name.startswith("unpacked-my-set-")
    (place / "00.txt").write_text("changed by hand")
    again = prepare(recipe, tmp_path / "home")
    assert again.scan.images[0].caption == "changed by hand"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflate_are_unpacked(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("bomb.png", b"\0" * 90_000_000)
        file.writestr("other.png", b"\0")
        file.writestr("good.png", png(), zipfile.ZIP_DEFLATED)
    began = time.process_time()
    unpacked = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert time.process_time() - began < 0.5
    name = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}[method]
    assert dict(left_out_of(unpacked)) == dict.fromkeys(("bomb.png", "other.png"), f"is packed with {name}, which is not read")
    (finding,) = findings(left_out_of(unpacked))
    assert finding.files == ("bomb.png", "other.png")
    assert [image.relative for image in scan(unpacked).images] == ["good.png"]


def test_an_entry_without_a_name_is_said(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"b": png(), "good.png": png()})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 46] = 0  # a name ends at its first NUL
    (tmp_path / "a.zip").write_bytes(bytes(data))
    assert left_out_of(unpack(tmp_path / "a.zip", tmp_path / "out")) == ((archives.NAMELESS, "has no name"),)


def test_entries_that_lie_over_one_another_are_refused(tmp_path: Path) -> None:
    """All entries of the directory lead to the one image that there is."""
    packed(tmp_path / "a.zip", {"0.png": b"\0" * 900_000})
    data = (tmp_path / "a.zip").read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    entries = b"".join(entry.replace(b"0.png", b"%d.png" % at) for at in range(10))
    tail = data[end:]
    tail = tail[:8] + struct.pack("<HHII", 10, 10, len(entries), start) + tail[20:]
    (tmp_path / "a.zip").write_bytes(data[:start] + entries + tail)
    with pytest.raises(DatasetError, match="overlap"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_zip_with_any_bytes_changed_is_unpacked_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        content = bytearray(packed(place / "a.zip", {"b/a.png": b"abc" * 20, "b/a.txt": b"a caption"}).read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (place / "a.zip").write_bytes(bytes(content))
        with suppress(DatasetError):
            for finding in findings(left_out_of(unpack(place / "a.zip", place / "in" / "out"))):
                assert finding.message
        assert sorted(path.name for path in place.iterdir()) in (["a.zip"], ["a.zip", "in"])
