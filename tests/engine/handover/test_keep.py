"""A LoRA file under a name of one's own, with its settings, and what is said about it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_run import FINAL, finished_run, make_run
from judged_run import EARLIER, judged_run, judging
from PIL import Image

from loratui.engine import jobs
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.handover import keep as keeping
from loratui.engine.handover import preview
from loratui.engine.handover.keep import Keep, keep, licence_note, named_file, places_of, proposed_file, strength_of
from loratui.engine.jobs import JobFailed
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.notes import update
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import lora_files
from loratui.presets.schema import Settings, replace

FILE = "output/anafox-000180.safetensors"


def settings_of(run: RunDirectory) -> Settings:
    return read_recipe(run.effective).settings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    """A run whose validation recommends the finished file at strength 0.5."""
    with judging(run := judged_run(tmp_path_factory.mktemp("home"))):
        yield run


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are made small in this process: its own takes half a second to start."""

    def run_here(job: str, request: Any) -> Any:
        return preview.begin(None)(request) if job == "preview" else jobs_run(job, request)  # type: ignore[arg-type]  # it tells nobody anything

    jobs_run = jobs.run
    monkeypatch.setattr(jobs, "run", run_here)


def test_a_file_is_copied_with_its_settings_beside_it(run: RunDirectory, tmp_path: Path) -> None:
    done = keep(run, settings_of(run), Keep(FILE, "Ana v1", tmp_path / "new" / "folder"))
    assert done.path == tmp_path / "new" / "folder" / "Ana-v1.safetensors"
    assert done.path.read_bytes() == (run.path / FILE).read_bytes()
    recipe, effective, card, image = done.beside
    assert (recipe.name, effective.name) == ("Ana-v1.recipe.toml", "Ana-v1.effective.toml")
    assert (card.name, image.name) == ("Ana-v1.json", "Ana-v1.preview.png")
    assert (recipe.read_bytes(), effective.read_bytes()) == (run.recipe.read_bytes(), run.effective.read_bytes())
    assert {stat.S_IMODE(path.stat().st_mode) for path in done.path.parent.iterdir()} == {0o600}
    assert len(list(done.path.parent.iterdir())) == 5
    assert [place.program for place in done.places] == ["ComfyUI", "Automatic1111", "Forge", "InvokeAI", "diffusers"]


