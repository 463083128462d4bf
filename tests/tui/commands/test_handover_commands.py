"""`loratui report` and `loratui keep` from the command line: what they print, write and refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_run import FINAL, make_run
from judged_run import EARLIER, judged_run, judging

from loratui.engine import jobs
from loratui.engine.handover import preview, report
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.cli import main


class Telling:
    """Whoever waits for the job."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress


@pytest.fixture(autouse=True)
def _jobs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs in this process: one of their own takes a second to start."""

    def run_here(job: str, request: Any, *, progress: Any = lambda _: None) -> Any:
        return {"report": report, "preview": preview}[job].begin(Telling(progress))(request)  # type: ignore[arg-type,attr-defined]  # all that they ask of it

    monkeypatch.setattr(jobs, "run", run_here)


@pytest.fixture
def run(home: Path) -> Iterator[RunDirectory]:
    with judging(run := judged_run(home)):
        yield run


def test_a_report_and_a_file_with_what_lies_beside_it(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", run.name, "--to", str(tmp_path / "to")]) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "to" / f"{run.name}.html"
    assert str(page) in printed
    assert "none of your photos" in printed
    assert "5 contact sheets" in printed
    assert "scp" in printed
    assert page.is_file()
    assert main(["report", run.name, "--to", str(tmp_path / "to")]) == 2
    assert "already exists" in capsys.readouterr().err

    assert main(["keep", run.name, "--file", "90", "--as", "ana", "--to", str(tmp_path / "kept"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["source"], told["step"], told["strength"]) == (EARLIER, 90, 1.0)
    assert [Path(path).name for path in told["beside"]] == [
        "ana.recipe.toml",
        "ana.effective.toml",
        "ana.json",
        "ana.preview.png",
    ]
    assert "ana.*" in told["copy_line"]
    assert main(["keep", run.name]) == 0
    printed = capsys.readouterr().out
    assert f"It is {FINAL}; use it at strength 0.5." in printed
    assert "ComfyUI: models/loras" in printed
    assert "Apache 2.0" in printed
    assert (run.path / "export" / "anafox.preview.png").is_file()


def test_a_run_without_a_file_and_a_file_that_is_none_are_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = make_run(home)
    assert main(["keep", planned.name]) == 2
    assert "has no LoRA file yet" in capsys.readouterr().err
    assert main(["keep", planned.name, "--file", "7"]) == 2
    assert "has no LoRA file 7" in capsys.readouterr().err
    assert main(["upload", planned.name, "me/ana"]) == 2
    assert "has no LoRA file yet" in capsys.readouterr().err
