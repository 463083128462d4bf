"""GPU memory that runs out: the run goes one memory plan down from its last step, and says so."""

from __future__ import annotations

import json

import pytest
from random_bases import base_folder, images, make_run
from safetensors import safe_open
from small_runs import MakeRun, events, same, supervise_on_a_card, weights

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events
from loratui.engine.runs.state_file import read_state

__all__ = ["base_folder", "images", "make_run"]

SMALL = ("schedule.image_steps=6", "memory.cuda_graphs=off", "memory.compile=off", "training.batch_size=1")


def failed(run: RunDirectory) -> list[tuple[str, str]]:
    return [(e.get("way"), e.get("next")) for e in events(run, "memory_plan_failed")]


def test_a_run_goes_on_one_plan_down_from_its_last_step(make_run: MakeRun) -> None:
    run, usual = make_run(*SMALL), make_run(*SMALL)
    assert supervise_on_a_card(usual, {}) == 0
    assert supervise_on_a_card(run, {"kept": 3, "partial": 0}) == 0
    assert failed(run) == [("kept", "partial"), ("partial", "checkpointing")]
    assert [e.get("resumed_step") for e in events(run, "run_started")] == [0, 2, 2]
    assert [e.get("memory_plan").split("-")[2] for e in events(run, "run_started")] == ["kept", "partial", "checkpointing"]
    assert [e.get("exit_code") for e in events(run, "trainer_ended")] == [34, 34, 0]
    first = events(run, "checkpoint_written")[0]
    assert (first.get("step"), first.get("reason")) == (2, "out_of_memory")
    assert events(run, "run_finished")[0].get("status") == "done"
    assert "2.00 GiB" in events(run, "memory_plan_failed")[0].get("message")
    warnings = [e for e in events(run, "warning") if e.get("code") == "memory_plan_failed"]
    assert [w.get("message") for w in warnings] == [
        "GPU memory ran out with the memory plan kept; the run continues with partial.",
        "GPU memory ran out with the memory plan partial; the run continues with checkpointing.",
    ]
    assert not [e for e in events(run, "warning") if e.get("code") == "trainer_restarted"]
    assert not events(run, "run_failed_with")
    assert same(weights(run), weights(usual)), "the plans compute the same"
    with safe_open(run.output / "qxz.safetensors", framework="pt") as file:
        told = file.metadata()
    assert told["loratui_memory_plan"].startswith("gpu-fp32-checkpointing")
    assert told["loratui_base_format"] == "full"
    # Never the same twice, also after the end.
    assert read_state(run).failed_plans == ("kept", "partial")
    assert supervise_on_a_card(run, {}) == 0
    assert events(run, "run_started")[-1].get("memory_plan") == events(run, "run_started")[2].get("memory_plan")


@pytest.mark.long
def test_a_base_in_another_format_goes_on_with_a_word(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "training.precision=bf16", "memory.gradient_checkpointing=on")
    assert supervise_on_a_card(run, {"checkpointing": 3}) == 0
    assert failed(run) == [("checkpointing", "quantised")]
    assert [e.get("resumed_step") for e in events(run, "run_started")] == [0, 2]
    (word,) = [e for e in events(run, "warning") if e.get("code") == "other_surroundings"]
    assert "another number format" in word.get("message")
    assert "base format full then and fp8 now" in word.get("message")
    with safe_open(run.output / "qxz.safetensors", framework="pt") as file:
        assert file.metadata()["loratui_base_format"] == "fp8"


@pytest.mark.long
def test_a_run_whose_plans_all_failed_ends_with_advice(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "memory.plan=kept")
    assert supervise_on_a_card(run, {"kept": 2}) == 34
    assert failed(run) == [("kept", "")]
    assert len(events(run, "trainer_started")) == 1
    (end,) = events(run, "run_finished")
    assert (end.get("status"), end.get("exit_code"), end.get("step")) == ("failed", 34, 1)
    assert "every memory plan" in end.get("reason")
    assert end.get("advice") == "Set memory.plan=auto in a new run; partial is left then."
    assert supervise_on_a_card(run, {}) == 34, "the only plan is not tried again on this card"
    assert failed(run) == [("kept", "")]
    assert events(run, "run_finished")[-1].get("reason") == end.get("reason")


@pytest.mark.long
def test_a_validation_goes_one_plan_down_too(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "schedule.image_steps=2")
    assert supervise_on_a_card(run, {}) == 0
    assert supervise_on_a_card(run, {"kept": 2}, "validate") == 0
    told = read_events(run.events_of("validate"), max_bytes=1 << 24).events
    assert [(e.get("way"), e.get("next")) for e in told if e.type == "memory_plan_failed"] == [("kept", "partial")]
    assert [e.get("exit_code") for e in told if e.type == "trainer_ended"] == [34, 0]
    grid = json.loads((run.validation / "grid.json").read_text())
    assert all((run.path / image["path"]).is_file() for image in grid["images"])
    assert "memory_plan_failed" in [w.code for w in read_state(run, "validate").warnings]
    assert supervise_on_a_card(run, {}, "validate") == 0, "another validation begins with the fastest plan again"
    assert read_state(run, "validate").failed_plans == ()
