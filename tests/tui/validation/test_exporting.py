"""A LoRA file under a name of one's own, with its settings, and what is said about it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from fake_run import finished_run

from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.jobs import JobFailed
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings, replace
from loratui.tui.validation import exporting
from loratui.tui.validation.exporting import Export, export, licence_note, places_of
from loratui.tui.validation.model import read_settings

FILE = "output/anafox-000180.safetensors"


@pytest.fixture
def run(home: Path) -> RunDirectory:
    return finished_run(home)


def test_a_file_is_copied_with_its_settings_beside_it(run: RunDirectory, tmp_path: Path) -> None:
    done = export(run, read_settings(run), Export(FILE, "Ana v1", tmp_path / "new" / "folder"))
    assert done.path == tmp_path / "new" / "folder" / "Ana-v1.safetensors"
    assert done.path.read_bytes() == (run.path / FILE).read_bytes()
    recipe, effective = done.settings
    assert (recipe.name, effective.name) == ("Ana-v1.recipe.toml", "Ana-v1.effective.toml")
    assert (recipe.read_bytes(), effective.read_bytes()) == (run.recipe.read_bytes(), run.effective.read_bytes())
    assert {stat.S_IMODE(path.stat().st_mode) for path in done.path.parent.iterdir()} == {0o600}
    assert len(list(done.path.parent.iterdir())) == 3
    assert [place.program for place in done.places] == ["ComfyUI", "Automatic1111", "Forge", "InvokeAI", "diffusers"]


@pytest.mark.parametrize("taken", ["ana.safetensors", "ana.recipe.toml", "ana.effective.toml"])
def test_nothing_is_ever_replaced(run: RunDirectory, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        export(run, Settings(), Export(FILE, "ana", tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ana")] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_a_name_is_needed_and_cannot_lead_out_of_the_folder(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        export(run, Settings(), Export(FILE, "  ", tmp_path))
    assert export(run, Settings(), Export(FILE, "../../x", tmp_path)).path.parent == tmp_path


def test_a_file_that_is_gone_is_told_and_leaves_nothing(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    with pytest.raises(LoratuiError):
        export(run, Settings(), Export("output/gone.safetensors", "ana", folder))
    assert list(folder.iterdir()) == []


def test_another_layout_is_written_by_the_exporting_process(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def written(run: RunDirectory, **wanted: object) -> dict[str, object]:
        asked.append(wanted)
        return {"opened_by": [{"title": "diffusers", "place": "pipe"}]}

    monkeypatch.setattr(exporting, "written_by_job", written)
    done = export(run, Settings(), Export(FILE, "ana", tmp_path, "peft", "bf16"))
    assert [place.program for place in done.places] == ["diffusers"]
    assert asked == [{"file": FILE, "format": "peft", "dtype": "bf16", "name": "ana", "output": f"{tmp_path}/ana.safetensors"}]
    assert (tmp_path / "ana.recipe.toml").is_file()


@pytest.mark.long
def test_what_the_process_says_is_told(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(JobFailed):
        export(run, Settings(), Export(FILE, "ana", tmp_path, "peft"))
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
