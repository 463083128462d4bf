"""The measures of a run: what is read once, what is gone, what a stopped job keeps, and which images answer which part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scenes import scene

from loratui.engine.dataset.ledger import LedgerEntry, read_ledger
from loratui.engine.proof import reading as reading_module
from loratui.engine.proof.kept import read_parts
from loratui.engine.proof.notes import PART_IDS
from loratui.engine.proof.parts import Subject
from loratui.engine.proof.protocol import FaceError, Faces, Near
from loratui.engine.proof.readings import Readings
from loratui.engine.proof.registry import CURVES, MEASURES, PARTS
from loratui.engine.proof.report import Readers, latest, measure_run
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.records import Image as Made
from loratui.presets.schema import Dataset, Settings

FILE, EARLIER = "output/x.safetensors", "output/x-000090.safetensors"
SETTINGS = Settings(dataset=Dataset(trigger="qxz", class_word="woman"))


class EveryoneIsTheSame:
    """Finds one face in each image, always the same."""

    id, title, same_face = "same/1", "a stand-in", 0.8

    def read(self, image: Image.Image) -> Faces:
        return Faces(1, (1.0, 0.0))


class Fails(EveryoneIsTheSame):
    """Cannot read anything."""

    def read(self, image: Image.Image) -> Faces:
        raise FaceError("no")


class Colours:
    """Describes an image by its mean colour, and each text by red; keeps the texts it was asked for."""

    id = "colours/1"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images = 0

    def read(self, image: Image.Image) -> tuple[float, ...]:
        self.images += 1
        mean = np.asarray(image, dtype=float).mean((0, 1))
        return tuple((mean / np.linalg.norm(mean)).tolist())

    def text(self, words: str) -> tuple[float, ...]:
        self.texts.append(words)
        return (1.0, 0.0, 0.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "home" / "runs" / "qxz-1")
    run.validation.mkdir(parents=True)
    return run


@pytest.fixture
def photos(tmp_path: Path) -> list[LedgerEntry]:
    """Six photos and an image of the class."""
    rows = []
    for at in range(7):
        scene(100 + at).save(path := tmp_path / f"{at}.png")
        fit = {"resized": [96, 96], "left": 0, "top": 0}
        row = {"path": str(path), "relative": path.name, "sha256": f"{at:064d}", "width": 96, "height": 96, "bucket": [96, 96]}
        rows.append(row | {"fit": fit, "caption": "a", "concept": "", "repeats": 1, "regularisation": at == 6})
    (ledger := tmp_path / "dataset.json").write_text(json.dumps({"format": 1, "root": "", "images": rows, "left_out": []}))
    return list(read_ledger(ledger).images)


def images(run: RunDirectory) -> list[Made]:
    """Three seeds of two prompts, with and without the LoRA, and two files of epochs."""
    made = []
    for number, (prompt, seed, strength) in enumerate(
        (p, s, t) for p in ("qxz in a park", "qxz photo") for s in (1, 2, 3) for t in (0.0, 1.0)
    ):
        scene(number).save(run.path / (path := f"validation/{number}.png"))
        near = {"nearest": "0.png", "similarity": 0.5}
        made.append(Made(path, prompt, strength, seed, "strengths", FILE if strength else "", **near))
    made += [replace(made[1], grid="checkpoints", file=file) for file in (EARLIER, FILE)]
    return made


def rows(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(part["id"], row["id"]): row for part in report["parts"] for row in part["measures"]}


def measure(run: RunDirectory, photos: list[LedgerEntry], made: list[Made], **more: Any) -> dict[str, Any]:
    subject = Subject(FILE, 1.0, {EARLIER: 90, FILE: 180})
    return measure_run(run, SETTINGS, photos, made, more.pop("readers", Readers(no_faces="no model")), subject, **more)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The images whose pixels are read."""
    found: list[object] = []
    read = reading_module.read_pixels
    monkeypatch.setattr(reading_module, "read_pixels", lambda image: found.append(image) or read(image))
    return found


def test_every_part_of_the_checklist_has_its_images_and_measures(run: RunDirectory, photos: list[LedgerEntry]) -> None:
    layouts = {f"{at}.png": [Near(f"{(at + 1) % 6}.png", 0.6)] for at in range(6)}
    report = measure(run, photos, images(run), readers=Readers(EveryoneIsTheSame(), "", layouts))
    assert [part["id"] for part in report["parts"]] == [part.id for part in PARTS] == list(PART_IDS)
    by_part = {part["id"]: part for part in report["parts"]}
    assert {id: len(part["images"]) for id, part in by_part.items()} == {
        "likeness": 6, "generalises": 3, "trigger_alone": 3, "quality": 6, "strength": 6, "checkpoints": 2, "next": 0
    }  # fmt: skip
    assert by_part["next"]["status"] == "none"
    assert by_part["quality"]["status"] == "measured"
    assert by_part["quality"]["images"][0]["values"].keys() == {"sharpness", "saturation", "clipped"}
    found = rows(report)
    assert report["photos"] == {"trained": 6, "read": 6, "gone": []}, "the image of the class is none"
    assert {id for part, id in found if part == "strength"} == {one.id for one in CURVES}
    assert {id for _, id in found} == {one.id for one in MEASURES}
    assert [point["step"] for point in found["checkpoints", "sharpness"]["curve"]] == [90, 180]
    assert found["generalises", "copy_layout"]["range"] == [0.6, 0.6]
    assert found["likeness", "one_face"]["value"] == 1
    for row in found.values():
        assert row["title"]
        assert row["about"]
        assert row["limits"]
        assert row["means"] or row["unknown"]
        assert (row["value"] is None) <= bool(row["unknown"])
    assert read_parts(run.validation / "measures.json") == report["parts"]


