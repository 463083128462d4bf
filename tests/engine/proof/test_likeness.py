"""Likeness by faces: on made descriptions where the answer is known, through OpenCV with a stand-in, and by dlib on real photographs."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from small_files import YUNET_STAND_IN

from loratui.engine.dataset import weights, yunet
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.proof import dlib_faces, face_models, face_weights, sface
from loratui.engine.proof.calibration import similarity
from loratui.engine.proof.likeness import COPY_FACE, FACES_FOUND, LIKENESS, leave_one_out
from loratui.engine.proof.protocol import Faces, Photo, References, Shot, measured

WIDE = 64


def person(rng: np.random.Generator) -> np.ndarray:
    return unit(rng.normal(size=WIDE))


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def seen(who: np.ndarray, rng: np.random.Generator, like: float = 0.7) -> tuple[float, ...]:
    """A description of somebody that has this cosine to the person's own."""
    other = rng.normal(size=WIDE)
    other = unit(other - who * (other @ who))
    return tuple((like * who + (1 - like**2) ** 0.5 * other).tolist())


def photo(name: str, embedding: Sequence[float], count: int = 1) -> Photo:
    return Photo(name, faces=Faces(count, tuple(embedding) if count == 1 else ()))


def shot(seed: int, embedding: Sequence[float], count: int = 1) -> Shot:
    return Shot(f"{seed}.png", "a", seed, "x", 1.0, faces=Faces(count, tuple(embedding) if count == 1 else ()))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def photos_of(who: np.ndarray, rng: np.random.Generator, number: int = 12) -> tuple[Photo, ...]:
    return tuple(photo(f"{at}.png", seen(who, rng)) for at in range(number))


def test_the_same_person_falls_within_what_the_photos_are_to_each_other(rng: np.random.Generator) -> None:
    who = person(rng)
    references = References(photos=photos_of(who, rng))
    own = measured(LIKENESS, [shot(at, seen(who, rng)) for at in range(8)], references)
    assert own.range is not None
    assert own.range[0] < 0.49 < own.range[1], "two descriptions of 0.7 each are 0.49 alike"
    assert own.more["within"] >= 0.75
    assert own.means.startswith("as like as the photos")
    assert own.spread is not None


def test_somebody_else_falls_below(rng: np.random.Generator) -> None:
    references = References(photos=photos_of(person(rng), rng))
    other = person(rng)
    found = measured(LIKENESS, [shot(at, seen(other, rng)) for at in range(8)], references)
    assert found.more["below"] == 1
    assert found.means == "less like than the photos are to each other"


def test_copies_of_photos_are_above_and_a_mean_face_is_not(rng: np.random.Generator) -> None:
    who = person(rng)
    photos = photos_of(who, rng)
    references = References(photos=photos)
    copies = [shot(at, photos[at].faces.embedding) for at in range(8) if photos[at].faces]
    found = measured(LIKENESS, copies, references)
    assert found.more["above"] == 1
    assert found.means.startswith("copies of photos")
    nearest = measured(COPY_FACE, copies[3:4], references)
    assert (nearest.more["photo"], nearest.more["share_above"]) == ("3.png", 1)
    assert "nearer than the photos to each other" in nearest.means
    mean = measured(LIKENESS, [shot(1, seen(who, rng, 0.97))], references)
    assert mean.more["above"] == 0, "the middle of the photos is a likeness"


def test_leave_one_out_leaves_the_photo_itself_out() -> None:
    photos = [photo("a", (1.0, 0.0)), photo("b", (0.0, 1.0)), photo("c", (0.0, 1.0))]
    assert leave_one_out(photos) == [(0.0, 0.0), (0.5, 1.0), (0.5, 1.0)]
    assert leave_one_out(photos[:1]) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_three_photos_have_no_natural_range_and_it_is_said(rng: np.random.Generator, number: int) -> None:
    who = person(rng)
    found = measured(LIKENESS, [shot(1, seen(who, rng))], References(photos=photos_of(who, rng, number)))
    assert found.value is not None
    assert found.range is None
    assert "at least 4" in found.unknown
    assert not found.means


def test_photos_of_one_moment_count_once(rng: np.random.Generator) -> None:
    who = person(rng)
    photos = photos_of(who, rng, 5)
    alike = (tuple(one.name for one in photos),)
    assert measured(LIKENESS, [shot(1, seen(who, rng))], References(photos=photos, likenesses=alike)).range is None


def test_images_without_a_face_or_with_several_are_left_out_and_counted(rng: np.random.Generator) -> None:
    who = person(rng)
    references = References(photos=photos_of(who, rng))
    images = [shot(1, seen(who, rng)), shot(2, (), 0), shot(3, (), 0), shot(4, (), 2)]
    faces = measured(FACES_FOUND, images, references)
    assert (faces.value, faces.more["none"], faces.more["several"]) == (0.25, 0.5, 0.25)
    assert faces.means == "50% without a face, 25% with several"
    assert measured(LIKENESS, images, references).more["compared"] == 1
    none = measured(LIKENESS, images[1:], references)
    assert none.value is None
    assert none.unknown == "No image has exactly one face: 1 with several, 2 without a face."


def test_what_lacks_is_said(rng: np.random.Generator) -> None:
    images = [shot(1, seen(person(rng), rng))]
    for measure in (LIKENESS, FACES_FOUND, COPY_FACE):
        found = measured(measure, images, References(no_faces=face_weights.NONE_HERE))
        assert (found.value, found.unknown) == (None, face_weights.NONE_HERE)
    drawn = References(photos=(photo("a", (), 0), photo("b", (), 2)))
    for measure in (LIKENESS, COPY_FACE):
        assert "none of the photos" in measured(measure, images, drawn).unknown
    assert measured(LIKENESS, images, References(no_photos="There are no photos.")).unknown == "There are no photos."


