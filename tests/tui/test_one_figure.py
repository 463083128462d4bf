"""One figure for one thing: list, glance, status, lines and dashboard show the same smoothed loss, time left and cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_run import FakeTrainer, make_run
from screen_text import shows

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import EventLog
from loratui.engine.runs.summary import RunSummary, StateWriter, summarise
from loratui.engine.runs.tail import Tail
from loratui.engine.training.reporting import Reporter
from loratui.tui import text
from loratui.tui.app import LoratuiApp
from loratui.tui.commands.status import status_of
from loratui.tui.plain.follow import describe_step
from loratui.tui.runs.comparing import compare
from loratui.tui.runs.run_glance import numbers
from loratui.tui.runs.store import RunState
from loratui.tui.widgets.run_list import TITLES, row


def read(run: RunDirectory) -> tuple[RunSummary, RunState]:
    state = RunState()
    for batch in Tail(run.events).drain():
        state.apply_batch(batch)
    return summarise(run), state


async def test_all_show_the_same_loss(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(100)
        trainer.state.write()
        summary, state = read(run)
        smoothed = text.loss(state.smoothed_loss)
        assert smoothed not in (text.loss(state.loss), text.loss(summary.state.loss))
        assert f"smoothed loss {smoothed}" in numbers(summary, 0.0)
        assert row(summary, 0.0)[TITLES.index("loss")] == smoothed
        assert f"smoothed loss {smoothed}" in describe_step(state)
        assert status_of(summary, state, [], 0.0)["loss_smoothed"] == round(summary.state.loss_smoothed or 0.0, 6)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "loss, smoothed", smoothed)
            await pilot.press("escape")
            await shows(pilot, f"smoothed loss {smoothed}")


def test_the_mean_of_the_last_epoch_is_no_last_step(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(200)
        trainer.state.write()
    summary, state = read(run)
    told = dict(compare([summary]))["mean loss, last epoch"][0]
    assert told.endswith("(epoch 2)")
    assert text.loss(state.loss) not in told


def test_list_and_dashboard_reckon_the_same_time_and_money(home: Path) -> None:
    run = make_run(home)
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=4711)
        report = Reporter(log, StateWriter(run))
        planned = {"optimizer_steps": 400, "image_steps": 800, "epochs": 4}
        report.event("run_started", **planned, steps_per_epoch=100, state=planned)
        log.append("changes_in_force", stop_after_epoch=2)
        for step in range(1, 61):
            time.sleep(0.02)
            told = {"step": step, "image_step": 2 * step, "epoch": 1, "loss": 0.1, "step_s": 0.02}
            report.step(always=True, state={**told, "last_step": 200}, **told)
            if step % 20 == 0:
                time.sleep(0.1)  # samples
                report.event("sample_written", step=step, path=f"samples/{step}.png", prompt="", seed=1)
        report.close()
    summary, state = read(run)
    left = state.time_left
    assert left is not None
    assert summary.state.seconds_left == pytest.approx(left.seconds, rel=0.25)
    assert summary.state.worked_s == pytest.approx(state.pace.worked_s, abs=0.1)
    assert 1.5 < summary.state.worked_s < 6


def test_a_trainer_that_starts_again_goes_on_counting_what_the_machine_costs(home: Path) -> None:
    run = make_run(home)
    for attempt in (1, 2):
        with EventLog.open(run.events) as log:
            log.append("trainer_started", attempt=attempt, pid=4711)
            report = Reporter(log, StateWriter(run))
            time.sleep(0.3)
            report.event("warning", code="x", message="still here", remedy="")
            report.close()
        time.sleep(0.5)  # nobody works
    summary, state = read(run)
    assert summary.state.worked_s == pytest.approx(0.6, abs=0.15)
    assert state.pace.worked_s == pytest.approx(summary.state.worked_s, abs=0.1)
