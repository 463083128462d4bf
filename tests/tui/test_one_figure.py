"""One figure for one thing: list, glance, status, lines and dashboard show the same smoothed loss, time left and cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeTrainer, make_run
from screen_text import shows

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.engine.runs.tail import Tail
from loratui.tui import text
from loratui.tui.app import LoratuiApp
from loratui.tui.commands.status import status_of
from loratui.tui.runs import figures
from loratui.tui.runs.comparing import compare
from loratui.tui.runs.run_glance import numbers
from loratui.tui.widgets.run_list import TITLES, row


def read(run: RunDirectory) -> tuple[RunSummary, RunState]:
    """What lists show of a run, and what follows from its whole log."""
    state = RunState()
    for batch in Tail(run.events).drain():
        state.apply_batch(batch)
    return summarise(run), state


async def test_all_show_the_same_loss(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(100)
        summary, state = read(run)
        smoothed = text.loss(state.loss_smoothed)
        assert smoothed not in (text.loss(state.loss), text.loss(summary.state.loss))
        assert summary.state == state
        assert f"smoothed loss {smoothed}" in numbers(summary, 0.0)
        assert row(summary, 0.0)[TITLES.index("loss")] == smoothed
        assert f"smoothed loss {smoothed}" in figures.sentence(state, True)
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
    summary, state = read(run)
    told = dict(compare([summary]))["mean loss, last epoch"][0]
    assert told.endswith("(epoch 2)")
    assert text.loss(state.loss) not in told


def test_a_trainer_that_starts_again_goes_on_counting_what_the_machine_costs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000.0]
    monkeypatch.setattr("loratui.engine.runs.event_log.up_s", lambda: now[0])
    run = make_run(home)
    for attempt in (1, 2):
        with EventLog.open(run.events) as log:
            log.append("trainer_started", attempt=attempt, pid=4711)
            writer = StateWriter(run, log)
            log.append("run_started", optimizer_steps=400, image_steps=800, epochs=4, steps_per_epoch=100)
            log.append("changes_in_force", stop_after_epoch=2)
            for step in range(1, 61):
                now[0] += 0.5
                log.append("step", step=step, image_step=2 * step, epoch=1, loss=0.1, step_s=0.5)
            writer.write()
        now[0] += 5000  # nobody works
    summary, state = read(run)
    assert summary.state == state
    assert state.worked_s == pytest.approx(60)
    left = state.time_left
    assert left is not None
    assert left.seconds == pytest.approx(70, rel=0.05)  # to the end of the second epoch
