"""A sample image that is not the one that was made is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.runs.damage import damaged
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.state_file import open_state
from loratui.engine.runs.summary import summarise


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def write_sample(run: RunDirectory, index: int, **more: str) -> Path:
    path = run.samples / "step-000004" / f"0{index}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64), (index, 90, 200)).save(path)
    fields = {"step": 4, "image_step": 4, "index": index, "prompt": "a", "seed": 1}
    with EventLog.open(run.events) as log:
        log.append("sample_written", path=path.relative_to(run.path).as_posix(), **fields, **more)
    return path


def test_only_a_sample_with_another_hash_is_damaged(run: RunDirectory) -> None:
    good, harmed, gone, of_an_old_version = (write_sample(run, index) for index in range(4))
    for path in (good, harmed, gone):
        write_sample(run, int(path.stem), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert damaged(run) == []
    for path in (harmed, of_an_old_version):
        path.write_bytes(path.read_bytes()[:-20] + b"x" + path.read_bytes()[-19:])
    gone.unlink()
    assert damaged(run) == ["samples/step-000004/01.png is damaged"]
    assert "Not used: samples/step-000004/01.png is damaged." in summarise(run, closely=True).reason
    harmed.unlink()
    harmed.mkdir()
    assert damaged(run) == ["samples/step-000004/01.png is damaged"]
    assert open_state(run)[0].sample == "samples/step-000004/02.png"
