"""One measure of the loss: list, glance, status, lines and dashboard show the smoothed one, and it is the same number."""

from __future__ import annotations

from pathlib import Path

from fake_run import FakeTrainer, make_run
from screen_text import shows

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.tui import text
from loratui.tui.app import LoratuiApp
from loratui.tui.commands.status import status_of
from loratui.tui.comparing import compare
from loratui.tui.follow import describe_step
from loratui.tui.run_glance import numbers
from loratui.tui.store import RunState
from loratui.tui.tail import Tail
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
