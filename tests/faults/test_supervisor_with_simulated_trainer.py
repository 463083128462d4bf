"""The real supervisor over a simulated trainer: every way to end is told, a killed one is resumed, signals do what they should."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_supervision import supervision

from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.outcomes import MOST_AN_HOUR
from loratui.engine.runs.summary import summarise

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


@pytest.fixture
def supervised(run: RunDirectory) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the supervisor with the given attempts; ends what is left."""
    with supervision(run) as start:
        yield start


def events(run: RunDirectory, job: str = "train") -> list[Event]:
    batch = read_events(run.events_of(job), 0, 1 << 30)
    assert batch.skipped == 0
    assert [event.seq for event in batch.events] == list(range(1, len(batch.events) + 1))
    return list(batch.events)


def of_type(run: RunDirectory, type: str, job: str = "train") -> list[Event]:
    return [event for event in events(run, job) if event.type == type]


def finished(run: RunDirectory, job: str = "train") -> Event:
    last = events(run, job)[-1]
    assert last.type == "run_finished"
    return last


def end(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=30)
    return process.returncode


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def trainer_is_up(run: RunDirectory, job: str = "train") -> Any:
    return wait_for(lambda: of_type(run, "run_started", job), "the trainer")


@pytest.mark.parametrize(
    ("code", "status", "final", "words"),
    [
        (0, "done", 0, "All steps are done"),
        (2, "failed", 2, "settings or paths"),
        (3, "failed", 3, "images"),
        (10, "paused", 10, "Paused"),
        (20, "failed", 20, "disk"),
        (30, "failed", 30, "finite"),
        (34, "failed", 34, "memory"),
        (70, "failed", 70, "exit code 70"),
        (137, "failed", 70, "exit code 137"),
        (143, "stopped", 143, "Stopped"),
        (1, "failed", 70, "exit code 1: the last line"),
    ],
)
def test_every_exit_code_is_final_and_told(
    run: RunDirectory, supervised: Callable[..., Any], code: int, status: str, final: int, words: str
) -> None:
    assert end(supervised([["steps", 7], ["print", "the last line"], ["exit", code]])) == final
    last = finished(run)
    assert (last.get("status"), last.get("exit_code"), last.get("step")) == (status, final, 7)
    assert words in last.get("reason")
    assert last.get("advice")
    assert [e.type for e in events(run)][:2] == ["trainer_started", "run_started"]
    (ended,) = of_type(run, "trainer_ended")
    assert (ended.get("exit_code"), ended.get("signal"), ended.get("attempt")) == (code, None, 1)
    assert ended.get("log_tail") == ["the last line"]
    assert not lock.is_held(run.lock)
    assert summarise(run).status == status


