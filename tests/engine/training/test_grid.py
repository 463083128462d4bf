"""The validation images, made from the LoRA files that the person will use."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from random_bases import run_on, write_images

from loratui.engine import durable, sealed
from loratui.engine.dataset.ledger import read_ledger, read_table
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.planning.recipe import build_recipe, read_recipe
from loratui.engine.planning.validation_grid import GridRequest
from loratui.engine.proof import reading as reading_module
from loratui.engine.proof.kept import read_parts
from loratui.engine.proof.registry import PARTS
from loratui.engine.runs import control
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.importing import import_file, import_newest
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.lineage import ancestors
from loratui.engine.runs.summary import summarise
from loratui.engine.training.control_queue import ControlQueue, Interrupted
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer
from loratui.engine.training.validation import grid as grid_module
from loratui.engine.training.validation import making
from loratui.engine.training.validation.grid import make_grid
from loratui.engine.training.validation.nearest import layout


def do(run: RunDirectory, job: str) -> ExitCode:
    with EventLog.open(run.events_of(job)) as log:
        report, requests = Reporter(log), ControlQueue()
        requests.open(Inbox(run, log))
        try:
            if job == "train":
                return Trainer(read_job(run), report, requests).run()
            return make_grid(read_job(run), report, requests)
        finally:
            report.close()


def listed(run: RunDirectory) -> list[dict[str, Any]]:
    return list(json.loads((run.validation / "grid.json").read_text())["images"])


def told(run: RunDirectory) -> list[dict[str, Any]]:
    log = read_events(run.validation_events, max_bytes=1 << 24).events
    return [dict(e.fields) for e in log if e.type == "image_written"]


def different(a: Image.Image, b: Image.Image) -> bool:
    return ImageChops.difference(a, b).getbbox() is not None


@pytest.fixture(scope="module")
def trained_once(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    home = tmp_path_factory.mktemp("trained")
    sets = ("optimizer.learning_rate=0.05", 'validation.prompts=["a {subject}", "{trigger}, red"]')
    run = run_on(base_folder, home, *sets, folder=write_images(home / "images"))
    assert do(run, "train") == ExitCode.DONE
    return run


@pytest.fixture
def trained(trained_once: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the trained run, for each test to write into."""
    run = RunDirectory(shutil.copytree(trained_once.path, tmp_path / "runs" / trained_once.name))
    durable.make_directory(run.validation)
    return run


def test_without_a_file_there_is_nothing_to_check(make_run: Callable[..., RunDirectory]) -> None:
    with pytest.raises(UsageError, match="no LoRA file yet"):
        do(make_run(), "validate")


def test_both_grids_have_every_cell_and_strength_0_is_the_base(trained: RunDirectory) -> None:
    before = trained.events.read_bytes()
    durable.write_json(trained.validation / "wish.json", GridRequest().to_json())
    assert do(trained, "validate") == ExitCode.DONE
    assert trained.events.read_bytes() == before, "the check has a log of its own"
    cells = listed(trained)
    strengths = [cell for cell in cells if cell["grid"] == "strengths"]
    assert [(c["prompt"], c["strength"]) for c in strengths] == [
        (prompt, strength) for prompt in ("a qxz thing", "qxz, red") for strength in (0.0, 0.5, 1.0, 1.5)
    ]
    epochs = [cell for cell in cells if cell["grid"] == "checkpoints"]
    assert [c["file"] for c in epochs] == ["output/qxz-000007.safetensors"] * 2 + ["output/qxz-000014.safetensors"] * 2
    images = [Image.open(trained.path / cell["path"]) for cell in strengths[:4]]
    assert all(different(a, b) for a, b in itertools.pairwise(images))
    assert different(*(Image.open(trained.path / cell["path"]) for cell in epochs[::2]))
    assert not any(image.info for image in images), "nothing but pixels in the file"
    assert [t["path"] for t in told(trained)] == [cell["path"] for cell in cells]
    assert {t["nearest"] for t in told(trained)} <= {f"{n}.png" for n in range(7)}
    assert all(-1 <= t["similarity"] <= 1 for t in told(trained))


