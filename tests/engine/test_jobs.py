"""One protocol for work in a process of its own: what is asked, told, cancelled, and what becomes of a process that misbehaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loratui.engine import children, jobs
from loratui.engine.errors import ExitCode
from loratui.engine.jobs import JOBS, Cancelled, Job, JobDied, JobFailed, Process, run

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    table_row(monkeypatch)


def table_row(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
    row = {"module": "simulated_job", "title": "The simulated job", "line_bytes": 1000, "content_bytes": 100, **limits}
    monkeypatch.setitem(JOBS, "simulated", Job(**row))


def test_a_request_is_answered_with_progress_on_the_way_and_nothing_else_is_heard() -> None:
    told: list[int] = []
    assert run("simulated", {"do": "echo", "is": ["ä", {"a": 1}], "told": 3}, progress=told.append) == ["ä", {"a": 1}]
    assert told == [0, 1, 2]


def test_one_process_answers_in_turn_and_bytes_follow_an_answer() -> None:
    process = Process("simulated")
    process.begin()
    for request in ({"do": "bytes", "count": 3}, {"do": "echo", "is": 1}, {"do": "bytes", "count": 0}):
        process.ask(request)
    assert [tuple(process.answer()) for _ in range(3)] == [("pixels", bytes(3)), (1, b""), ("pixels", b"")]
    process.end()
    assert not process.runs


@pytest.mark.parametrize(
    ("what", "message", "code"),
    [("known", "It is wrong. Mend it.", ExitCode.USAGE), ("other", "RuntimeError: nobody expected this", ExitCode.CRASHED)],
)
def test_a_failure_is_told_in_the_words_of_the_job(what: str, message: str, code: ExitCode) -> None:
    with pytest.raises(JobFailed, match=message) as caught:
        run("simulated", {"do": "raise", "what": what})
    assert caught.value.exit_code == code


def test_a_job_goes_on_after_a_request_that_failed() -> None:
    process = Process("simulated")
    process.begin()
    process.ask({"do": "raise", "what": "known"})
    with pytest.raises(JobFailed):
        process.answer()
    process.ask({"do": "echo", "is": 1})
    assert process.answer().value == 1
    process.end()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"do": "kill", "signal": signal.SIGKILL}, "was killed by signal 9, most often for lack of main memory"),
        ({"do": "kill", "signal": signal.SIGSEGV}, r"crashed \(signal 11\)"),
        ({"do": "kill", "signal": signal.SIGXCPU}, "used up its processor time"),
        ({"do": "exit", "code": 5}, r"ended without an answer \(5\): the last line"),
        ({"do": "raw", "line": "x", "times": 3000}, "a line longer than"),
        ({"do": "raw", "line": "nothing\n"}, "gave an answer that is not valid JSON"),
        ({"do": "raw", "line": '{"type":1,"is":2}\n'}, "gave an answer that is none"),
        ({"do": "raw", "line": '{"type":"done","is":1,"bytes":4000000000}\n'}, "announces an answer larger than"),
        ({"do": "raw", "line": '{"type":"done","is":1,"bytes":-1}\n'}, "announces an answer larger than"),
    ],
)
def test_a_job_that_dies_or_lies_costs_its_answer_and_says_why(request_: dict[str, Any], why: str) -> None:
    with pytest.raises(JobDied, match=why) as caught:
        run("simulated", request_)
    assert caught.value.signal == request_.get("signal", 0)
    assert not caught.value.late_s


def test_an_answer_has_its_time_and_what_is_printed_meanwhile_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    table_row(monkeypatch, answer_s=0.3)
    process = Process("simulated")
    process.begin()
    process.ask({"do": "flood"})
    with pytest.raises(JobDied, match="said nothing for 0 s") as caught:
        process.answer()
    assert caught.value.late_s == 0.3
    assert len(process._story) <= jobs._STORY_BYTES
    process.end()


def test_only_jobs_that_need_torch_have_it() -> None:
    rows = [job for name, job in JOBS.items() if name != "simulated"]
    assert all(job.module.startswith("loratui.engine.training.") for job in rows if job.needs)
    free = [job.module for job in rows if not job.needs]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {free!r}]; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_job_that_goes_on_telling_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    table_row(monkeypatch, answer_s=0.4)
    assert run("simulated", {"do": "slowly", "times": 4, "pause_s": 0.15}) == 4


def test_what_cannot_begin_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobFailed, match="There is no such detector"):
        Process("simulated", {"fails": "There is no such detector."}).begin()
    table_row(monkeypatch, module="no_such_module")
    with pytest.raises(JobDied, match="No module named 'no_such_module'"):
        run("simulated", None)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_job_is_cancelled_politely_then_for_good(monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    monkeypatch.setattr(jobs, "_LEAVES_S", 0.3)
    told: list[Any] = []
    process = Process("simulated", {"deaf": deaf}, cancelled=lambda: bool(told))
    process.begin()
    child = process._process
    assert child is not None
    process.ask({"do": "hang"})
    with pytest.raises(Cancelled):
        process.answer(told.append)
    process.cancel()
    process.end()
    assert child.returncode == (-signal.SIGKILL if deaf else -signal.SIGTERM)


def test_cancelling_a_single_request_is_no_error() -> None:
    told: list[Any] = []
    assert run("simulated", {"do": "hang"}, progress=told.append, cancelled=lambda: bool(told)) is None


def test_a_job_ends_with_whoever_started_it() -> None:
    """Also while it is busy, and does not say a word meanwhile."""
    command = children.command("loratui.engine.job_child", "simulated_job")
    child = children.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b'{"type":"begin","is":{}}\n{"type":"ask","is":{"do":"hang"}}\n')
    child.stdin.flush()
    assert b"ready" in child.stdout.readline()
    assert b"began" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(timeout=10) == -signal.SIGTERM
    child.stdout.close()


def test_nothing_is_inherited_but_what_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    table_row(monkeypatch, environ={"MORE": "1"}, line_bytes=1 << 20)
    with (tmp_path / "open").open("w") as other:
        os.set_inheritable(other.fileno(), True)
        folder, names, umask, descriptors = run("simulated", {"do": "surroundings"}, cwd=tmp_path)
        assert other.fileno() not in descriptors
    assert folder == str(tmp_path)
    assert "PYTHONOPTIMIZE" not in names
    assert {"MORE", "PYTHONSAFEPATH"} <= set(names)
    assert umask == 0o077
