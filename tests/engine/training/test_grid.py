"""The strength grid, made from the LoRA file that the person will use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import EventLog, read_events
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.requests import Requests
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer
from loratui.engine.training.validation.grid import make_grid


def do(run: RunDirectory, job: str) -> ExitCode:
    with EventLog.open(run.events_of(job)) as log:
        report = Reporter(log, None)
        try:
            if job == "train":
                return Trainer(read_job(run), report, Requests()).run()
            return make_grid(read_job(run), report, Requests())
        finally:
            report.close()


def test_the_grid_has_every_cell_and_strength_0_is_the_base(make_run: Callable[..., RunDirectory]) -> None:
    run = make_run("optimizer.learning_rate=0.05", 'validation.prompts=["a {subject}", "{trigger}, red"]')
    with pytest.raises(UsageError, match="no LoRA file yet"):
        do(run, "validate")
    assert do(run, "train") == ExitCode.DONE
    before = run.events.read_bytes()
    assert do(run, "validate") == ExitCode.DONE
    assert run.events.read_bytes() == before, "the grid has a log of its own"
    grid = json.loads((run.validation / "grid.json").read_text())
    assert grid["lora"] == "output/qxz.safetensors"
    assert grid["prompts"] == ["a qxz thing", "qxz, red"]
    assert [p["strength"] for p in grid["pictures"]] == [0.0, 0.5, 1.0, 1.5] * 2
    pictures = {(p["prompt"], p["strength"]): Image.open(run.path / p["path"]) for p in grid["pictures"]}
    assert ImageChops.difference(pictures["a qxz thing", 0.0], pictures["a qxz thing", 1.5]).getbbox()
    assert all(not picture.info for picture in pictures.values()), "nothing but pixels in the file"
    written = [e for e in read_events(run.validation_events, max_bytes=1 << 24).events if e.type == "picture_written"]
    assert [e.fields["path"] for e in written] == [p["path"] for p in grid["pictures"]]