@pytest.mark.parametrize("taken", ["ana.safetensors", "ana.recipe.toml", "ana.effective.toml", "ana.json", "ana.preview.png"])
def test_nothing_is_ever_replaced(run: RunDirectory, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        keep(run, Settings(), Keep(FILE, "ana", tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ana")] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_a_name_is_needed_and_cannot_lead_out_of_the_folder(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        keep(run, Settings(), Keep(FILE, "  ", tmp_path))
    assert keep(run, Settings(), Keep(FILE, "../../x", tmp_path)).path.parent == tmp_path


def test_a_file_that_is_gone_is_told_and_leaves_nothing(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    with pytest.raises(LoratuiError):
        keep(run, Settings(), Keep("output/gone.safetensors", "ana", folder))
    assert list(folder.iterdir()) == []


def test_another_layout_is_written_by_the_exporting_process(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def written(run: RunDirectory, **wanted: object) -> dict[str, object]:
        asked.append(wanted)
        return {"opened_by": [{"title": "diffusers", "place": "pipe"}]}

    monkeypatch.setattr(keeping, "written_by_job", written)
    done = keep(run, Settings(), Keep(FILE, "ana", tmp_path, "peft", "bf16"))
    assert [place.program for place in done.places] == ["diffusers"]
    assert asked == [{"file": FILE, "format": "peft", "dtype": "bf16", "name": "ana", "output": f"{tmp_path}/ana.safetensors"}]
    assert (tmp_path / "ana.recipe.toml").is_file()


@pytest.mark.long
def test_what_the_process_says_is_told(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(JobFailed):
        keep(run, Settings(), Keep(FILE, "ana", tmp_path, "peft"))
    assert not list(tmp_path.glob("ana*"))


@pytest.mark.parametrize(
    ("model", "family", "words"),
    [
        ("embedded:sd15", "sd15", "Apache 2.0"),
        ("black-forest-labs/FLUX.1-dev", "flux", "non-commercial use, and so is a LoRA trained on it"),
        ("black-forest-labs/FLUX.1-schnell", "flux", "Apache 2.0"),
        ("/models/pony.safetensors", "sdxl", "Open RAIL++-M; Pony"),
        ("/models/real.safetensors", "sd15", "OpenRAIL-M; a fine-tuned base"),
    ],
)
def test_the_licence_of_the_base(model: str, family: str, words: str) -> None:
    assert words in licence_note(replace(Settings(), {"base.model": model, "base.family": family}))


def test_flux_goes_where_its_names_are_read() -> None:
    assert "Automatic1111" not in [place.program for place in places_of(replace(Settings(), {"base.family": "flux"}))]


def test_image_programs_find_an_image_and_a_note_beside_it(run: RunDirectory, tmp_path: Path) -> None:
    done = keep(run, settings_of(run), Keep(FINAL, "ana", tmp_path))
    noted = json.loads((tmp_path / "ana.json").read_text())
    assert noted.keys() == {"description", "sd version", "activation text", "preferred weight", "negative text", "notes"}
    assert (noted["sd version"], noted["activation text"], noted["preferred weight"]) == ("SD1", "anafox woman", 0.5)
    with Image.open(tmp_path / "ana.preview.png") as image, Image.open(next(run.validation.glob("00-anafox-0.50-*"))) as made:
        assert (image.format, image.info) == ("PNG", {})
        assert image.tobytes() == made.convert("RGB").tobytes(), "the image at the recommended strength"
    assert done.no_preview == ""


def test_a_trigger_that_no_file_shall_name_is_in_no_note(run: RunDirectory, tmp_path: Path) -> None:
    keep(run, replace(settings_of(run), {"output.trigger_in_metadata": False}), Keep(FINAL, "ana", tmp_path))
    assert "anafox" not in (tmp_path / "ana.json").read_text()


def test_without_a_validation_the_image_is_a_sample_and_without_that_there_is_none(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    done = keep(run, settings_of(run), Keep("output/anafox-000180.safetensors", "a", tmp_path))
    sample = run.samples / "step-000180" / "00.png"
    with Image.open(tmp_path / "a.preview.png") as image, Image.open(sample) as made:
        assert image.tobytes() == made.convert("RGB").tobytes()
    assert done.no_preview == ""
    sample.write_bytes(b"no image")
    assert "cannot be read" in keep(run, settings_of(run), Keep("output/anafox-000180.safetensors", "b", tmp_path)).no_preview
    sample.unlink()
    without = keep(run, settings_of(run), Keep("output/anafox-000180.safetensors", "c", tmp_path))
    assert "none was made" in without.no_preview
    assert not (tmp_path / "c.preview.png").exists()
    assert without.path.is_file()


def test_the_chosen_file_comes_before_the_recommended_one(tmp_path: Path) -> None:
    run = judged_run(tmp_path)
    settings = settings_of(run)
    with judging(run):
        assert proposed_file(run, settings, lora_files(run, settings)) == FINAL
        update(run.validation / "checklist.json", lambda kept: kept.choose(EARLIER))
        assert proposed_file(run, settings, lora_files(run, settings)) == EARLIER
        (run.path / EARLIER).unlink()
        assert proposed_file(run, settings, lora_files(run, settings)) == FINAL, "the chosen one is gone"
        assert [strength_of(run, settings, file) for file in (FINAL, EARLIER)] == [0.5, 1.0]
    planned = make_run(tmp_path, "other")
    assert proposed_file(planned, settings, lora_files(planned, settings_of(planned))) == ""


@pytest.mark.parametrize(
    "named", ["90", "anafox-000090", "anafox-000090.safetensors", EARLIER, "/elsewhere/anafox-000090.safetensors"]
)
def test_a_file_is_named_by_its_step_its_name_or_its_path(run: RunDirectory, named: str) -> None:
    assert named_file(run, settings_of(run), named) == EARLIER


def test_a_file_that_there_is_not_is_told_with_those_that_there_are(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match="has no LoRA file 91") as told:
        named_file(run, settings_of(run), "91")
    assert "anafox-000090.safetensors" in told.value.remedy
