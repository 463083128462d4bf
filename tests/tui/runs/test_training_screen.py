"""A run in training, from nothing to its end, and the commands to it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run
from screen_text import hides, rests, screen_text, shows, waits

from loratui.engine.runs import control
from loratui.engine.runs.differences import Difference, is_accepted
from loratui.tui.app import LoratuiApp
from loratui.tui.runs import training_screen
from loratui.tui.runs.training_screen import TrainingScreen
from loratui.tui.widgets.loss_plot import LossPlot
from loratui.tui.widgets.thumbnail import ThumbnailView


@pytest.mark.parametrize("size", [(80, 24), pytest.param((120, 40), marks=pytest.mark.long)])
async def test_a_run_is_told_as_it_happens(home: Path, size: tuple[int, int]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=size) as pilot:
            await shows(pilot, run.name, "waiting for the trainer", "○ starting")
            trainer.start()
            trainer.phase("caching", "Preparing 18 images")
            trainer.log.append("progress", phase="caching", done=9, total=18, text="images")
            await shows(pilot, "preparing the images: 9 of 18 images", "50 %", "the loss appears with the first step")
            trainer.sample()
            trainer.steps(90)
            text = await shows(pilot, "180 of 1 800 image-steps", "90 of 900 optimizer steps", "4.0 steps/s", "10 %")
            assert "epoch 1 of 10" in text
            await shows(
                pilot,
                "3 min 20 s",
                "a drawn portrait",
                "samples, step 0" if size[1] < 40 else "samples/step-000000/00.png",
                "900 optimizer steps",
            )
            await waits(pilot, lambda: any("⠀" < character <= "⣿" for character in screen_text(pilot.app)))
            view = pilot.app.screen.query_one(ThumbnailView)
            await waits(pilot, lambda: view._image is not None)
            trainer.steps(810)
            trainer.output(final=True)
            trainer.finish()
            trainer.lock.release()
            text = await shows(pilot, "✔ done", "LoRA file (3.4 MB)", "v validate", "100 %")
            assert "x stop" not in text
            # The run's state may be read before the last events are; and a long path is broken wherever the line ends.
            path = str(run.output / "anafox.safetensors")
            await waits(pilot, lambda: path in "".join(line.strip() for line in screen_text(pilot.app).splitlines()))


@pytest.mark.parametrize(("key", "command"), [("s", "sample"), ("c", "checkpoint"), ("p", "pause")])
async def test_a_key_sends_its_command_once_and_waits_for_the_answer(home: Path, key: str, command: str) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "s sample", "● training")
            await pilot.press(key)
            await shows(pilot, f"{command} requested")
            await pilot.press(key)
            assert [c.command for c in control.pending(run)] == [command]
            trainer.acknowledge(message="all is well")
            await shows(pilot, "all is well")
            await hides(pilot, f"training, {command} requested")


async def test_a_run_that_waits_for_its_disk_says_why_and_goes_on(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        deletable = [{"what": "the run old-1", "bytes": 3_400_000_000, "command": "loratui rm old-1"}]
        trainer.log.append("disk_waiting", reason="The disk is full.", remedy="Free some space.", deletable=deletable)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "waiting for the disk", "The disk is full. Free some space.", "loratui rm old-1")
            trainer.log.append("disk_resumed", seconds=3.0)
            await shows(pilot, "● training", "the disk takes writes again")


async def test_stopping_asks_first(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "x stop")
            await pilot.press("x")
            await shows(pilot, f"Stop {run.name}?")
            await pilot.press("escape")
            await hides(pilot, "Stop anafox")
            assert control.pending(run) == []
            await pilot.press("x")
            await shows(pilot, "y  stop")
            await pilot.press("y")
            await shows(pilot, "stop requested")
            assert [c.command for c in control.pending(run)] == ["stop"]


async def test_a_run_that_ends_as_asked_takes_no_more_commands_and_has_no_rate_until_it_steps_again(home: Path) -> None:
    run = make_run(home)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
        with FakeTrainer(run) as trainer:
            trainer.start()
            trainer.steps(30)
            await shows(pilot, "s sample", "steps/s")
            await pilot.press("p")
            await shows(pilot, "pause requested")
            trainer.acknowledge()
            await shows(pilot, "● pausing")
            await hides(pilot, "s sample")
            trainer.finish("paused", 10, "Paused; a checkpoint was saved.", f"loratui resume {run.name} goes on.")
        await shows(pilot, "‖ paused", "r resume")
        with FakeTrainer(run) as trainer:
            trainer.start(resumed_step=30)
            trainer.phase("loading")
            assert "steps/s" not in await shows(pilot, "● loading the base", "s sample")
            trainer.steps(3)
            await shows(pilot, "● training", "steps/s")


async def test_in_the_smallest_window_figures_and_the_warning_are_whole(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(30)
        warning = {"message": "The trainer is started again, after signal 9 (SIGKILL).", "remedy": "There is nothing to do."}
        trainer.log.append("warning", code="restarted", **warning)
        app = LoratuiApp(home, "training", run)
        app.settings = replace(app.settings, price_per_hour=1.5)
        async with app.run_test(notifications=True, size=(60, 20)) as pilot:
            await shows(pilot, "loss, smoothed ", " rate ", "left, not sure ", "cost + to come", "0.00 + 0.0", "4.0 steps/s")
            await shows(pilot, "There is nothing to do.", "─ log · times in UTC ─", "900 steps")
            await pilot.resize_terminal(59, 19)
            assert "started again" not in await shows(pilot, "This terminal is 59×19")
            await pilot.resize_terminal(80, 24)
            await shows(pilot, "There is nothing to", "learning rate")


@pytest.mark.parametrize("screen", ["training", "validation"])
async def test_a_run_whose_folder_is_taken_away_is_said_so_and_nothing_is_written(home: Path, screen: str) -> None:
    run = finished_run(home)
    async with LoratuiApp(home, screen, run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "✔ done")
        shutil.rmtree(run.path)
        text = await shows(pilot, "Its folder is gone: deleted, moved")
        assert "never started" not in text
        footer = (await hides(pilot, "v validate")).splitlines()[-1]
        assert "resume" not in footer
        await pilot.press("space", "r", "v", "g")
        await rests(pilot)
        assert not run.path.exists()


async def test_a_refused_command_says_why(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "s sample")
            await pilot.press("s")
            await shows(pilot, "sample requested")
            trainer.acknowledge(ok=False, message="not while saving")
            await shows(pilot, "sample: refused. not while saving")


async def test_a_paused_run_offers_to_resume(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(30)
        trainer.checkpoint()
        trainer.finish("paused", 10, "Paused; a checkpoint was saved.", f"loratui resume {run.name} goes on.")
    launched: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": launched.append(job))
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(pilot, "‖ paused", "r continues from step 30.", "r resume")
        assert "p pause" not in text
        await pilot.press("r")
        await shows(pilot, "continues from step 30 …")
        await waits(pilot, lambda: launched == ["train"])


async def test_row_48_what_has_changed_is_shown_before_a_resume_and_accepted_by_a_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(30)
        trainer.checkpoint()
        trainer.finish("paused", 10, "Paused as asked.")
    found = Difference("dataset", ("added: new.png", "caption of a.png: 'x' then, 'y' now"))
    launched: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": launched.append(job))
    monkeypatch.setattr("loratui.engine.runs.differences.differences", lambda run: [found])
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "‖ paused", "r resume")
        await pilot.press("r")
        await shows(pilot, "The dataset has changed", "· added: new.png", "· caption of a.png", "y  resume all the same")
        await pilot.press("n")
        await shows(pilot, "r resume")
        assert (launched, is_accepted(run, found)) == ([], False)
        await pilot.press("r")
        await shows(pilot, "y  resume all the same")
        await pilot.press("y")
        await waits(pilot, lambda: launched == ["train"])
        assert is_accepted(run, found)


async def test_a_failed_run_says_why_and_what_to_do(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(30)
        trainer.log.append("run_failed_with", exit_code=34, message="The GPU has too little memory.", remedy="Batch to 1.")
        trainer.finish("failed", 34, "There was not enough memory.", "Start a new run with a smaller batch.")
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "✖ failed", "There was not enough memory.", "Start a new run with a smaller batch.")


async def test_a_run_whose_processes_are_gone_is_called_interrupted(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(30)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "! interrupted", "killed", "r resume")


async def test_losses_that_are_not_finite_leave_a_gap_and_a_word(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(300)
        trainer.steps(200, finite=False)
        trainer.steps(100)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "600 of 900 optimizer steps", "not a finite number")
            plot = pilot.app.screen.query_one(LossPlot)
            await waits(pilot, lambda: plot._history is not None and plot._history.last_step == 600)
            cells = plot._cells
            blank = [all(row[x][0] == " " for row in cells) for x in range(len(cells[0]))]
            assert any(blank[len(blank) // 3 : len(blank) // 2])
            assert not all(blank)


async def test_a_log_with_rubbish_in_it_is_still_shown(home: Path) -> None:
    run = finished_run(home)
    with run.events.open("ab") as file:
        file.write(b"\x00\xff rubbish\n{}\n")
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "900 of 900 optimizer steps")
        assert pilot.app.screen.state.skipped == 2  # type: ignore[attr-defined]


async def test_an_image_outside_the_run_is_not_opened(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.log.append("sample_written", step=1, image_step=2, index=0, path="../../../etc/x.png", prompt="p", seed=1)
        trainer.steps(3)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "3 of 900 optimizer steps")
            assert pilot.app.screen.query_one(ThumbnailView).path is None


async def test_leaving_says_how_to_come_back(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(3)
        app = LoratuiApp(home, "training", run)
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "● training")
            await pilot.press("q")
        assert app.return_value is not None
        assert app.return_value == (f"Training continues. Come back with: loratui attach {run.name}",)


async def test_leaving_a_done_run_says_where_the_file_is(home: Path) -> None:
    run = finished_run(home)
    app = LoratuiApp(home, "training", run)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "✔ done", "All steps are done")
        await pilot.press("q")
    assert app.return_value is not None
    assert app.return_value == (f"LoRA file: {run.output / 'anafox.safetensors'}",)


async def test_while_nothing_changes_nothing_is_painted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    looked: list[object] = []
    look = TrainingScreen._show_what_is_new

    def show_what_is_new(screen: TrainingScreen) -> None:
        look(screen)
        looked.append(screen)

    monkeypatch.setattr(training_screen, "_SHOWN_EVERY_S", 0.05)
    monkeypatch.setattr(TrainingScreen, "_show_what_is_new", show_what_is_new)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "✔ done", "All steps are done", "1 800 of 1 800")
        await rests(pilot)
        painted: list[object] = []
        screen = pilot.app.screen
        pilot.app._display = lambda *update: painted.append(update)  # type: ignore[method-assign]  # what this test replaces
        looked.clear()
        await waits(pilot, lambda: len(looked) > 4)
        assert screen is pilot.app.screen
        assert painted == []


async def test_a_full_disk_under_a_command_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.errors import DiskError

    def full(*_: object, **__: object) -> str:
        raise DiskError("Cannot write control: the disk is full.", "Free some space.")

    monkeypatch.setattr(control, "send", full)
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(3)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "s sample")
            await pilot.press("s")
            await shows(pilot, "the disk is full")


def test_the_fake_trainer_writes_what_the_real_one_writes(home: Path) -> None:
    run = finished_run(home)
    types = {json.loads(line)["type"] for line in run.events.read_text().splitlines()}
    assert {"run_started", "step", "sample_written", "output_written", "run_finished"} <= types
