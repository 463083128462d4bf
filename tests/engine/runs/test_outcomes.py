"""What follows from the way a trainer ended."""

from __future__ import annotations

import dataclasses
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.errors import ExitCode
from loratui.engine.runs.outcomes import (
    MOST_AN_HOUR,
    MOST_RESTARTS,
    Finish,
    Outcome,
    Restart,
    decide,
    describe,
    finish_by_request,
    words_of,
)

WORDS = words_of("train", "r")
codes = st.integers(0, 255)
signals = st.sampled_from([4, 6, 7, 8, 9, 11, 31, 64])


@given(code=codes, attempts=st.integers(0, 9), progressed=st.booleans(), asked=st.sampled_from(["", "stop", "pause"]))
def test_an_exit_code_is_final_and_never_that_of_a_kill(code: int, attempts: int, progressed: bool, asked: str) -> None:
    decision = decide(Outcome(exit_code=code, asked=asked), attempts, progressed, WORDS)  # type: ignore[arg-type]
    assert isinstance(decision, Finish)
    # A trainer fetches nothing, so the hub's code is none of its own.
    known = {int(c) for c in ExitCode} - {ExitCode.WARNINGS, ExitCode.CRASHED, ExitCode.UNAVAILABLE}
    assert decision.exit_code == (code if code in known else 70)
    assert decision.reason
    assert decision.advice


def test_a_run_that_its_recipe_ends_early_is_done_and_says_why() -> None:
    done = Finish("done", 0, "The run ended after epoch 7, as its recipe says: its samples got no better.", WORDS.next)
    assert decide(Outcome(exit_code=0, early=7), 0, True, WORDS) == done


@given(number=signals, attempts=st.integers(0, 9), progressed=st.booleans(), oom=st.booleans())
def test_a_killed_trainer_is_restarted_while_that_helps(number: int, attempts: int, progressed: bool, oom: bool) -> None:
    decision = decide(Outcome(signal=number, oom_killed=oom), attempts, progressed, WORDS)
    if progressed or attempts < MOST_RESTARTS:
        assert isinstance(decision, Restart)
    else:
        assert decision == Finish("failed", 34 if oom else 70, decision.reason, decision.advice)


@given(number=signals | st.just(15), attempts=st.integers(0, 9), progressed=st.booleans())
def test_a_trainer_that_was_asked_to_end_is_never_restarted(number: int, attempts: int, progressed: bool) -> None:
    stopped = decide(Outcome(signal=number, asked="stop"), attempts, progressed, WORDS)
    paused = decide(Outcome(signal=number, asked="pause"), attempts, progressed, WORDS)
    assert isinstance(stopped, Finish)
    assert isinstance(paused, Finish)
    assert (stopped.status, stopped.exit_code) == ("stopped", 143)
    assert (paused.status, paused.exit_code) == ("paused", 10)


@given(attempts=st.integers(0, 9), progressed=st.booleans())
def test_a_trainer_without_gpu_memory_goes_on_while_a_memory_plan_is_left(attempts: int, progressed: bool) -> None:
    assert isinstance(decide(Outcome(exit_code=34, next_plan="partial"), attempts, progressed, WORDS), Restart)
    for other in (Outcome(exit_code=34), Outcome(exit_code=20, next_plan="partial")):
        assert isinstance(decide(other, attempts, progressed, WORDS), Finish)
    paused = decide(Outcome(exit_code=34, next_plan="partial", asked="pause"), attempts, progressed, WORDS)
    assert isinstance(paused, Finish)
    assert paused.exit_code == 10


LOST = (
    Outcome(exit_code=33, worked=True, message="The GPU no longer answers the driver."),
    Outcome(exit_code=34, worked=True, fault="main_memory", message="There is too little main memory for these settings."),
    Outcome(signal=9, stalled="No step for 10 min, where one takes 2 s."),
    Outcome(signal=15, stalled="No step for 10 min, where one takes 2 s."),
    Outcome(exit_code=143, stalled="No step for 10 min, where one takes 2 s."),
)
"""What may be there again when the trainer starts again: the GPU, main memory, an answer."""


