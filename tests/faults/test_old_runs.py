"""Row 45: runs of earlier versions, stored as these left them, open, are listed and go on; those of a newer one are refused with a word."""

from __future__ import annotations

import json
import tarfile
import zlib
from pathlib import Path

import pytest
from small_runs import after_step, events, train

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import DatasetError, ExitCode, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import checkpoint_files, control
from loratui.engine.runs.damage import damaged
from loratui.engine.runs.directory import RunDirectory, open_run
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise, summarise_all
from loratui.engine.training.checkpoint import newest_good
from loratui.engine.training.trainer import Trainer
from loratui.tui.cli import main

GOLDEN = Path(__file__).parent / "golden"
STORED = sorted(path.name.partition(".")[0] for path in GOLDEN.glob("*.tar.xz"))


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    with tarfile.open(GOLDEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path / "home" / "runs", filter="data")
    return open_run(tmp_path / "home", "golden")


def test_there_are_stored_runs() -> None:
    assert len(STORED) >= 4


@pytest.mark.parametrize("run", STORED, indirect=True)
def test_an_old_run_opens_and_is_listed_with_its_figures(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    found = summarise(run, closely=True)
    step = run.checkpoint_steps()[-1]
    assert (found.status, found.certainty, found.exit_code) == ("paused", "sure", 10)
    assert found.goes_on == f"continues from step {step}"
    assert (found.state.step, found.state.optimizer_steps, found.state.epochs) == (step, 320, 40)
    assert found.state.skipped == 0
    assert damaged(run) == run.edited() == []
    assert [one.name for one in summarise_all(run.path.parent.parent)] == ["golden"]
    settings = read_recipe(run.effective).settings
    assert settings.adapter.rank == 1
    assert len(read_ledger(run.dataset).images) == 1
    (file,) = lora_files(run, settings).all
    require_as_saved(run.path / file)
    assert main(["status", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint_step"] == step


@pytest.mark.long
@pytest.mark.parametrize("run", STORED, indirect=True)
def test_an_old_run_goes_on_from_its_checkpoint(run: RunDirectory) -> None:
    step = run.checkpoint_steps()[-1]

    def few_steps_more(trainer: Trainer) -> None:
        after_step(trainer, step + 2, lambda: control.send(run, "stop"))

    assert train(run, few_steps_more) == ExitCode.TERMINATED
    assert events(run, "run_started")[-1].fields["resumed_step"] == step
    newest = newest_good(run, pytest.fail)
    assert newest is not None
    assert newest.position.step == step + 2
    assert summarise(run).state.run_id == ""  # it was made without an id, and stays so


@pytest.mark.parametrize("run", STORED[-1:], indirect=True)
@pytest.mark.parametrize(("file", "key"), [(".loratui-run", "format"), ("dataset.json", "format"), ("MANIFEST.json", "format")])
def test_a_newer_format_is_refused_with_a_word(
    run: RunDirectory, file: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.checkpoint(run.checkpoint_steps()[-1]) / file if file == "MANIFEST.json" else run.path / file
    path.write_text(json.dumps({**json.loads(path.read_text()), key: 99}))
    if file == ".loratui-run":
        with pytest.raises(UsageError, match="A newer loratui made golden"):
            open_run(run.path.parent.parent, "golden")
        assert main(["resume", str(run.path)]) == ExitCode.USAGE
        assert "Update loratui" in capsys.readouterr().err
    elif file == "dataset.json":
        with pytest.raises(DatasetError, match="has format 99"):
            train(run)
    else:
        step = run.checkpoint_steps()[-1]
        assert "newer loratui" in checkpoint_files.problem(run.checkpoint(step), sums=True)
        assert "Every checkpoint is damaged" in summarise(run, closely=True).advice


@pytest.mark.parametrize("run", STORED[-1:], indirect=True)
def test_events_of_a_newer_version_are_counted_and_not_guessed(run: RunDirectory) -> None:
    body = run.events.read_bytes().rstrip(b"\n").rpartition(b"\n")[0] + b"\n"
    line = b'{"v":99,"seq":9999,"ts":1.0,"type":"run_finished","status":"done"'
    run.events.write_bytes(body + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    assert read_state(run).skipped >= 1
    assert summarise(run).status != "done"
