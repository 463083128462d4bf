"""Samples that are measured while a run trains: by the real process, beside real steps, which stay the same."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from small_runs import MakeRun, events, same, train, weights

from loratui.engine import jobs
from loratui.engine.errors import ExitCode
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.measured import LikelyBest
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.live import watch as watch_module
from loratui.engine.training.live.watch import Samples, SampleWatch

MEASURED = ("samples.measure=true", "samples.before_training=true", "adapter.targets=attention", "samples.steps=1")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training waits until samples are measured."""
    take = SampleWatch.take

    def taken(self: SampleWatch, samples: Samples) -> None:
        take(self, samples)
        while self._thread.is_alive() and not self.is_measured(samples.step):
            time.sleep(0.01)

    monkeypatch.setattr(SampleWatch, "take", taken)


def best_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first samples are likely the best."""
    monkeypatch.setattr(
        watch_module, "likely_best", lambda points, *_: LikelyBest("plateau", points[0].step, 1, points[-1].step)
    )


def test_the_steps_stay_the_same_and_each_epoch_is_measured(make_run: MakeRun) -> None:
    run, plain = make_run(*MEASURED), make_run(*MEASURED, "samples.measure=false")
    assert train(run) == train(plain) == ExitCode.DONE
    assert same(weights(run), weights(plain))
    assert [event.fields["step"] for event in events(run, "samples_measured")] == [7, 14]
    assert not events(plain, "samples_measured")
    assert not events(run, "warning")
    state = read_state(run)
    assert [(point.step, point.epoch, point.images) for point in state.measured] == [(7, 1, 2), (14, 2, 2)]
    (near,) = (one for one in state.measured[-1].measures if one.id == "copy_hash")
    assert near.value is not None
    assert near.base is not None, "the samples before the first step are the base's"
    (likeness,) = (one for one in state.measured[-1].measures if one.id == "likeness")
    assert "face model" in likeness.unknown


def test_a_process_that_fails_is_a_warning_and_the_run_goes_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    row = dataclasses.replace(jobs.JOBS["samples"], module="loratui.engine.training.no_such_module")
    monkeypatch.setitem(jobs.JOBS, "samples", row)
    run = make_run(*MEASURED)
    assert train(run) == ExitCode.DONE
    (told,) = events(run, "warning")
    assert told.fields["code"] == "samples_not_measured"
    assert not events(run, "samples_measured")


class Answers:
    """In place of the process: measures nothing, at once."""

    runs = True

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def ask(self, request: Any) -> None:
        assert request["images"]

    def answer(self) -> Any:
        return type("Content", (), {"value": []})

    def end(self) -> None:
        pass


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    monkeypatch.setattr(watch_module.jobs, "Process", Answers)


@pytest.mark.long
def test_the_likely_best_is_said_once_and_ends_no_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, answers: None
) -> None:
    best_at_once(monkeypatch)
    run = make_run(*MEASURED, "schedule.epochs=4")
    assert train(run) == ExitCode.DONE
    (said,) = events(run, "likely_best")
    assert (said.fields["epoch"], said.fields["stops"]) == (1, False)
    assert read_state(run).step == 28


def test_a_recipe_can_end_the_run_which_is_done_then(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, answers: None) -> None:
    best_at_once(monkeypatch)
    run = make_run(*MEASURED, "schedule.epochs=4", "training.stop_at_plateau=true")
    assert train(run) == ExitCode.DONE
    state = read_state(run)
    assert state.step == 7, "known before the next epoch, so this one was the last"
    assert state.ends_early
    assert (run.output / "qxz.safetensors").is_file()
    assert (run.output / "qxz-000007.safetensors").is_file()
    assert events(run, "changes_in_force")[-1].fields["stop_after_epoch"] is None


@pytest.mark.long
def test_a_resumed_run_measures_what_was_not_and_says_nothing_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, answers: None
) -> None:
    best_at_once(monkeypatch)
    run = make_run(*MEASURED, "schedule.epochs=2")

    def stop(trainer: Any) -> None:
        trainer.overrides.stop_after(1, 2, {})

    assert train(run, stop) == ExitCode.TERMINATED
    assert _steps(run) == [7]
    assert train(run) == ExitCode.DONE
    assert _steps(run) == [7, 14]
    assert len(events(run, "likely_best")) == 1


def _steps(run: RunDirectory) -> list[int]:
    return [event.fields["step"] for event in events(run, "samples_measured")]