@pytest.mark.parametrize("outcome", LOST)
@given(attempts=st.integers(0, 9), progressed=st.booleans())
def test_what_may_come_back_is_tried_again_but_not_for_ever(outcome: Outcome, attempts: int, progressed: bool) -> None:
    decision = decide(outcome, attempts, progressed, WORDS)
    if progressed or attempts < MOST_RESTARTS:
        assert isinstance(decision, Restart)
    else:
        assert isinstance(decision, Finish)
        assert decision.status == "failed"
        assert decision.exit_code == (70 if outcome.stalled else outcome.exit_code)
        assert decision.reason.startswith(outcome.message or outcome.stalled)
        assert "3 restarts got no further" in decision.reason
        assert decision.advice


@pytest.mark.parametrize("outcome", [*LOST, Outcome(signal=9), Outcome(exit_code=34, next_plan="partial")])
def test_no_run_starts_again_all_night_however_far_each_start_gets(outcome: Outcome) -> None:
    assert isinstance(decide(outcome, 0, True, WORDS, MOST_AN_HOUR - 1), Restart)
    decision = decide(outcome, 0, True, WORDS, MOST_AN_HOUR)
    assert isinstance(decision, Finish)
    assert decision.status == "failed"
    assert "restart 12 within an hour" in decision.reason


@pytest.mark.parametrize("outcome", LOST)
def test_a_request_to_end_holds_for_a_trainer_that_would_be_tried_again(outcome: Outcome) -> None:
    paused = decide(dataclasses.replace(outcome, asked="pause"), 0, True, WORDS)
    assert isinstance(paused, Finish)
    assert (paused.status, paused.exit_code) == ("paused", 10)


@pytest.mark.parametrize("code", [33, 34])
def test_a_machine_that_never_worked_is_not_tried_again(code: int) -> None:
    decision = decide(Outcome(exit_code=code, fault="main_memory"), 0, False, WORDS)
    assert isinstance(decision, Finish)
    assert decision.exit_code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sigterm_from_anybody_is_a_stop(number: int) -> None:
    decision = decide(Outcome(signal=number), 0, True, WORDS)
    assert isinstance(decision, Finish)
    assert (decision.status, decision.exit_code) == ("stopped", 143)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(signal=9), "killed (signal 9), perhaps because memory ran out"),
        (Outcome(signal=9, asked="stop", killed_as_asked=True), "killed (signal 9), as stop --kill asks for"),
        (Outcome(signal=9, oom_killed=True), "because memory ran out."),
        (Outcome(signal=9, waited="The disk is full."), "killed (signal 9) while it waited for its disk: The disk is full."),
        (Outcome(signal=11), "crashed in native code: signal 11 (SIGSEGV)"),
        (Outcome(signal=6), "crashed in native code: signal 6 (SIGABRT)"),
        (Outcome(signal=31), "was ended by signal 31 (SIGSYS)"),
        (Outcome(signal=9, stalled="No step for 10 min."), "No step for 10 min. The trainer was ended."),
        (Outcome(signal=63), "signal 63 (unknown)"),
        (Outcome(exit_code=34), "not enough memory"),
        (Outcome(exit_code=34, message="Own words."), "Own words."),
        (Outcome(exit_code=1), "exit code 1."),
        (Outcome(exit_code=1, last_line="ImportError: x"), "exit code 1: ImportError: x"),
    ],
)
def test_the_end_is_described_in_words(outcome: Outcome, words: str) -> None:
    assert words in describe(outcome)


def test_the_remedy_of_the_trainer_is_used_only_for_failures() -> None:
    failed = decide(Outcome(exit_code=20, message="m", remedy="own"), 0, False, WORDS)
    paused = decide(Outcome(exit_code=10, remedy="own"), 0, False, WORDS)
    assert isinstance(failed, Finish)
    assert isinstance(paused, Finish)
    assert failed.advice == "own"
    assert paused.advice == "loratui resume r goes on."


def test_a_wish_between_two_trainers_is_told_as_such() -> None:
    finish = finish_by_request(Outcome(signal=9), "stop", WORDS)
    assert (finish.status, finish.exit_code) == ("stopped", 143)
    assert "asked to stop" in finish.reason


def test_each_job_has_its_own_last_word() -> None:
    trained = decide(Outcome(exit_code=0), 0, False, words_of("train", "r"))
    pictured = decide(Outcome(exit_code=0), 0, False, words_of("validate", "r"))
    stopped = decide(Outcome(exit_code=143), 0, False, words_of("validate", "r"))
    assert trained == Finish("done", 0, "All steps are done.", "loratui validate r makes the validation images.")
    assert pictured == Finish("done", 0, "All images are made.", "")
    assert stopped == Finish("stopped", 143, "Stopped as asked.", "loratui validate r goes on.")
