"""One real step in a temporary run: what it measures, how it fails, how it is cancelled, and that nothing of it stays."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine import jobs
from loratui.engine.dataset.buckets import BucketRule
from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.jobs import JOBS
from loratui.engine.planning.measured import read_all
from loratui.engine.planning.prepare import Prepared, prepare
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.runs import lock
from loratui.engine.runs import probe as probing
from loratui.engine.runs.directory import create_run, list_runs
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset

SUPPORT = Path(__file__).parents[2] / "support"
_DONE = """
answer = {"probe_finished": dict(device="cpu", step_s=0.5, image_step_s=0.25, peak_vram_gib=None, peak_ram_gib=0.5, load_s=1.0)}
"""
_READ = """
read = {"base_read": dict(readings={"of_linear": 0.1}, mistaken="sign", message="It is turned.", remedy="Another one.")}
answer = {**read, **globals().get("answer", {})}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def prepared(home: Path) -> Prepared:
    return prepare(build_recipe("demo", dataset=demo_dataset(), trigger=DEMO_TRIGGER, class_word=DEMO_CLASS), home)


def _trainer(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Puts a piece of Python in the trainer's place."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    monkeypatch.setenv("ANSWER", f"parent.progress(dict(type='phase_changed', phase='loading', text='Loading it'))\n{body}")
    for job in ("probe", "base"):
        monkeypatch.setitem(JOBS, job, dataclasses.replace(JOBS[job], module="answers_as_told"))


def _left(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.name != "fingerprints.json")


def test_the_result_is_told_and_nothing_stays(home: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    _trainer(monkeypatch, _DONE)
    told: list[str] = []
    probed = probing.probe(prepared, home, tell=told.append)
    assert probed is not None
    assert (probed.step_s, probed.peak_ram_gib, probed.peak_vram_gib) == (0.5, 0.5, None)
    assert told == ["Loading it"]
    assert _left(home) == []


def test_what_was_read_of_the_base_is_told(home: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = probing.BaseRead(readings={"of_linear": 0.1}, mistaken="sign", message="It is turned.", remedy="Another one.")
    _trainer(monkeypatch, _DONE + _READ)
    probed = probing.probe(prepared, home)
    assert probed is not None
    assert probed.base == expected
    _trainer(monkeypatch, _READ)
    assert probing.read_base(prepared, home) == expected
    assert _left(home) == []


def test_the_base_is_read_on_more_images_than_a_batch(home: Path, prepared: Prepared) -> None:
    run = probing._make(prepared, home)
    assert len(read_ledger(run.dataset).images) == probing.IMAGES
    assert prepared.recipe.settings.training.batch_size < probing.IMAGES


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            'raise LoratuiError("Too little memory.", "Try batch 1.", exit_code=ExitCode(34))',
            ExitCode.OUT_OF_MEMORY,
            "Too little memory. Try batch 1.",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", ExitCode.OUT_OF_MEMORY, "killed by signal 9"),
        ("print('the last line', file=sys.stderr)\nos._exit(5)", ExitCode.CRASHED, "the last line"),
    ],
)
def test_a_failure_has_its_reason_and_leaves_nothing(
    home: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, body: str, code: ExitCode, words: str
) -> None:
    _trainer(monkeypatch, body)
    with pytest.raises(LoratuiError) as failure:
        probing.probe(prepared, home)
    assert failure.value.exit_code == code
    assert words in str(failure.value)
    assert _left(home) == []


def test_a_trainer_that_does_not_listen_is_killed_when_it_is_cancelled(
    home: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_LEAVES_S", 0.3)
    _trainer(monkeypatch, "parent.progress(dict(type='step', step=1))\nos.kill(os.getpid(), signal.SIGSTOP)")
    told: list[str] = []
    assert probing.probe(prepared, home, tell=told.append, cancelled=lambda: "step 1" in told) is None
    assert _left(home) == []


def test_what_a_killed_viewer_left_is_swept_away_and_a_living_probe_is_not(
    home: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        create_run(home, "probe", recipe_toml="", effective_toml="", ledger={}, folder="probes")
    alive = list_runs(home, "probes")[0]
    held = lock.acquire(alive.lock, job="probe")
    _trainer(monkeypatch, _DONE)
    probing.probe(prepared, home)
    assert [run.name for run in list_runs(home, "probes")] == [alive.name]
    held.release()


def test_the_largest_images_are_taken(tmp_path: Path) -> None:
    for name, size in (("a", (512, 512)), ("b", (256, 256)), ("c", (512, 512)), ("d", (640, 384))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    settings = build_recipe("sd15-portrait").settings.dataset
    chosen = probing.largest(scan(tmp_path), BucketRule.of(settings), 5)
    assert [image.path.name for image in chosen] == ["a.png", "c.png"]
    assert len(probing.largest(scan(tmp_path), BucketRule.of(settings), 1)) == 1


@pytest.mark.long
def test_a_real_step_on_the_embedded_base(home: Path, prepared: Prepared) -> None:
    told: list[str] = []
    probed = probing.probe(prepared, home, tell=told.append)
    assert probed is not None
    assert 0 < probed.image_step_s * 2 <= probed.step_s * 1.01
    assert 0.2 < probed.peak_ram_gib < 8
    assert "step 3" in told
    assert "step 4" not in told  # a CPU makes half as many
    assert probed.base is not None
    assert (probed.base.mistaken, probed.base.message) == ("", "")
    assert probed.base.readings["of_linear"] < 0.1
    (measured,) = read_all()
    assert (measured.gpu, measured.model, measured.batch_size) == ("cpu", "embedded:sd15", 2)
    assert measured.image_step_s == probed.image_step_s
    assert _left(home) == []


@pytest.mark.long
def test_a_real_trainer_is_cancelled_at_once(home: Path, prepared: Prepared) -> None:
    began = time.monotonic()
    assert probing.probe(prepared, home, cancelled=lambda: time.monotonic() - began > 3.0) is None
    assert time.monotonic() - began < 9
    assert _left(home) == []
    assert read_all() == []
