"""`loratui status`: one object with documented keys, a line for each change, and words for people."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeTrainer, finished_run, make_run

from loratui.engine.runs import control
from loratui.tui.cli import main
from loratui.tui.commands import status

PAGE = Path(__file__).parents[3] / "docs" / "scripting.md"


def test_the_object_has_the_documented_keys(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    assert main(["status", run.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| `status` |"))
    documented = {word.split("{")[0].removesuffix("[]") for word in row.split("`")[3].split()}
    assert found.keys() == documented
    assert (found["v"], found["status"], found["active"], found["step"], found["exit_code"]) == (1, "done", False, 900, 0)
    assert found["output"] == "output/anafox.safetensors"
    assert found["seconds_left"] is None


def test_a_running_one_tells_what_was_asked_and_changed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(50)
        trainer.log.append("telemetry", gpu="H200", gpu_percent=95, disk_free_gib=40.0)
        trainer.log.append("changes_in_force", prompts=["x"], every_image_steps=5, stop_after_epoch=2)
        trainer.log.append("warning", code="c", message="Odd.", remedy="Look.")
        control.send(run, "sample")
        main(["status", run.name, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert found["asked"] == ["sample"]
        assert found["changes"] == {"prompts": ["x"], "every_image_steps": 5, "stop_after_epoch": 2}
        assert found["machine"]["gpu_percent"] == 95
        assert found["warnings"] == [{"code": "c", "message": "Odd.", "remedy": "Look."}]
        assert found["steps_per_s"] == pytest.approx(4.0)
        main(["status", run.name])
        text = capsys.readouterr().out
    assert "is running" in text
    assert "step 50 of 900" in text
    assert "asked for: sample" in text
    assert "stops after epoch 2" in text
    assert "warning: Odd. Look." in text


def test_what_was_measured_of_its_samples_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        trainer.measured(likeness=0.8, copy_hash=0.6)
        trainer.log.append("likely_best", kind="copies", step=90, epoch=1, seen_step=90, stops=False)
        main(["status", run.name, "--json"])
        found = json.loads(capsys.readouterr().out)
        (point,) = found["measured"]
        assert (point["step"], point["epoch"], point["images"]) == (90, 1, 2)
        assert [(one["id"], one["value"], one["copied"]) for one in point["measures"]] == [
            ("likeness", 0.8, None),
            ("copy_hash", 0.6, 0.0),
        ]
        assert found["likely_best"] == {"kind": "copies", "step": 90, "epoch": 1, "seen_step": 90, "stops": False}
        main(["status", run.name])
        text = capsys.readouterr().out
    assert "samples at 90: likeness 0.80 (photos 0.78–0.92) · no copies" in text
    assert "Epoch 1 is likely the best: later samples copy photos." in text


def test_one_that_waits_for_its_disk_tells_why_and_what_can_be_deleted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        deletable = [{"what": "the run old-1", "bytes": 3_400_000_000, "command": "loratui rm old-1"}]
        told = {"reason": "The disk is full.", "remedy": "Free some space.", "error": "ENOSPC", "place": "events.jsonl"}
        trainer.log.append("disk_waiting", **told, needed_bytes=9, free_bytes=0, deletable=deletable)
        main(["status", run.name, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert (found["status"], found["active"], found["reason"]) == ("waiting", True, "The disk is full.")
        assert {name: found["waiting"][name] for name in told} == told
        assert found["waiting"]["deletable"] == deletable
        main(["status", run.name])
        text = capsys.readouterr().out
    assert "waits for its disk. The disk is full. Free some space." in text
    assert "the run old-1 (3.4 GB: loratui rm old-1)" in text


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_says_a_line_a_change_and_ends_with_the_run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(status, "LEAST_INTERVAL_S", 0.05)
    told, tell = threading.Semaphore(0), status._tell

    def tell_on(*args: Any, **options: Any) -> None:
        tell(*args, **options)
        told.release()

    monkeypatch.setattr(status, "_tell", tell_on)
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(10)

        def go_on() -> None:
            for _ in range(3):
                told.acquire(timeout=10)
                trainer.steps(10)
            trainer.finish()
            trainer.lock.release()

        worker = threading.Thread(target=go_on)
        worker.start()
        assert main(["status", run.name, "--watch", "0.1", *(["--json"] if as_json else [])]) == 0
        worker.join()
    lines = capsys.readouterr().out.splitlines()
    assert 3 <= len(lines) <= 9
    if as_json:
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(steps)
        assert json.loads(lines[-1])["status"] == "done"
    else:
        assert lines[0].startswith("running: step 10 of 900")
        assert lines[-1].startswith("done.")
    assert len(set(lines)) == len(lines)


def test_no_such_run_is_a_wrong_argument(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