def test_a_job_that_stops_while_measuring_goes_on_where_it_was(
    run: RunDirectory, photos: list[LedgerEntry], reads: list[object]
) -> None:
    class Stopped(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 12 + 2 + 6
        if done == 5:
            raise Stopped

    made = images(run)
    with pytest.raises(Stopped):
        measure(run, photos, made, progress=stop)
    assert len(reads) == 5
    assert not (run.validation / "measures.json").exists()
    measure(run, photos, made)
    assert len(reads) == 12 + 6
    measure(run, photos, made)
    assert len(reads) == 12 + 6


def test_images_that_are_gone_are_unknown_and_photos_that_are_gone_are_named(
    run: RunDirectory, photos: list[LedgerEntry]
) -> None:
    made = images(run)
    photos[2].path.unlink()
    for path in run.validation.glob("*.png"):
        path.unlink()
    report = measure(run, photos, made)
    assert report["photos"] == {"trained": 6, "read": 5, "gone": ["2.png"]}
    found = rows(report)
    assert found["quality", "sharpness"]["unknown"] == "Its images can no longer be read."
    assert found["quality", "sharpness"]["value"] is None
    assert found["likeness", "likeness"]["unknown"] == "no model"
    for photo in photos:
        photo.path.unlink(missing_ok=True)
    (run.validation / "readings.json").unlink()
    assert "6 photos can no longer be read" in rows(measure(run, photos, images(run)))["generalises", "copy_hash"]["unknown"]


def test_a_face_model_that_fails_makes_likeness_unknown_and_nothing_else(run: RunDirectory, photos: list[LedgerEntry]) -> None:
    found = rows(measure(run, photos, images(run), readers=Readers(Fails())))
    assert "could read none" in found["likeness", "one_face"]["unknown"]
    assert found["likeness", "likeness"]["value"] is None
    assert found["quality", "sharpness"]["value"] is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: text.replace("1", "2", 1),
        lambda text: "",
        lambda text: "[]",
        lambda text: '{"format": 9}',
    ],
)
def test_damaged_readings_are_made_again(
    run: RunDirectory, photos: list[LedgerEntry], reads: list[object], damage: Callable[[str], str]
) -> None:
    made = images(run)
    before = measure(run, photos, made)
    kept = run.validation / "readings.json"
    kept.write_text(damage(kept.read_text()))
    assert measure(run, photos, made) == before
    assert len(reads) == 2 * (12 + 6)


def test_readings_of_images_that_are_gone_are_forgotten_and_nonsense_is_read_again(tmp_path: Path) -> None:
    kept = Readings(tmp_path / "readings.json")
    kept.put("a/1", "x", 3)
    kept.put("a/1", "y", "no number")
    kept.save()
    again = Readings(tmp_path / "readings.json")
    assert again.get("a/1", "x", int) == 3
    assert again.get("a/1", "y", int) is None
    assert again.get("a/2", "x", int) is None
    again.save()
    assert json.loads((tmp_path / "readings.json").read_text())["readings"] == {"a/1": {"x": 3}}


def test_of_two_images_for_one_place_the_later_counts_and_keeps_what_it_is_like() -> None:
    one = Made("validation/a.png", "p", 1.0, 1, "strengths", FILE, "0.png", 0.9)
    told_again = replace(one, nearest="", similarity=None)
    other = replace(told_again, path="validation/b.png")
    assert list(latest([one, told_again]).values()) == [one]
    assert list(latest([one, other]).values()) == [other]
    assert not latest([replace(one, strength=float("nan")), replace(one, path="")])


def test_prompts_are_asked_once_without_the_trigger_and_images_are_described_once(
    run: RunDirectory, photos: list[LedgerEntry]
) -> None:
    texts, things = Colours(), Colours()
    things.id = "things/1"
    made = images(run)
    found = rows(measure(run, photos, made, readers=Readers(texts=texts, things=things)))
    followed = found["generalises", "followed"]
    assert sorted(texts.texts) == ["woman in a park", "woman photo"]
    assert followed["value"] is not None
    assert followed["ratio"] == pytest.approx(followed["value"] / followed["base"], abs=1e-3)
    assert "for things and styles" in found["likeness", "resemblance"]["unknown"], "the class word is woman"
    of_dog = replace(SETTINGS, dataset=Dataset(trigger="qxz", class_word="dog"))
    read = texts.images, things.images
    report = measure_run(run, of_dog, photos, made, Readers(texts=texts, things=things), Subject(FILE, 1.0, {}))
    like = rows(report)["likeness", "resemblance"]
    assert like["value"] is not None
    assert like["range"] is not None
    assert (texts.images, things.images) == read, "what was read is kept by the image's sum"
