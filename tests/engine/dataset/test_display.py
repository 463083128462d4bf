"""Images for the screen come from a process of their own: whatever happens to it costs that file's row and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_images import clean_set, drawn
from small_files import HEIC

from loratui.engine.dataset.decoding import ImageError, read_header
from loratui.engine.dataset.display import Display, Room
from loratui.engine.dataset.scan import scan
from loratui.engine.jobs import JOBS

SUPPORT = Path(__file__).parents[2] / "support"
ROOM = Room(16, 16)
GREY = (128, 128, 128)


def row(monkeypatch: pytest.MonkeyPatch, module: str) -> str:
    """A job like that of the display, of another module."""
    monkeypatch.setitem(JOBS, module, dataclasses.replace(JOBS["display"], module=module))
    return module


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Display]:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    made = Display(row(monkeypatch, "stand_in_display"))
    yield made
    made.end()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("crash.png", "makes its decoder crash"),
        ("endless.png", "takes more than 30 s of processor time to decode"),
        ("flood.png", "needs more memory than there is"),
    ],
)
def test_a_decoder_that_fails_costs_one_image(tmp_path: Path, misbehaving: Display, name: str, why: str) -> None:
    for at in (name, "good.png"):
        drawn(1).save(tmp_path / at)
    first = misbehaving.shown(tmp_path / "good.png", ROOM, GREY)
    with pytest.raises(ImageError, match=why):
        misbehaving.shown(tmp_path / name, ROOM, GREY)
    assert misbehaving.shown(tmp_path / "good.png", ROOM, GREY) == first
    assert first.rgb == drawn(1).resize((16, 16), 1, reducing_gap=2.0).tobytes()


def test_an_answer_that_does_not_come_is_not_waited_for(
    tmp_path: Path, misbehaving: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(1).save(tmp_path / "good.png")
    misbehaving.shown(tmp_path / "good.png", ROOM, GREY)
    process = misbehaving._process._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setitem(JOBS, "stand_in_display", dataclasses.replace(JOBS["stand_in_display"], answer_s=0.2))
    with pytest.raises(ImageError, match="takes more than 0 s to decode"):
        misbehaving.shown(tmp_path / "good.png", ROOM, GREY)
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_cannot_be_started_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Display(row(monkeypatch, "loratui.no_such_module"))
    with pytest.raises(ImageError, match=r"cannot be read: the process for it .*No module named"):
        made.shown(tmp_path / "a.png", ROOM, GREY)
    assert not made._process.runs


def test_a_profile_and_transparency_reach_the_screen(tmp_path: Path) -> None:
    made = Display()
    image = drawn(3).convert("RGBA")
    image.paste((9, 9, 9, 0), (0, 0, 64, 128))
    image.save(tmp_path / "a.png")
    shown = made.shown(tmp_path / "a.png", ROOM, GREY)
    made.end()
    assert shown.rgb[:3] == bytes(GREY)
    assert (shown.source_width, shown.source_height) == (128, 128)


def test_a_heic_that_its_library_crashes_at_is_named(tmp_path: Path) -> None:
    """libheif 1.23 ends the process at this one as it reads the header: the kind of an item is none."""
    pytest.importorskip("pi_heif")
    folder = clean_set(tmp_path / "set", 2)
    at = HEIC.index(b"Exif") - 1
    (folder / "crash.heic").write_bytes(HEIC[:at] + b"\xff\xff\xff\xff" + HEIC[at + 4 :])
    (folder / "whole.heic").write_bytes(HEIC)
    found = scan(folder)
    assert [image.relative for image in found.images] == ["00.png", "01.png", "whole.heic"]
    assert [item.relative for item in found.left_out] == ["crash.heic"]


def test_headers_and_checks_are_those_of_this_process(tmp_path: Path) -> None:
    made = Display()
    for name, format in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.tif", "TIFF")):
        drawn(1).save(tmp_path / name, format)
        assert made.header(tmp_path / name) == read_header(tmp_path / name)
        made.check(tmp_path / name)
    (tmp_path / "d.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:900])
    with pytest.raises(ImageError, match="is damaged"):
        made.check(tmp_path / "d.jpg")
    with pytest.raises(ImageError, match="not an image"):
        made.header(Path(__file__))
    made.end()


def test_where_no_process_can_be_started_no_image_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Display(row(monkeypatch, "loratui.no_such_module"))
    drawn(1).save(tmp_path / "a.png")
    assert made.header(tmp_path / "a.png") == read_header(tmp_path / "a.png")
    made.check(tmp_path / "a.png")
