"""The panels of a run in training: samples over time, the machine, the log's filter, marks, and changes while it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_run import PROMPTS, FakeTrainer, make_run
from screen_text import hides, rests, screen_text, shows, type_text, waits
from textual.pilot import Pilot

from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.app import LoratuiApp
from loratui.tui.widgets import braille
from loratui.tui.widgets.log_tail import LogTail
from loratui.tui.widgets.loss_plot import LossPlot
from loratui.tui.widgets.samples_panel import SamplesPanel
from loratui.tui.widgets.thumbnail import ThumbnailView

WIDE, NARROW = (120, 40), (80, 24)
GPU = {
    "gpu": "NVIDIA H200",
    "gpu_percent": 97,
    "gpu_memory_gib": 18.24,
    "gpu_memory_total_gib": 139.8,
    "gpu_c": 61,
    "gpu_w": 412.0,
    "gpu_limit_w": 700.0,
    "throttle": ["power limit"],
    "ram_gib": 12.34,
    "ram_total_gib": 128.0,
    "disk_free_gib": 41.2,
}


def _trained(run: RunDirectory, trainer: FakeTrainer) -> None:
    """Three epochs with two samples each."""
    trainer.start()
    for _ in range(3):
        trainer.steps(90)
        for index, prompt in enumerate(PROMPTS):
            trainer.sample(prompt, index)


async def test_samples_are_gone_through_by_step_and_by_prompt(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "step 270  newest", "▸prompt 1", "prompt 2", "samples/step-000270/00.png")
            await pilot.press("left")
            await shows(pilot, "step 180  2 of 3", "samples/step-000180/00.png", "step 180: loss 0.")
            await pilot.press("down")
            await shows(pilot, "samples/step-000180/01.png", "▸prompt 2")
            await pilot.press("right")
            await shows(pilot, "step 270  newest")
            trainer.steps(90)
            trainer.sample(PROMPTS[0], 0)
            trainer.sample(PROMPTS[1], 1)
            await shows(pilot, "step 360  newest", "samples/step-000360/01.png")


async def test_a_damaged_sample_is_not_shown(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        trainer.sample(sha256="0" * 64)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "00.png", "damaged: not the image")


async def test_measures_of_the_samples_stand_beside_the_loss_with_the_likely_best_and_its_key(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.phase("training")
        for likeness in (0.42, 0.7, 0.81, 0.82, 0.815):
            trainer.steps(90)
            trainer.measured(likeness=likeness, copy_face=likeness + 0.05)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(
                pilot, "loss · likeness, nearest photo (0–1)", "samples at 450: likeness 0.81 (photos 0.78–0.92) · no copies"
            )
            assert _drawn(pilot) == {braille.LIKENESS, braille.NEAREST}
            trainer.steps(90)
            trainer.measured(likeness=0.82, copy_face=0.87)
            trainer.log.append("likely_best", kind="plateau", step=270, epoch=3, seen_step=540, stops=False)
            await shows(
                pilot, "samples at 540:", "Epoch 3 is likely the best: likeness has not risen since. e: stop after epoch"
            )
            await pilot.press("e")
            await waits(pilot, lambda: [one.command for one in control.pending(run)] == ["stop_after_epoch"])
            trainer.log.append("changes_in_force", prompts=None, every_image_steps=None, stop_after_epoch=7)
            await hides(pilot, "e: stop after epoch")
            await shows(pilot, "Epoch 3 is likely the best")
            trainer.start(resumed_step=180)
            await shows(pilot, "samples at 180:")
            await hides(pilot, "likely the best:")


async def test_without_a_face_model_only_the_nearest_photo_is_drawn(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        trainer.measured(likeness=None, copy_hash=0.6)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "loss · nearest photo (0–1)", "likeness unknown: no face model on this machine · no copies")
            assert _drawn(pilot) == {braille.NEAREST}


def _drawn(pilot: Pilot[None]) -> set[int]:
    """The curves of the plot that are drawn beside the loss."""
    plot = pilot.app.screen.query_one(LossPlot)
    return {kind for row in plot._cells for _, kind in row} & {braille.LIKENESS, braille.NEAREST}


async def test_the_wall_shows_prompts_against_steps_and_goes_away_again(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "step 270  newest")
            await pilot.press("2")
            text = await shows(pilot, "step 90", "step 180", "▸step 270")
            assert "optimizer steps ─" not in text
            views = pilot.app.screen.query_one(SamplesPanel).query(ThumbnailView)
            assert len(views) == 6
            await waits(pilot, lambda: all(view._image is not None for view in views))
            await pilot.press("2")
            await shows(pilot, "900 optimizer steps", "▸prompt 1")


@pytest.mark.parametrize(
    ("key", "word", "gone"), [("1", "900 optimizer steps", "prompt 1:"), ("3", "1.0 of 8 GiB", "prompt 1:")]
)
async def test_a_panel_alone_has_the_screen(home: Path, key: str, word: str, gone: str) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        trainer.log.append("telemetry", cpu_percent=100.0, cpus=2, ram_gib=1.0, ram_total_gib=8.0)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "prompt 1:", "CPU 50 %")
            await pilot.press(key)
            text = await shows(pilot, word)
            await hides(pilot, gone)
            await pilot.press(key)
            await shows(pilot, "prompt 1:", "900 optimizer steps")
            assert text


async def test_on_a_small_screen_the_image_gets_the_rows(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "─ samples, step 270 ─", "prompt 1: a drawn")
            view = pilot.app.screen.query_one(SamplesPanel).query_one(ThumbnailView)
            assert view.image_rows >= 11  # 8 when the words had lines of their own; the machine has one here
            await pilot.press("left")
            await shows(pilot, "─ step 180, 2 of 3 ─")
            await pilot.resize_terminal(120, 40)
            await shows(pilot, "─ samples ─", "step 180  2 of 3", "▸prompt 1", "samples/step-000180/00.png")


async def test_the_machine_is_shown_with_its_words(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        trainer.log.append("telemetry", **GPU)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "H200", "97 %", "18.2 of 140 GiB", "61 °C  412 of 700 W", "slowed: power limit", "41 GiB free")
            trainer.log.append(
                "telemetry", **{**GPU, "gpu_c": 91, "disk_free_gib": 0.5, "disk_needed_gib": 0.4, "throttle": ["heat"]}
            )
            await shows(pilot, "91 °C hot", "0.5 GiB free, low!", "slowed: heat")


async def test_figures_of_a_foreign_type_are_left_out(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.log.append("telemetry", gpu=5, gpu_percent="x", throttle={"a": 1}, cpus="two", ram_gib=None, disk_free_gib=[])
        trainer.steps(3)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "3 of 900 optimizer steps")


async def test_the_log_is_filtered_by_words_expression_and_level(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        trainer.log.append("warning", code="x", message="Something is odd.", remedy="Look at it.")
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "LoRA file: output/anafox-000270.safetensors", "! Something is odd.")
            await pilot.press("slash")
            await type_text(pilot, "EPOCH 2")
            await hides(pilot, "LoRA file: output")
            text = await shows(pilot, "epoch 2 of 10 done", "“EPOCH 2”")
            assert "epoch 3 of 10 done" not in text
            await pilot.press("escape")
            await shows(pilot, "LoRA file: output")
            await pilot.press("slash")
            await type_text(pilot, "/epoch [13]/")
            await shows(pilot, "epoch 1 of 10 done", "epoch 3 of 10 done")
            await hides(pilot, "epoch 2 of 10 done")
            await pilot.press("escape")
            await pilot.press("slash")
            await type_text(pilot, "/epoch [1/")
            await shows(pilot, "invalid regular expression")
            await pilot.press("escape")
            await pilot.press("w")
            await shows(pilot, "log · warnings", "Something is odd")
            await hides(pilot, "epoch 1 of 10 done")
            assert pilot.app.screen.focused is None


async def test_older_lines_of_the_log_are_reached_and_stay_when_new_ones_come(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        for number in range(100):
            trainer.phase("training", f"line {number:03d}")
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "line 099")
            await pilot.press("4")
            await shows(pilot, "line 090")
            for _ in range(8):
                await pilot.press("up")
            await hides(pilot, "line 099")
            before = screen_text(pilot.app)
            trainer.phase("training", "line 100")
            log = pilot.app.screen.query_one(LogTail)
            await waits(pilot, lambda: "line 100" in str(log._lines[-1]))
            await rests(pilot)
            shown = [line for line in before.splitlines() if "line 0" in line]
            assert shown
            assert all(line in screen_text(pilot.app) for line in shown)


async def test_marks_and_scale(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        trainer.log.append("epoch_finished", epoch=3, step=270, image_step=540, loss=0.1)
        trainer.log.append("checkpoint_written", step=200, image_step=400, path="x", bytes=1, seconds=0.1, reason="asked")
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            text = await shows(pilot, "◆ checkpoint")
            marks = next(line for line in text.splitlines() if line.count("▴") >= 2 and "samples" not in line)
            assert "◆" in marks
            await pilot.press("l")
            await shows(pilot, "0  logarithmic")


async def test_stopping_after_the_epoch_is_asked_for_confirmed_and_taken_back(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "e after epoch", "● training")
            await pilot.press("e")
            await shows(pilot, "stop after this epoch requested")
            ((command, args),) = [(c.command, dict(c.args)) for c in control.pending(run)]
            assert (command, args) == ("stop_after_epoch", {})
            trainer.log.append("changes_in_force", prompts=None, every_image_steps=None, stop_after_epoch=1)
            trainer.acknowledge(message="The run stops after epoch 1.")
            await shows(pilot, "● training, stops after epoch 1", "The run stops after epoch 1.")
            await pilot.press("e")
            await waits(pilot, lambda: [dict(c.args) for c in control.pending(run)] == [{"cancel": True}])


async def test_a_paused_run_says_that_it_will_stop_after_its_epoch(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        trainer.log.append("changes_in_force", prompts=None, every_image_steps=None, stop_after_epoch=1)
        trainer.checkpoint()
        trainer.finish("paused", 10, "Paused as asked.", "")
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "‖ paused, stops after epoch 1", "‖ Paused as asked. r continues from step 5.")


async def test_other_samples_are_asked_for_and_wrong_ones_refused_at_once(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "● training")
            await pilot.press("i")
            await shows(pilot, "Samples during training", "a photo of {subject}")
            await pilot.press("tab", "end", "ctrl+u")
            await type_text(pilot, "-3")
            await pilot.press("enter")
            await shows(pilot, "The interval must be a number")
            await pilot.press("ctrl+u")
            await type_text(pilot, "250")
            await pilot.press("enter")
            await shows(pilot, "other samples requested")
            ((command, args),) = [(c.command, dict(c.args)) for c in control.pending(run)]
            assert command == "set_samples"
            assert args["every_image_steps"] == 250
            assert "prompts" not in args, "only what is new is sent"
            trainer.acknowledge(ok=False, message="There is too little memory to read new prompts.")
            await shows(pilot, "other samples: refused. There is too little memory")


async def test_a_prompt_of_the_recipe_may_be_longer_than_one_that_is_sent(home: Path) -> None:
    run = make_run(home)
    text = run.effective.read_text()
    run.effective.write_text(
        re.sub(r"(?m)^(\[samples\]\n(?:.*\n)*?)prompts = .*$", lambda m: f'{m[1]}prompts = ["{"x" * 1900}"]', text)
    )
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "● training")
            await pilot.press("i")
            await shows(pilot, "Samples during training", "xxxx")
            await pilot.press("tab", "end", "ctrl+u", "6", "0", "enter")
            await shows(pilot, "other samples requested")
            assert [dict(c.args) for c in control.pending(run)] == [{"every_image_steps": 60}]


async def test_a_placeholder_that_nobody_fills_in_is_refused_while_it_trains_too(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "● training")
            await pilot.press("i")
            await shows(pilot, "Samples during training")
            await type_text(pilot, "{subjekt} ")
            await pilot.press("tab", "enter")
            await shows(pilot, "{subjekt} is no placeholder")
            assert control.pending(run) == []


async def test_leaving_the_question_for_samples_changes_nothing(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "● training")
            await pilot.press("i")
            await shows(pilot, "Samples during training")
            await pilot.press("escape")
            await shows(pilot, "● training", "5 of 900")
            await pilot.press("i")
            await shows(pilot, "Samples during training")
            await pilot.press("tab", "enter")
            await shows(pilot, "5 of 900")
            assert control.pending(run) == []


async def test_a_command_that_the_run_did_not_live_to_see_is_said_so(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(5)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "● training")
            await pilot.press("s")
            await shows(pilot, "sample requested")
            trainer.finish()
            trainer.lock.release()
            await shows(pilot, "sample: the run ended first.")
            await hides(pilot, "sample requested")


async def test_esc_leads_from_one_panel_to_all_and_from_there_to_the_runs(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=NARROW) as pilot:
            await shows(pilot, "╭─ loss", "╭─ samples")
            await pilot.press("4")
            await hides(pilot, "╭─ loss")
            await pilot.press("escape")
            await shows(pilot, "╭─ loss", "╭─ samples")
            await pilot.press("escape")
            await shows(pilot, "n new run")


async def test_the_axis_of_a_narrow_plot_says_its_steps_in_fewer_words(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        _trained(run, trainer)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(60, 24)) as pilot:
            text = await shows(pilot, "╭─ loss", " 900 steps")
            assert "0900" not in text
            assert "900 optimizer step " not in text