vectors = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda v: sum(x * x for x in v) > 0.01)


@settings(max_examples=50, deadline=None)
@given(st.lists(vectors, min_size=2, max_size=6))
def test_similarity_is_the_cosine_and_the_same_both_ways(rows: list[list[float]]) -> None:
    units = [unit(np.array(row)).tolist() for row in rows]
    found = similarity(units, units)
    assert np.allclose(found, np.array(units) @ np.array(units).T, atol=1e-9)
    assert np.allclose(found, found.T)
    assert np.allclose(np.diag(found), 1)


# ---- which model


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without weights, where stand-ins count as genuine, on a machine without dlib."""
    stand_in = {"bytes": len(YUNET_STAND_IN), "sha256": hashlib.sha256(YUNET_STAND_IN).hexdigest()}
    monkeypatch.setattr(yunet, "WEIGHTS", replace(yunet.WEIGHTS, **stand_in))
    monkeypatch.setattr(face_weights, "SFACE", replace(face_weights.SFACE, **stand_in))
    monkeypatch.setattr(weights, "in_hub_cache", lambda *_: ())
    monkeypatch.setattr(yunet, "opencv_is_there", lambda: True)
    monkeypatch.setattr(dlib_faces, "find", lambda: None)
    return tmp_path / "home"


def test_without_weights_there_is_no_model_and_both_are_fetched_once(home: Path) -> None:
    assert face_models.find(home) is None
    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> Path:
        asked.append((repository, name))
        path = home / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(YUNET_STAND_IN)
        return path

    face_weights.fetch(home, download)
    face_weights.fetch(home, download)
    assert [repository for repository, _ in asked] == ["opencv/face_detection_yunet", "opencv/face_recognition_sface"]
    assert isinstance(face_models.find(home), sface.SFace)
    assert "Apache-2.0" in face_weights.offer()
    (home / "models" / face_weights.SFACE.file).write_bytes(b"other")
    assert face_models.find(home) is None


def test_a_hub_that_is_away_and_a_missing_opencv_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(repository: str, name: str) -> Path:
        raise ConnectionError("no network")

    with pytest.raises(LoratuiError, match="could not be downloaded: no network"):
        face_weights.fetch(home, away)
    monkeypatch.setattr(yunet, "opencv_is_there", lambda: False)
    assert face_models.find(home) is None
    with pytest.raises(UsageError, match="OpenCV"):
        face_weights.fetch(home, away)


def test_opencv_finds_a_face_and_one_that_cannot_be_described_is_an_error(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (weights_file := tmp_path / "w.onnx").write_bytes(YUNET_STAND_IN)
    reader = sface.SFace(weights_file, weights_file)
    with pytest.raises(sface.FaceError):
        reader.read(Image.new("RGB", (64, 64), "red"))


# ---- real faces, by dlib


@pytest.fixture(scope="module")
def dlib_reader() -> dlib_faces.DlibFaces:
    found = dlib_faces.find()
    if found is None:
        pytest.skip("dlib is not installed: pip install 'loratui[faces-offline]'")
    return found


def variants(image: Image.Image) -> list[Image.Image]:
    """The same photograph as it might come back."""
    image.save(data := io.BytesIO(), "JPEG", quality=40)
    wide, high = image.size
    cropped = image.crop((wide // 20, high // 20, wide - wide // 20, high))
    changed = [Image.open(data).convert("RGB"), ImageOps.mirror(image), ImageEnhance.Brightness(image).enhance(0.7)]
    return [*changed, cropped, image.resize((wide * 3 // 4, high * 3 // 4)), image.rotate(5)]


@pytest.mark.long
def test_dlib_finds_a_real_face_and_knows_it_again(dlib_reader: dlib_faces.DlibFaces) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: it ships a photograph of NASA's")
    astronaut = Image.fromarray(data.astronaut())
    own = dlib_reader.read(astronaut)
    again = [dlib_reader.read(image) for image in variants(astronaut)]
    assert own.count == 1
    assert len(own.embedding) == 128
    assert [found.count for found in again] == [1] * len(again)
    assert similarity([own.embedding], [found.embedding for found in again]).min() >= 1 - 0.35**2 / 2
    assert dlib_reader.read(Image.fromarray(data.coffee())).count == 0
    assert dlib_reader.read(Image.new("RGB", (3, 2))).count == 0
    two = Image.new("RGB", (1024, 512))
    two.paste(astronaut, (0, 0))
    two.paste(ImageOps.mirror(astronaut), (512, 0))
    assert dlib_reader.read(two).count == 2


@pytest.mark.long
def test_dlib_tells_people_apart_better_by_calibration_than_by_its_limit(dlib_reader: dlib_faces.DlibFaces) -> None:
    folder = os.environ.get("FACE_IMAGES")
    if not folder:
        pytest.skip("FACE_IMAGES names no folder: tests/test_images of the source archive of face-recognition on PyPI")
    faces = {path.stem: dlib_reader.read(Image.open(path).convert("RGB")) for path in sorted(Path(folder).glob("*.jpg"))}
    same = [name for name, found in faces.items() if name.startswith("obama") and found.count == 1]
    assert len(same) >= 3
    pairs = [float(similarity([faces[a].embedding], [faces[b].embedding])[0, 0]) for a, b in itertools.combinations(same, 2)]
    others = similarity([faces["biden"].embedding], [faces[name].embedding for name in same])
    assert min(pairs) > others.max() + 0.05