def test_the_trainers_own_words_are_the_last_word(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    assert end(supervised([["fail", 34, "The GPU needs 9 GiB, 8 are free.", "Try --batch 1."]])) == 34
    assert finished(run).get("reason") == "The GPU needs 9 GiB, 8 are free."
    assert finished(run).get("advice") == "Try --batch 1."


def test_a_trainer_that_was_killed_goes_on_from_its_checkpoint(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    killed = [["steps", 25], ["checkpoint", 20], ["kill", 9]]
    assert end(supervised(killed, [["steps", 40], ["exit", 0]])) == 0
    assert [e.get("resumed_step") for e in of_type(run, "run_started")] == [0, 20]
    (warning,) = of_type(run, "warning")
    assert warning.get("code") == "trainer_restarted"
    assert "signal 9" in warning.get("message")
    assert "step 20" in warning.get("message")
    first, second = of_type(run, "trainer_ended")
    assert (first.get("signal"), first.get("exit_code")) == (9, None)
    assert second.get("exit_code") == 0
    assert finished(run).get("status") == "done"


def test_what_a_killed_trainer_left_half_written_is_swept_before_the_next(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    folders = (run.path, run.checkpoints, run.output, run.cache, run.samples / "step-000010")
    (run.samples / "step-000010").mkdir()
    for folder in folders:
        (folder / ".x.0123abcd.tmp").write_bytes(b"half")
    assert end(supervised([["exit", 0]])) == 0
    assert not [path for folder in folders for path in folder.glob(".*.tmp")]


def test_restarts_end_when_no_checkpoint_comes_any_more(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    once = [["steps", 10], ["checkpoint", 10], ["kill", 9]]
    hopeless = [["kill", 11]]
    assert end(supervised(once, hopeless)) == 70
    assert len(of_type(run, "trainer_started")) == 4
    last = finished(run)
    assert (last.get("status"), last.get("exit_code")) == ("failed", 70)
    assert "SIGSEGV" in last.get("reason")
    assert "3 restarts" in last.get("reason")


@pytest.mark.parametrize(("code", "fault"), [(33, "gpu_lost"), (33, "gpu_failed"), (34, "main_memory")])
def test_a_lost_gpu_and_a_lack_of_main_memory_are_waited_out(
    run: RunDirectory, supervised: Callable[..., Any], code: int, fault: str
) -> None:
    lost = [["steps", 25], ["checkpoint", 20], ["fail", code, "It is gone.", "Get another.", fault]]
    assert end(supervised(lost, [["fail", code, "It is gone.", "Get another.", fault]], [["steps", 40], ["exit", 0]])) == 0
    assert [e.get("resumed_step") for e in of_type(run, "run_started")] == [0, 20, 20]
    assert [e.get("message") for e in of_type(run, "warning")] == [
        "It is gone. It restarts from the checkpoint of step 20."
    ] * 2


@pytest.mark.parametrize(("code", "fault"), [(33, "gpu_lost"), (34, "main_memory")])
def test_a_gpu_that_stays_lost_ends_the_run_with_its_own_code(
    run: RunDirectory, supervised: Callable[..., Any], code: int, fault: str
) -> None:
    gone = ["fail", code, "It is gone.", "Get another.", fault]
    assert end(supervised([["steps", 5], gone], [gone])) == code
    starts = of_type(run, "trainer_started")
    assert [e.get("restarts") for e in starts] == [0, 1, 2, 3]
    pauses = [after.up - before.up for before, after in zip(of_type(run, "trainer_ended"), starts[1:], strict=False)]
    assert pauses[0] < pauses[1] < pauses[2], "each longer than the one before"
    last = finished(run)
    assert last.get("reason") == "It is gone. 3 restarts got no further."
    assert last.get("advice") == "Get another."


def test_restarts_are_counted_across_starts_so_that_no_loop_of_resumes_bills(
    run: RunDirectory, supervised: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end(supervised([["kill", 9]])) == 70
    assert len(of_type(run, "trainer_started")) == 4
    assert end(supervised([["kill", 9]])) == 70
    assert len(of_type(run, "trainer_started")) == 5, "started again, it is not tried three times more"
    assert end(supervised([["steps", 20], ["checkpoint", 20], ["exit", 143]])) == 143
    assert end(supervised([["kill", 9]])) == 70
    assert len(of_type(run, "trainer_started")) == 10, "a new checkpoint earns new restarts"
    monkeypatch.setenv("ANOTHER_BOOT", "1")
    assert end(supervised([["kill", 9]])) == 70
    assert len(of_type(run, "trainer_started")) == 14, "as does another machine"


def test_out_of_memory_plans_that_never_end_do_not_loop(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    assert end(supervised([["another plan"]])) == 34
    assert len(of_type(run, "trainer_started")) == MOST_AN_HOUR + 1
    assert f"restart {MOST_AN_HOUR} within an hour" in finished(run).get("reason")


def test_a_crash_in_native_code_is_named_with_the_last_lines_of_the_log(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    """Row 26."""
    assert end(supervised([["steps", 5], ["print", "about to read"], ["crash"]], [["exit", 0]])) == 0
    ended = of_type(run, "trainer_ended")[0]
    assert (ended.get("exit_code"), ended.get("signal")) == (None, 11)
    assert ended.get("reason") == "The trainer crashed in native code: signal 11 (SIGSEGV)."
    tail = ended.get("log_tail")
    assert any("Fatal Python error: Segmentation fault" in line for line in tail)
    assert any("in string_at" in line for line in tail), "the line of Python that called it"


def test_a_kill_for_lack_of_memory_is_named_by_the_kernels_count(
    run: RunDirectory, supervised: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 27."""
    counted = tmp_path / "kills"
    counted.write_text("0")
    monkeypatch.setenv("KILLS_FOR_MEMORY", str(counted))
    assert end(supervised([["killed for memory"]])) == 34
    assert len(of_type(run, "trainer_started")) == 4
    assert of_type(run, "trainer_ended")[0].get("reason") == "The trainer was killed (signal 9) because memory ran out."
    assert (finished(run).get("status"), finished(run).get("exit_code")) == ("failed", 34)
    assert "smaller batch" in finished(run).get("advice")


def test_a_kill_that_no_count_explains_is_not_called_a_lack_of_memory_for_sure(
    run: RunDirectory, supervised: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 27."""
    (tmp_path / "kills").write_text("7")
    monkeypatch.setenv("KILLS_FOR_MEMORY", str(tmp_path / "kills"))
    assert end(supervised([["kill", 9]], [["exit", 0]])) == 0
    assert "perhaps" in of_type(run, "trainer_ended")[0].get("reason")


def test_progress_earns_new_restarts(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    attempts = [[["checkpoint", 10 * n], ["kill", 9]] for n in range(1, 7)]
    assert end(supervised(*attempts, [["exit", 0]])) == 0
    assert len(of_type(run, "trainer_started")) == 7


def test_a_new_checkpoint_starts_the_count_of_restarts_anew(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    killed = [["kill", 9]]
    assert end(supervised(killed, killed, [["checkpoint", 10], ["kill", 9]], killed, killed, [["exit", 0]])) == 0


def test_a_stop_before_the_first_trainer_starts_none(
    run: RunDirectory, supervised: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_AT_START", "15")
    assert end(supervised([["serve"]])) == 143
    assert finished(run).get("status") == "stopped"
    assert of_type(run, "run_started") == []


def test_a_trainer_killed_while_it_keeps_its_promise_to_stop_is_not_restarted(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised([["steps", 3], ["promise"], ["kill", 9]])
    trainer_is_up(run)
    control.send(run, "pause")
    assert end(process) == 10
    assert finished(run).get("status") == "paused"


def test_sigterm_to_the_supervisor_lets_the_trainer_save_first(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([["steps", 5], ["serve"]])
    trainer_is_up(run)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    assert end(process) == 143
    assert time.monotonic() - started < 4
    assert run.last_checkpoint_step() == 6
    assert (finished(run).get("status"), finished(run).get("exit_code")) == ("stopped", 143)


def test_sigterm_before_the_trainer_can_catch_it_stops_and_never_restarts(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised(command=["/bin/sleep", "60"])
    wait_for(lambda: of_type(run, "trainer_started"), "the start")
    os.kill(process.pid, signal.SIGTERM)
    assert end(process) == 143
    assert finished(run).get("status") == "stopped"
    assert len(of_type(run, "trainer_started")) == 1


def test_hangup_reaches_neither(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([["serve"]])
    trainer_is_up(run)
    (event,) = of_type(run, "trainer_started")
    os.kill(process.pid, signal.SIGHUP)
    os.kill(event.get("pid"), signal.SIGHUP)
    assert os.getsid(event.get("pid")) == event.get("pid")
    identity = control.send(run, "pause")
    assert end(process) == 10
    (answer,) = of_type(run, "command_acknowledged")
    assert (answer.get("id"), answer.get("ok")) == (identity, True)
    assert finished(run).get("status") == "paused"


def test_a_hung_trainer_that_was_asked_to_stop_and_then_killed_is_not_restarted(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised([["steps", 3], ["hang"]])
    trainer_is_up(run)
    control.send(run, "stop")
    owner = lock.read_owner(run.lock)
    assert owner is not None
    assert owner.trainer.send_signal(signal.SIGKILL)
    assert end(process) == 143
    assert finished(run).get("status") == "stopped"
    assert "asked to stop" in finished(run).get("reason")


def test_commands_left_by_an_earlier_start_are_not_obeyed(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    control.send(run, "stop")
    (run.control / ".x.tmp").write_text("")
    process = supervised([["serve"]])
    trainer_is_up(run)
    assert list(run.control.iterdir()) == []
    control.send(run, "pause")
    assert end(process) == 10


def test_a_second_supervisor_is_refused_while_the_first_or_only_its_trainer_lives(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    first = supervised([["steps", 2], ["serve"]])
    trainer_is_up(run)
    assert end(supervised([["serve"]])) == 2
    first.kill()
    first.wait()
    assert lock.is_held(run.lock)
    assert end(supervised([["serve"]])) == 2
    assert summarise(run).status == "running"
    owner = lock.read_owner(run.lock)
    assert owner is not None
    assert owner.trainer.alive
    owner.trainer.send_signal(signal.SIGTERM)
    wait_for(lambda: not lock.is_held(run.lock), "the trainer's end")
    assert summarise(run).status == "interrupted"


def test_a_finished_trainer_without_its_supervisor_is_done_not_interrupted(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised([["steps", 2], ["serve"]])
    trainer_is_up(run)
    process.kill()
    process.wait()
    owner = lock.read_owner(run.lock)
    assert owner is not None
    owner.trainer.send_signal(signal.SIGKILL)
    wait_for(lambda: not lock.is_held(run.lock), "the trainer's end")
    assert end(supervised([["final"], ["exit", 0]])) == 0
    lines = run.events.read_bytes().splitlines(keepends=True)
    run.events.write_bytes(b"".join(lines[:-2]))
    summary = summarise(run)
    assert (summary.status, summary.exit_code) == ("done", 0)


def test_a_trainer_that_cannot_be_imported_says_so(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised(command=[sys.executable, "-P", "-m", "loratui.engine.no_such_trainer"])
    assert end(process) == 70
    assert "No module named" in finished(run).get("reason")
    assert "trainer.log" in finished(run).get("advice")


def test_a_program_that_does_not_exist_says_so(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    assert end(supervised(command=["/no/such/program"])) == 70
    assert "could not be started" in finished(run).get("reason")


def test_what_the_trainer_prints_is_cleaned_and_holds_no_secret(
    run: RunDirectory, supervised: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "canary-value-123")
    text = "10%\r50%\r100% \x1b[31mdone\x1b[0m\nAuthorization: Bearer canary-value-123\nhf_" + "a" * 34
    assert end(supervised([["print", text], ["raise"]])) == 70
    (ended,) = of_type(run, "trainer_ended")
    tail = ended.get("log_tail")
    assert "100% done" in tail
    assert "RuntimeError: CUDA error: device-side assert" in tail[-1]
    assert b"canary-value-123" not in run.events.read_bytes()
    assert b"hf_aaaa" not in run.events.read_bytes()


def test_validation_has_its_own_log_under_the_same_lock(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([["serve"]], job="validate")
    trainer_is_up(run, "validate")
    assert end(supervised([["exit", 0]])) == 2
    assert (summarise(run).job, summarise(run).status) == ("validate", "running")
    control.send(run, "stop")
    assert end(process) == 143
    assert finished(run, "validate").get("status") == "stopped"
    assert not run.events.exists()


def test_nothing_is_written_that_others_could_read(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    old = os.umask(0)
    try:
        assert end(supervised([["steps", 3], ["print", "x"], ["exit", 0]])) == 0
    finally:
        os.umask(old)
    for path in (run.events, run.lock, run.trainer_log):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_run_directory_that_is_renamed_gets_its_last_word_there(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([["steps", 1], ["hang"]])
    trainer_is_up(run)
    owner = lock.read_owner(run.lock)
    assert owner is not None
    moved = RunDirectory(run.path.rename(run.path.with_name("moved")))
    os.kill(process.pid, signal.SIGTERM)
    owner.trainer.send_signal(signal.SIGKILL)
    assert end(process) == 143
    assert finished(moved).get("status") == "stopped"


def test_a_run_directory_that_is_deleted_ends_the_run_and_is_not_made_again(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised([["steps", 1], ["slowly", 100_000, 0.01]])
    trainer_is_up(run)
    shutil.rmtree(run.path, ignore_errors=True)
    shutil.rmtree(run.path, ignore_errors=True)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "was deleted" in errors
    assert not run.path.exists()