def test_what_is_there_is_not_made_again_and_another_wish_makes_the_rest(
    trained: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.make_directory(trained.validation)
    durable.write_json(trained.validation / "wish.json", GridRequest(grids=("strengths",), strengths=(0.0, 1.0)).to_json())
    do(trained, "validate")
    made = {path: path.stat().st_mtime_ns for path in trained.validation.glob("*.png")}
    assert len(made) == 4
    monkeypatch.setattr(making, "load_base", lambda _: pytest.fail("nothing is missing"))
    do(trained, "validate")
    monkeypatch.undo()
    durable.write_json(trained.validation / "wish.json", GridRequest(grids=("strengths",), strengths=(0.0, 1.0, 1.5)).to_json())
    do(trained, "validate")
    assert len(list(trained.validation.glob("*.png"))) == 6
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())


def test_a_check_that_was_stopped_goes_on_where_it_was(trained: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write, made = grid_module.write_image, []

    def counted(*args: Any) -> None:
        write(*args)
        made.append(args[0])
        if len(made) == 3:
            control.send(trained, "stop")

    monkeypatch.setattr(grid_module, "write_image", counted)
    with pytest.raises(Interrupted):
        do(trained, "validate")
    assert len(made) == 3
    for answered in trained.control.iterdir():  # as the trainer's process does at its end
        answered.unlink()
    assert do(trained, "validate") == ExitCode.DONE
    assert len(made) == len(set(made)) == len({cell["path"] for cell in listed(trained)})


def values(run: RunDirectory) -> dict[tuple[str, str], dict[str, Any]]:
    parts = read_parts(run.validation / "measures.json")
    return {(part["id"], row["id"]): row for part in parts for row in part["measures"]}


def test_the_images_are_measured_at_the_end_and_only_new_ones_are_read_again(
    trained: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []
    read = reading_module.read_pixels
    monkeypatch.setattr(reading_module, "read_pixels", lambda image: reads.append(image) or read(image))
    durable.make_directory(trained.validation)
    wish = GridRequest(grids=("strengths",), strengths=(0.0, 1.0), seeds=2)
    durable.write_json(trained.validation / "wish.json", wish.to_json())
    assert do(trained, "validate") == ExitCode.DONE
    assert len(reads) == 2 * 2 * 2 + 7, "images and photos"
    found = values(trained)
    assert [part["id"] for part in read_parts(trained.validation / "measures.json")] == [p.id for p in PARTS]
    for key in (
        ("quality", "sharpness"),
        ("quality", "saturation"),
        ("generalises", "variety"),
        ("generalises", "copy_layout"),
    ):
        assert found[key]["value"] is not None, found[key]
        assert found[key]["base"] is not None
        assert found[key]["spread"] is not None
        assert not found[key]["unknown"]
    assert found["generalises", "copy_layout"]["range"] is not None
    assert found["checkpoints", "sharpness"]["unknown"]
    made = (trained.validation / "measures.json").read_bytes()

    reads.clear()
    assert do(trained, "validate") == ExitCode.DONE
    assert not reads, "all is known"
    assert (trained.validation / "measures.json").read_bytes() == made

    durable.write_json(trained.validation / "wish.json", replace(wish, strengths=(0.0, 0.5, 1.0)).to_json())
    assert do(trained, "validate") == ExitCode.DONE
    assert len(reads) == 4, "the new ones"
    assert [point["strength"] for point in values(trained)["strength", "sharpness"]["curve"]] == [0.5, 1.0]

    reads.clear()
    kept = trained.validation / "readings.json"
    kept.write_bytes(kept.read_bytes().replace(b"0", b"1", 20))
    for path in trained.validation.glob("*.png"):
        path.write_bytes(b"no image")
        break
    assert do(trained, "validate") == ExitCode.DONE
    assert len(reads) == 12 - 1 + 7, "a damaged file is read again, and a damaged image is passed over"


@pytest.mark.parametrize(("file", "words"), [("output/gone.safetensors", "has no file"), ("qxz", "has no file")])
def test_a_wish_for_a_file_that_is_not_there_is_refused(trained: RunDirectory, file: str, words: str) -> None:
    durable.make_directory(trained.validation)
    durable.write_json(trained.validation / "wish.json", GridRequest(file=file).to_json())
    with pytest.raises(UsageError, match=words):
        do(trained, "validate")


def test_an_image_is_nearest_to_itself_and_light_alone_does_not_matter() -> None:
    source = torch.Generator().manual_seed(0)
    gallery = torch.stack([layout(torch.randn(4, 16, 24, generator=source)) for _ in range(5)])
    again = torch.Generator().manual_seed(0)
    first = torch.randn(4, 16, 24, generator=again)
    likeness = gallery @ layout(first * 0.5 + 3)
    assert int(likeness.argmax()) == 0
    assert float(likeness[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(likeness[1:].max()) < 0.5


# ---- any LoRA file


def imported(run: RunDirectory, home: Path, images: str = "") -> RunDirectory:
    """The finished file of a run as another program would hand it over: elsewhere, and without the run."""
    settings = read_recipe(run.effective).settings
    durable.make_directory(home)
    path = home / "any.safetensors"
    shutil.copyfile(run.output / "qxz.safetensors", path)
    small = (
        "dataset.resolution=64",
        "samples.steps=2",
        "memory.threads=1",
        'validation.prompts=["a {subject}", "{trigger}, red"]',
    )
    recipe = build_recipe("demo", base=settings.base.model, class_word="thing", sets=small)
    made, _ = import_file(path, recipe.with_changes({"dataset.path": images}), home)
    return made


def test_a_file_of_any_program_gives_the_images_that_its_own_run_gives(trained: RunDirectory, tmp_path: Path) -> None:
    wish = GridRequest(grids=("strengths",), strengths=(0.0, 1.0))
    photos = str(read_ledger(trained.dataset).root)
    other = imported(trained, tmp_path / "other", photos)
    assert summarise(other).status == "done"
    assert [one.words for one in ancestors(other)] == ["imported from any.safetensors"]
    assert read_recipe(other.effective).settings.dataset.trigger == "qxz", "as the file says"
    with pytest.raises(UsageError, match="nothing to train"):
        launch(other, "train")
    assert imported(trained, tmp_path / "other", photos) == other, "the same file is not imported twice"
    for run in (trained, other):
        durable.write_json(run.validation / "wish.json", wish.to_json())
        assert do(run, "validate") == ExitCode.DONE
    own, given = ({(c["prompt"], c["strength"]): c["path"] for c in listed(run)} for run in (trained, other))
    assert own.keys() == given.keys()
    for key, path in own.items():
        pair = Image.open(trained.path / path), Image.open(other.path / given[key])
        assert max(high for _, high in ImageChops.difference(*pair).getextrema()) <= 1, "but for rounding"
    assert {t["nearest"] for t in told(other)} <= {f"{n}.png" for n in range(7)}


def test_without_images_a_file_is_made_and_measured_without_photos(trained: RunDirectory, tmp_path: Path) -> None:
    other = imported(trained, tmp_path / "other")
    durable.write_json(other.validation / "wish.json", GridRequest(grids=("strengths",), strengths=(0.0, 1.0)).to_json())
    assert do(other, "validate") == ExitCode.DONE
    found = values(other)
    assert found["quality", "sharpness"]["value"] is not None
    assert found["generalises", "copy_layout"]["unknown"]
    assert all("nearest" not in t and t["seconds"] > 0 for t in told(other))


def test_photos_that_are_gone_are_left_out_of_the_comparison(trained: RunDirectory) -> None:
    """Their latents too: a folder that was tidied up since stopped the whole validation."""
    for path in trained.cache.glob("latents-*"):
        path.unlink()
    table = read_table(trained.dataset)
    for row in table["images"][:2]:
        row["path"] = str(trained.path / "gone.png")
    sealed.write(trained.dataset, table, trained.path)
    durable.write_json(trained.validation / "wish.json", GridRequest(grids=("strengths",), strengths=(0.0, 1.0)).to_json())
    assert do(trained, "validate") == ExitCode.DONE
    assert json.loads((trained.validation / "measures.json").read_text())["photos"]["read"] == 5


def test_the_newest_file_of_a_run_becomes_a_run_beside_it(trained: RunDirectory, tmp_path: Path) -> None:
    (trained.output / "qxz.safetensors").unlink()
    other = import_newest(trained, tmp_path)
    assert [one.words for one in ancestors(other)] == [f"imported from step 14 of {trained.name}"]
    assert [path.name for path in other.output.iterdir()] == ["qxz-000014.safetensors"]
    assert len(read_ledger(other.dataset).images) == 7
    for path in trained.output.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no LoRA file yet"):
        import_newest(trained, tmp_path)
