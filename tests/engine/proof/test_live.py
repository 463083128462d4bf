"""What is measured of samples while a run trains: a copy of a photo is found, the base is the control, faces may be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from scenes import scene

from loratui.engine.dataset.ledger import LedgerEntry, read_ledger
from loratui.engine.proof.live import LiveMeasures, Made
from loratui.engine.proof.protocol import FaceReader, Faces
from loratui.engine.proof.registry import LIVE
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event
from loratui.engine.runs.measured import Measured
from loratui.presets.schema import Dataset

DATASET = Dataset(trigger="qxz", class_word="woman")


class Brightness:
    """Describes an image by how bright it is."""

    id, title = "bright/1", "a stand-in"

    def read(self, image: Image.Image) -> Faces:
        level = sum(image.convert("L").resize((1, 1)).tobytes()) / 255
        return Faces(1, (level, (1 - level**2) ** 0.5))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "runs" / "qxz-1")
    run.samples.mkdir(parents=True)
    return run


@pytest.fixture
def photos(tmp_path: Path) -> list[LedgerEntry]:
    rows = []
    for at in range(6):
        scene(100 + at).save(path := tmp_path / f"{at}.png")
        fit = {"resized": [96, 96], "left": 0, "top": 0}
        row = {"path": str(path), "relative": path.name, "sha256": f"{at:064d}", "width": 96, "height": 96, "bucket": [96, 96]}
        rows.append(row | {"fit": fit, "caption": "a", "concept": "", "repeats": 1, "regularisation": False})
    (ledger := tmp_path / "dataset.json").write_text(json.dumps({"format": 1, "root": "", "images": rows, "left_out": []}))
    return list(read_ledger(ledger).images)


def made(run: RunDirectory, step: int, *images: Image.Image) -> list[Made]:
    rows = []
    for at, image in enumerate(images):
        path = run.samples / f"step-{step}" / f"{at}.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
        rows.append(Made(path.relative_to(run.path).as_posix(), "qxz in a park", at))
    return rows


def measure(
    run: RunDirectory, photos: list[LedgerEntry], images: list[Made], base: list[Made], faces: FaceReader | None = None
) -> Measured:
    rows = LiveMeasures(run, DATASET, photos, faces, "" if faces else "no model").of(images, base, 1.0)
    assert [row["id"] for row in rows] == [one.id for one in LIVE]
    told = json.loads(json.dumps({"step": 9, "epoch": 1, "images": len(images), "measures": rows}, allow_nan=False))
    return Measured.of(Event("", 0, 0.0, told))


def test_a_copy_is_found_without_a_face_model_and_what_is_unknown_has_its_reason(
    run: RunDirectory, photos: list[LedgerEntry]
) -> None:
    found = measure(run, photos, made(run, 1, scene(103), scene(2)), made(run, 0, scene(3), scene(4)))
    assert found.copied == 0.5
    near = found.get("copy_hash")
    assert near is not None
    assert near.photo == "3.png"
    (likeness,) = (one for one in found.measures if one.id == "likeness")
    assert (likeness.value, likeness.unknown) == (None, "no model")
    variety = found.get("variety")
    assert variety is not None
    assert variety.base


def test_what_the_base_does_as_well_was_not_copied(run: RunDirectory, photos: list[LedgerEntry]) -> None:
    assert measure(run, photos, made(run, 1, scene(103)), made(run, 0, scene(103))).copied == 0


def test_likeness_has_its_base_and_its_natural_range(run: RunDirectory, photos: list[LedgerEntry]) -> None:
    found = measure(run, photos, made(run, 1, scene(1)), made(run, 0, scene(2)), Brightness()).get("likeness")
    assert found is not None
    assert found.base is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.high


def test_images_and_photos_that_are_gone_are_unknown(run: RunDirectory, photos: list[LedgerEntry]) -> None:
    gone = measure(run, photos, [Made("samples/none.png", "qxz", 1)], [])
    assert all(one.value is None and one.unknown for one in gone.measures)
    for entry in photos:
        entry.path.unlink()
    found = measure(run, photos, made(run, 1, scene(1)), [])
    assert {one.id for one in found.measures if one.value is not None} == set()
    assert next(one.unknown for one in found.measures if one.id == "copy_hash") == "The photos can no longer be read."
