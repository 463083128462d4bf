"""What is news about runs, and what the window's title says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run

from loratui.engine.limits import DISK_SPARE_BYTES
from loratui.engine.runs.state import RunState
from loratui.engine.runs.summary import RunSummary, how_validation_ended, summarise
from loratui.engine.runs.verdict import Status, Verdict
from loratui.tui.runs import watch
from loratui.tui.runs.watch import Notice, disk_notice, window_title

RUN = RunSummary(
    name="anafox-1",
    path="/runs/anafox-1",
    status="running",
    job="train",
    reason="",
    advice="",
    exit_code=None,
    created=0.0,
    state=RunState(image_step=600, image_steps=1800, step=300, optimizer_steps=900),
)


def notices(before: dict[str, RunSummary], now: list[RunSummary], check: Verdict | None = None) -> list[Notice]:
    return watch.notices(before, now, lambda _: check or Verdict("done"))


def _as(status: Status, **changes: object) -> RunSummary:
    return dataclasses.replace(RUN, status=status, job="", **changes)  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("run", "severity", "words"),
    [
        (_as("done"), "information", "anafox-1 is done"),
        (_as("paused", reason="A checkpoint was saved."), "information", "is paused. A checkpoint"),
        (_as("paused", exit_code=20, reason="The disk is full."), "error", "The disk is full."),
        (_as("failed", exit_code=30, reason="The loss of step 9 is not finite."), "error", "NaN"),
        (_as("failed", exit_code=70, reason="It crashed.", advice="See the log."), "error", "It crashed. See the log."),
        (_as("interrupted"), "error", "ended"),
        (dataclasses.replace(RUN, status="stalled", reason="No word for 12 s."), "warning", "No word"),
        (
            dataclasses.replace(RUN, status="waiting", reason="The disk is full."),
            "error",
            "waits for its disk. The disk is full.",
        ),
    ],
)
def test_a_change_is_told_once(run: RunSummary, severity: str, words: str) -> None:
    (notice,) = notices({RUN.name: RUN}, [run])
    assert (notice.severity, notice.run) == (severity, RUN.name)
    assert words in notice.words
    assert notices({RUN.name: run}, [run]) == []


def test_what_was_not_seen_before_is_no_news() -> None:
    assert notices({}, [_as("failed")]) == []
    assert notices({RUN.name: RUN}, [dataclasses.replace(RUN, state=RunState(step=400))]) == []
    assert notices({RUN.name: _as("starting")}, [RUN]) == []


def test_the_end_of_a_grid_is_told_as_such() -> None:
    validating = dataclasses.replace(RUN, job="validate")
    (notice,) = notices({RUN.name: validating}, [_as("done")])
    assert notice.words == "✔ The validation of anafox-1 is done."


def test_a_check_that_failed_is_not_told_as_done() -> None:
    validating = dataclasses.replace(RUN, job="validate")
    (notice,) = notices({RUN.name: validating}, [_as("done")], Verdict("failed", "The GPU is gone.", "Start anew.", 33))
    assert notice == Notice("✖ The validation of anafox-1 ended. The GPU is gone. Start anew.", "error", "anafox-1")


def test_how_a_validation_ended_stands_in_its_own_log(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    with FakeTrainer(run, "validate") as checker:
        checker.log.append("run_finished", status="failed", exit_code=70, reason="It crashed.", advice="See the log.", step=900)
    assert summarise(run).status == "done"
    ended = how_validation_ended(run)
    assert (ended.status, ended.reason, ended.advice, ended.exit_code) == ("failed", "It crashed.", "See the log.", 70)


def test_a_low_disk_is_told_once_until_it_is_well_again() -> None:
    needed = 516_000_000
    least = needed + DISK_SPARE_BYTES
    notice, low = disk_notice(least - 1, False, needed)
    assert notice is not None
    assert "their next writes take 516.0 MB" in notice.words
    assert low
    assert disk_notice(least + 1, True, needed) == (None, True)
    assert disk_notice(least * 2, True, needed) == (None, False)
    assert disk_notice(least + 1, False, needed) == (None, False), "what the next writes need decides, no fixed size"
    assert disk_notice(0, False, 0) == (None, False)
    assert disk_notice(None, True, needed) == (None, True)


def test_the_title_tells_how_far_the_run_is() -> None:
    other = dataclasses.replace(RUN, name="other", state=RunState(image_step=1, image_steps=2))
    assert window_title([]) == "loratui"
    assert window_title([_as("done")]) == "loratui"
    assert window_title([RUN, other]) == "33 % · anafox-1 · loratui"
    assert window_title([RUN, other], "other") == "50 % · other · loratui"
    assert window_title([dataclasses.replace(RUN, status="stalled")]) == "stalled · anafox-1 · loratui"
    assert window_title([dataclasses.replace(RUN, job="validate")]) == "anafox-1 · loratui"
