"""The face detector: its weights are found, fetched and proven; OpenCV runs them; without them nothing breaks.

The real weights cannot be shipped with the tests: a network with the same inputs and outputs stands in for them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from made_images import clean_set, drawn
from PIL import Image
from small_files import YUNET_STAND_IN

from loratui.engine.dataset import weights, yunet
from loratui.engine.dataset.deep import measure_all
from loratui.engine.dataset.faces import load_detector
from loratui.engine.dataset.facts import Box, Face
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DiskError, LoratuiError, UsageError
from loratui.presets import load_preset
from loratui.tui import cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without weights, where the stand-in counts as genuine."""
    known = {"bytes": len(YUNET_STAND_IN), "sha256": hashlib.sha256(YUNET_STAND_IN).hexdigest()}
    monkeypatch.setattr(yunet, "WEIGHTS", replace(yunet.WEIGHTS, **known))
    monkeypatch.setattr(weights, "in_hub_cache", lambda *_: ())
    monkeypatch.setattr(yunet, "opencv_is_there", lambda: True)
    return tmp_path / "home"


def put_weights(home: Path, data: bytes = YUNET_STAND_IN) -> Path:
    path = home / "models" / yunet.WEIGHTS.file
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def test_opencv_finds_the_face_where_the_network_says(home: Path) -> None:
    pytest.importorskip("cv2")
    detector = load_detector(f"{yunet.__name__}:YuNet:{put_weights(home)}")
    assert detector is not None
    # 16 × 24 px around (16, 48) of 64 × 64.
    expected = [Face(Box(0.125, 0.5625, 0.375, 0.9375), 0.95)]
    assert list(detector.detect(Image.new("RGB", (64, 64), "red"))) == expected


def test_a_box_is_cut_at_the_edge_of_the_image() -> None:
    row = [-10.0, 20.0, 30.0, 100.0, *[0.0] * 10, 0.91234]
    assert yunet._face(row, 100, 80) == Face(Box(0.0, 0.25, 0.2, 1.0), 0.912)


def test_large_images_are_looked_at_smaller() -> None:
    assert yunet._no_larger(Image.new("RGB", (3000, 1500))).size == (640, 320)
    assert yunet._no_larger(Image.new("RGB", (300, 150))).size == (300, 150)
    assert yunet._no_larger(Image.new("RGB", (5000, 1))).size == (640, 1)


def test_weights_are_taken_only_as_they_were_published(home: Path) -> None:
    assert yunet.find_weights(home) is None
    assert yunet.detector_name(home) == ""
    path = put_weights(home)
    assert yunet.detector_name(home) == f"loratui.engine.dataset.yunet:YuNet:{path}"
    path.write_bytes(YUNET_STAND_IN[:-1] + b"x")
    assert yunet.find_weights(home) is None
    path.write_bytes(b"")
    assert yunet.find_weights(home) is None


def test_weights_in_the_cache_of_the_hub_are_found(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "cached.onnx"
    cached.write_bytes(YUNET_STAND_IN)
    monkeypatch.setattr(weights, "in_hub_cache", lambda *_: (cached,))
    assert yunet.find_weights(home) == cached


def test_weights_are_fetched_once(home: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> Path:
        asked.append((repository, name))
        return put_weights(home)

    assert yunet.fetch_weights(home, download) == yunet.fetch_weights(home, download)
    assert asked == [("opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx")]


def test_what_goes_wrong_while_fetching_is_said(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"<html>")

    def fails(repository: str, name: str) -> Path:
        raise ConnectionError("no network")

    def full(repository: str, name: str) -> Path:
        raise DiskError("the disk is full")

    with pytest.raises(LoratuiError, match="not the weights") as refusal:
        yunet.fetch_weights(home, lambda repository, name: other)
    assert str(home / "models") in refusal.value.remedy
    with pytest.raises(LoratuiError, match="could not be downloaded: no network"):
        yunet.fetch_weights(home, fails)
    with pytest.raises(DiskError):
        yunet.fetch_weights(home, full)
    monkeypatch.setattr(yunet, "opencv_is_there", lambda: False)
    with pytest.raises(UsageError, match="OpenCV"):
        yunet.fetch_weights(home)


@pytest.mark.parametrize("detector", ["no.such.module:thing", "stand_in_detectors:fails_to_begin", "stand_in_detectors:fails"])
def test_a_detector_that_fails_costs_no_image(tmp_path: Path, detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "support"))
    clean_set(tmp_path / "set", 3)
    found = measure_all(scan(tmp_path / "set").images, 128, detector=detector, workers=1)
    assert found.damaged == {}
    assert [facts.faces for facts in found.facts.values()] == [None] * 3


def test_the_whole_way_through_the_workers(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "set").mkdir()
    for at in range(3):
        drawn(at, (64, 64)).save(tmp_path / "set" / f"{at}.png")
    put_weights(home)
    settings = load_preset("demo").settings
    found = inspect_folder(tmp_path / "set", settings, deep=True, detector=yunet.detector_name(home))
    assert found.deep is not None
    assert {len(facts.faces or ()) for facts in found.deep.facts.values()} == {1}
    assert "no_face" not in dict(found.not_checked)


def test_check_says_why_faces_are_not_looked_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(repository: str, name: str, revision: str) -> Path:
        raise ConnectionError("no network")

    monkeypatch.setattr(weights, "from_hub", fails)
    monkeypatch.setenv("LORATUI_HOME", str(home))
    clean_set(tmp_path / "set")
    assert cli.main(["check", str(tmp_path / "set"), "--trigger", "anafox", "--preset", "demo", "--faces"]) == 0
    said = capsys.readouterr()
    assert "No face check: The face detector could not be downloaded: no network" in said.err
    assert "no face detector is installed (loratui check --faces downloads one): several_faces, no_face, small_face" in said.out
