"""What is measured of pixels, which images are alike, and the worker processes that do it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import clean_set, drawn, photo_like
from PIL import Image, ImageFilter, ImageOps

from loratui.engine.dataset import deep, similar
from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.deep import measure_all
from loratui.engine.dataset.faces import load_detector
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.measure import Lines, blur_effect, measure_image, noise_level, perceptual_hash
from loratui.engine.dataset.scan import read_folder, without
from loratui.engine.errors import UsageError
from loratui.engine.jobs import JOBS
from loratui.presets import load_preset, schema

SUPPORT = Path(__file__).parent.parent.parent / "support"


def luma(image: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.asarray(image.convert("L"), dtype=np.uint8)


def plane(image: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return luma(image).astype(np.float32)


def blur(image: Image.Image) -> float:
    return blur_effect(Lines.of(luma(image)))


def facts(image: Image.Image, folder: Path, name: str = "a.png", resolution: int = 512, **options: object) -> ImageFacts:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    return measure_image(folder / name, resolution)


def test_blur_rises_with_blurring() -> None:
    image = photo_like(1)
    values = [blur(image.filter(ImageFilter.GaussianBlur(r)) if r else image) for r in (0, 1, 2, 4)]
    assert values == sorted(values)
    assert values[0] < 0.3
    assert values[-1] > 0.5


def test_a_sharp_face_before_a_soft_background_is_sharp() -> None:
    image = photo_like(1).filter(ImageFilter.GaussianBlur(8))
    image.paste(photo_like(2, (200, 200)), (150, 90))
    assert blur(image) < 0.4


def test_a_plain_image_is_not_blurred() -> None:
    assert blur(Image.new("RGB", (64, 64), "gray")) == 0.0


def test_noise_is_measured_in_levels() -> None:
    assert noise_level(luma(Image.effect_noise((256, 256), 20))) == pytest.approx(20, rel=0.1)
    assert noise_level(luma(photo_like(1).filter(ImageFilter.GaussianBlur(1)))) < 2


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2), (7, 9), (17, 16)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_any_size_and_mode_can_be_measured(tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    image = Image.new("I;16", size, 30_000) if mode == "I;16" else drawn(1, (300, 300)).resize(size).convert(mode)
    found = facts(image, tmp_path)
    assert all(np.isfinite([found.blur, found.noise, found.luma_mean, found.blockiness]))
    assert ImageFacts.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_large_jpeg_is_decoded_small_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (3000, 2000), "white")
    stored.paste("red", (0, 0, 400, 2000))
    found = facts(stored, tmp_path, "a.jpg", 256, exif=exif)
    top = found.thumbnail[:3]
    assert top[0] > 200
    assert top[1] < 60


def test_transparent_pixels_are_counted(tmp_path: Path) -> None:
    image = drawn(1).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 64, 64))
    assert facts(image, tmp_path).transparent == pytest.approx(0.25)


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    drawn(1).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="damaged"):
        measure_image(tmp_path / "a.jpg", 512)


@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=14))
def test_near_hashes_are_candidates_exactly_once(value: int, flipped: set[int]) -> None:
    other = value
    for bit in flipped:
        other ^= 1 << bit
    pairs = list(similar._candidates([("a", value)], [("b", other)]))
    assert pairs == ([("a", "b")] if len(flipped) <= similar.NEAR_BITS else [])


def test_hash_of_the_mirror_image() -> None:
    grey = plane(drawn(5).resize((32, 32)))
    assert perceptual_hash(grey[:, ::-1]) == perceptual_hash(plane(ImageOps.mirror(drawn(5).resize((32, 32)))))
    assert perceptual_hash(grey) != perceptual_hash(grey[:, ::-1])


def test_near_images_are_grouped_and_others_are_not(tmp_path: Path) -> None:
    base = photo_like(1)
    versions = {
        "a": base,
        "b": base.resize((256, 192)),
        "c": base.point(lambda v: min(255, int(v * 1.15 + 5))),
        "d": photo_like(2),
        "e": base.crop((4, 4, 508, 380)),
    }
    found = {name: facts(image, tmp_path, f"{name}.png") for name, image in versions.items()}
    assert similar.near_groups(found) == (("a", "b", "c", "e"),)


def test_a_symmetric_image_is_not_its_own_mirrored_copy(tmp_path: Path) -> None:
    half = drawn(1, (64, 128))
    whole = Image.new("RGB", (128, 128))
    whole.paste(half, (0, 0))
    whole.paste(ImageOps.mirror(half), (64, 0))
    found = {name: facts(whole, tmp_path, f"{name}.png") for name in "ab"}
    assert similar.mirrored_pairs(found) == ()


def test_the_deep_pass_measures_all_in_workers_and_names_the_damaged(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 4)
    good = (folder / "02.png").read_bytes()
    spot = len(good) // 2
    (folder / "02.png").write_bytes(good[:spot] + b"\0" * 40 + good[spot + 40 :])
    told: list[tuple[int, int]] = []
    found = read_folder(folder)
    result = measure_all(found.images, 128, workers=1, progress=lambda done, total: told.append((done, total)))
    assert sorted(result.facts) == ["00.png", "01.png", "03.png"]
    assert result.facts["00.png"] == measure_image(folder / "00.png", 128)
    assert list(result.damaged) == ["02.png"]
    assert "damaged" in result.damaged["02.png"]
    assert result.unchecked == ()
    assert told[-1] == (4, 4)
    assert [i.relative for i in without(found, dict(result.damaged)).images] == ["00.png", "01.png", "03.png"]


def test_a_cancelled_pass_says_what_it_did_not_see(tmp_path: Path) -> None:
    found = read_folder(clean_set(tmp_path / "set", 3))
    began = time.monotonic()
    result = measure_all(found.images, 128, workers=1, cancelled=lambda: True)
    assert time.monotonic() - began < 10
    assert len(result.unchecked) + len(result.facts) == 3
    assert result.unchecked
    assert result.damaged == {}


def test_names_that_are_no_utf8_reach_the_worker(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set", 1)
    (folder / "00.png").rename(folder / os.fsdecode(b"-\xff\n[b]\x1b.png"))
    (image,) = read_folder(folder).images
    assert list(measure_all([image], 128, workers=1).facts) == [image.relative]


def test_a_worker_that_crashes_costs_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    folder = clean_set(tmp_path / "set", 3)
    Image.new("RGB", (128, 128), (1, 2, 3)).save(folder / "01.png")
    found = read_folder(folder)
    result = measure_all(found.images, 128, workers=1, detector="stand_in_detectors:crashes_on_a_colour")
    assert result.damaged == {"01.png": "makes its decoder crash"}
    assert sorted(result.facts) == ["00.png", "02.png"]


def test_images_behind_one_that_crashes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several are on their way to the worker at once; each is measured exactly once."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    folder = clean_set(tmp_path / "set", 12)
    for at in (0, 1, 5, 11):
        Image.new("RGB", (128, 128), (1, 2, 3)).save(folder / f"{at:02d}.png")
    told: list[tuple[int, int]] = []
    found = read_folder(folder)
    result = measure_all(
        found.images, 128, workers=2, detector="stand_in_detectors:crashes_on_a_colour", progress=lambda *at: told.append(at)
    )
    assert sorted(result.damaged) == ["00.png", "01.png", "05.png", "11.png"]
    assert len(result.facts) == 8
    assert told[-1] == (12, 12)


def test_a_worker_that_cannot_begin_costs_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = clean_set(tmp_path / "set", 3)
    found = inspect_folder(folder, schema.replace(load_preset("demo").settings, {"dataset.trigger": "anafox"}), deep=True)
    assert len(found.scan.training) == 3
    assert found.deep is not None
    assert (found.deep.damaged, len(found.deep.unchecked)) == ({}, 3)
    (finding,) = (f for f in found.findings if f.code == "not_measured")
    assert "numpy is broken" in finding.message


def test_a_large_image_goes_to_the_worker_of_the_large_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "LARGE_PIXELS", 128 * 128)
    folder = clean_set(tmp_path / "set", 4)
    for at in range(3):
        drawn(at, (200, 200)).save(folder / f"{at:02d}.png")
    assert len(measure_all(read_folder(folder).images, 128, workers=2).facts) == 4


def test_an_image_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    monkeypatch.setitem(JOBS, "measure", dataclasses.replace(JOBS["measure"], answer_s=1.0))
    folder = clean_set(tmp_path / "set", 1)
    Image.new("RGB", (128, 128), (1, 2, 3)).save(folder / "00.png")
    result = measure_all(read_folder(folder).images, 128, workers=1, detector="stand_in_detectors:hangs_on_a_colour")
    assert result.damaged == {"00.png": "takes more than 1 s to decode"}


def test_a_detector_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_detector("") is None
    assert load_detector("made_images:StandInFaceDetector") is not None
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_detector("no.such.module:thing")
