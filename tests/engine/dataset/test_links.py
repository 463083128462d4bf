"""Links of the person's own: followed to images, captions and folders; never in a circle, never written through."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_images import caption, clean_set, drawn

from loratui.engine.dataset import caption_store
from loratui.engine.dataset.contents import DatasetScan
from loratui.engine.dataset.ledger import hash_file
from loratui.engine.dataset.prepared_copy import make_copy
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import scan
from loratui.engine.dataset.similar import copies
from loratui.engine.errors import DiskError
from loratui.presets import load_preset


def reasons(found: DatasetScan) -> dict[str, str]:
    return {item.relative: item.reason for item in found.left_out}


def names(found: DatasetScan) -> list[str]:
    return [image.relative for image in found.images]


def snapshot(place: Path, count: int = 3) -> Path:
    """A dataset in the hub's cache: the snapshot holds links into `blobs`, whose names are hashes."""
    blobs, folder = place / "blobs", place / "snapshots" / "4f2a"
    blobs.mkdir(parents=True)
    folder.mkdir(parents=True)
    for at in range(count):
        drawn(at).save(blobs / f"{at:040x}", "PNG")
        (blobs / f"{at + 64:040x}").write_text(caption(at))
        (folder / f"{at:02d}.png").symlink_to(f"../../blobs/{at:040x}")
        (folder / f"{at:02d}.txt").symlink_to(f"../../blobs/{at + 64:040x}")
    return folder


def test_a_snapshot_of_the_hub_is_read_like_a_folder(tmp_path: Path) -> None:
    found = scan(snapshot(tmp_path))
    plain = scan(clean_set(tmp_path / "plain", 3))
    assert [(i.relative, i.caption, i.bytes, hash_file(i)) for i in found.images] == [
        (i.relative, i.caption, i.bytes, hash_file(i)) for i in plain.images
    ]
    assert found.left_out == ()


def test_linked_folders_of_concepts_are_read_by_the_name_of_the_link(tmp_path: Path) -> None:
    clean_set(tmp_path / "photos of ana", 2)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "10_anafox woman").symlink_to(tmp_path / "photos of ana")
    (tmp_path / "set" / "reg").symlink_to(tmp_path / "photos of ana")
    found = scan(tmp_path / "set")
    assert names(found) == ["10_anafox woman/00.png", "10_anafox woman/01.png"]
    words = {"dataset.trigger": "anafox", "dataset.class_word": "woman"}
    assert found.words_by_folder(load_preset("demo").settings.dataset) == words
    assert reasons(found) == {"reg": "is a link to the same folder as 10_anafox woman"}


@pytest.mark.parametrize("name", ["10_anafox woman", "reg", "2_hat"])
@pytest.mark.parametrize("target", ["gone", "00.png/..", "other"])
def test_a_linked_concept_that_is_not_read_is_missed_like_an_image(tmp_path: Path, name: str, target: str) -> None:
    folder = clean_set(tmp_path / "set", 2)
    clean_set(tmp_path / "other", 2)
    (folder / "01_first").symlink_to(tmp_path / "other")
    (folder / name).symlink_to(tmp_path / target)
    [item] = scan(folder).left_out
    assert item.relative == name
    assert item.image


def test_a_linked_folder_without_a_number_is_looked_into(tmp_path: Path) -> None:
    clean_set(tmp_path / "ana", 2)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "ana").symlink_to(tmp_path / "ana")
    assert names(scan(tmp_path / "set")) == ["ana/00.png", "ana/01.png"]


def test_circles_end(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 2)
    other = tmp_path / "other"
    (other / "5_deep").mkdir(parents=True)
    (folder / "up").symlink_to(tmp_path)
    (folder / "self").symlink_to(folder)
    (folder / "5_other").symlink_to(other)
    (other / "back").symlink_to(folder)
    (other / "again").symlink_to(other)
    (folder / "ring.png").symlink_to(folder / "gnir.png")
    (folder / "gnir.png").symlink_to(folder / "ring.png")
    drawn(7).save(other / "7.png")
    found = scan(folder)
    assert names(found) == ["00.png", "01.png", "5_other/7.png"]
    told = reasons(found)
    assert told["up"] == told["self"] == "is a link to a folder that it lies in"
    assert told["5_other/back"] == "is a link to a folder that it lies in"
    assert told["5_other/again"] == "is a link to the same folder as 5_other"
    assert told["ring.png"] == told["gnir.png"] == "is a link that leads nowhere, or in a circle"


def test_a_folder_within_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    clean_set(folder / "5_ana", 2)
    (folder / "1_first").symlink_to(folder / "5_ana")
    found = scan(folder)
    assert names(found) == ["5_ana/00.png", "5_ana/01.png"]
    assert reasons(found) == {"1_first": "is a link to a folder that is read under its own name"}


def test_a_file_that_is_reached_twice_is_said_once_as_a_duplicate(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 2)
    (folder / "again.png").symlink_to(folder / "00.png")
    (folder / "third.png").symlink_to("again.png")
    assert copies(scan(folder).images) == (("00.png", "again.png", "third.png"),)


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/environ"])
def test_a_caption_that_leads_to_some_other_file_is_not_read(tmp_path: Path, target: str) -> None:
    folder = clean_set(tmp_path / "set", 1)
    (folder / "00.txt").unlink()
    (folder / "00.txt").symlink_to(target)
    found = scan(folder)
    assert found.images[0].caption is None
    assert reasons(found) == {"00.txt": "is a link to a file that is no caption"}


def test_broken_links_are_named(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 1)
    for name in ("a.png", "b.txt", "5_gone"):
        (folder / name).symlink_to(tmp_path / "nowhere")
    assert reasons(scan(folder)) == dict.fromkeys(("a.png", "b.txt", "5_gone"), "is a link that leads nowhere, or in a circle")


def test_a_prepared_copy_holds_files_and_no_links(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "blobs").iterdir()}
    copy = tmp_path / "copy"
    make_copy(scan(folder), [Remedy("mirror", "01.png")], copy)
    assert not any(path.is_symlink() for path in copy.rglob("*"))
    assert {path: path.read_bytes() for path in (tmp_path / "blobs").iterdir()} == before
    assert names(scan(copy)) == ["00.png", "01.png", "02.png"]


def test_a_caption_replaces_the_link_and_the_link_is_kept(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "blobs").iterdir()}
    saved = caption_store.save(scan(folder), {"00.png": "another"})
    assert {path: path.read_bytes() for path in (tmp_path / "blobs").iterdir()} == before
    assert (folder / "00.txt").read_text() == "another\n"
    assert (saved.kept / "00.txt").is_symlink()


def test_captions_are_not_written_through_a_linked_folder(tmp_path: Path) -> None:
    clean_set(tmp_path / "ana", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "5_ana").symlink_to(tmp_path / "ana")
    found = scan(tmp_path / "set")
    assert not caption_store.is_writable(found)
    with pytest.raises(DiskError, match="nothing is written through one"):
        caption_store.save(found, {"5_ana/00.png": "another"})
    assert (tmp_path / "ana" / "00.txt").read_text() == caption(0)
    assert sorted(path.name for path in (tmp_path / "ana").iterdir()) == ["00.png", "00.txt"]
