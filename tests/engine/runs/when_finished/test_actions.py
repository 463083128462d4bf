"""What is done when a run has ended: in which order, once for each ending, and never at the cost of the run's own end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from ended_runs import Never, Received, act, end, ended, events, make, states, write_output

from loratui.engine import sealed
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.machine import addresses
from loratui.engine.runs import fence, lock
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.queue import entries as queue_entries
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.when_finished import choice, copying, pod, programs
from loratui.engine.runs.when_finished.carry_out import Actions, left
from loratui.engine.runs.when_finished.result import Result
from loratui.presets.schema import SchemaError

WRITES = (sys.executable, "-c", "import os, pathlib; pathlib.Path('said').write_text(os.environ['LORATUI_STATUS'])")


def test_nothing_is_chosen_by_default(tmp_path: Path) -> None:
    run = ended(tmp_path)
    before = events(run)
    assert not act(run).actions
    assert events(run) == before


def test_the_command_has_no_shell_and_is_told_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fence.VARIABLE, "1:of the run")  # the right to write the run is for loratui alone
    code = (
        "import os, sys; print(sys.argv[1:], *(os.environ['LORATUI_' + n] for n in ('RUN', 'STATUS', 'EXIT_CODE', 'OUTPUT')), "
        f"{fence.VARIABLE!r} in os.environ)"
    )
    run = ended(tmp_path, command=(sys.executable, "-c", code, "$HOME; exit 3", "`id`"))
    done = act(run).action("command")
    assert done is not None
    assert (done.state, done.attempts) == ("done", 1)
    said = run.when_finished_log.read_text().strip()
    assert said == f"['$HOME; exit 3', '`id`'] {run.name} done 0 {run.output / 'anafox.safetensors'} False"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((sys.executable, "-c", "import sys; print('the reason'); sys.exit(7)"), "exit code 7: the reason"),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "signal 9"),
        (("no-such-program-anywhere",), "not on this machine"),
    ],
)
def test_a_command_that_fails_is_told_and_changes_nothing_of_the_run(
    tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    run = ended(tmp_path, command=command)
    state = act(run)
    failed = state.action("command")
    assert failed is not None
    assert (failed.state, words in failed.message) == ("failed", True), failed
    verdict = summarise(run)
    assert (verdict.status, verdict.exit_code) == ("done", 0)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('up', flush=True); time.sleep(60)"
    log = tmp_path / "log"
    cancelled = Never(lambda: "cancelled" if log.exists() and "up" in log.read_text() else "")
    ran = programs.run((sys.executable, "-c", code), cancelled, log, longest_s=60, cwd=tmp_path)
    assert (ran.code, ran.why) == (None, "stopped")
    late = programs.run((sys.executable, "-c", "import time; time.sleep(60)"), Never(), log, longest_s=0.1, cwd=tmp_path)
    assert "took longer" in late.why


@pytest.mark.parametrize(
    ("status", "chosen", "done"),
    [
        ("done", {}, ["command", "notify"]),
        ("failed", {}, ["notify"]),
        ("failed", {"after_failure": True}, ["command", "notify"]),
        ("paused", {}, []),
        ("paused", {"after_pause": True}, ["command", "notify"]),
        ("stopped", {"after_pause": True}, ["command", "notify"]),
    ],
)
def test_which_endings_are_followed_by_what(tmp_path: Path, status: str, chosen: dict[str, bool], done: list[str]) -> None:
    run = ended(tmp_path, status, command=("true",), notify="ntfy", **chosen)
    assert list(left(run, read_state(run))) == done


def test_one_ending_is_followed_once_and_the_next_again(tmp_path: Path) -> None:
    run = ended(tmp_path, command=WRITES)
    act(run)
    (run.path / "said").unlink()
    act(run)
    assert not (run.path / "said").exists()
    act(run, "now")
    assert not (run.path / "said").exists()
    act(run, "again")
    assert (run.path / "said").read_text() == "done"
    (run.path / "said").unlink()
    end(run)
    act(run)
    assert (run.path / "said").exists()


def test_what_a_box_that_died_left_is_only_repeated_where_it_does_no_harm(tmp_path: Path) -> None:
    run = ended(tmp_path, command=WRITES, copy_to=f"rsync:{tmp_path}/there", notify="ntfy")
    with EventLog.open(run.events) as log:
        for name in ("copy", "command"):
            log.append("action", action=name, state="begun", message="", attempts=0, until=None)
    assert left(run, read_state(run)) == ("copy", "notify")
    assert left(run, read_state(run), "now") == ("copy", "command", "notify")


def test_cancelling_leaves_the_rest_undone(tmp_path: Path) -> None:
    run = ended(tmp_path, command=WRITES, notify="ntfy")
    act(run, stopping=Never(lambda: "cancelled"))
    assert states(run) == {"command": "cancelled", "notify": "cancelled"}
    assert not (run.path / "said").exists()
    assert left(run, read_state(run)) == ()


def test_a_choice_taken_back_while_another_action_runs_is_not_carried_out(tmp_path: Path) -> None:
    run = make(tmp_path, command=WRITES, copy_to=f"rsync:{tmp_path}/there")
    end(run)

    def take_back() -> str:
        choice.change(run, {"command": ()})
        return ""

    act(run, stopping=Never(take_back))
    assert states(run) == {"copy": "done"}


def test_the_run_is_finishing_while_its_actions_go_on(tmp_path: Path) -> None:
    run = make(tmp_path, pod="stop")
    held = lock.acquire(run.lock)
    try:
        end(run)
        with EventLog.open(run.events) as log:
            log.append("action", action="pod", state="waiting", message="RunPod stops in 120 s.", attempts=0, until=1.0)
        found = summarise(run)
    finally:
        held.release()
    assert (found.status, found.active, found.exit_code) == ("finishing", True, 0)
    assert "RunPod stops" in found.advice
    assert summarise(run).status == "done"


# ---- messages


def test_a_webhook_gets_json_and_ntfy_a_message(tmp_path: Path, received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_WEBHOOK_URL", f"{received.address}/hooks/secretpath123")
    addresses.keep("ntfy_url", f"{received.address}/topic9secret")
    addresses.keep("ntfy_token", "tk_abcdefgh12345678")
    run = ended(tmp_path, notify="both")
    act(run)
    assert states(run) == {"notify": "done"}
    (method, path, headers, body), (_, topic, more, text) = received.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/hooks/secretpath123", "application/json")
    told = json.loads(body)
    assert (told["run"], told["status"], told["exit_code"]) == (run.name, "done", 0)
    assert told["output"] == str(run.output / "anafox.safetensors")
    assert len(told["output_sha256"]) == 64
    assert (topic, more["Authorization"]) == ("/topic9secret", "Bearer tk_abcdefgh12345678")
    assert run.name in text.decode()
    kept = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    for secret in (b"secretpath123", b"topic9secret", b"tk_abcdefgh12345678"):
        assert secret not in kept


def test_a_message_is_tried_again_while_that_may_help(
    tmp_path: Path, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATUI_WEBHOOK_URL", f"{received.address}/x")
    received.statuses = [503, 429]
    run = ended(tmp_path, notify="webhook")
    sent = act(run).action("notify")
    assert sent is not None
    assert (sent.state, sent.attempts) == ("done", 3)
    received.statuses = [404]
    failed = act(run, "again").action("notify")
    assert failed is not None
    assert (failed.state, failed.attempts, "404" in failed.message) == ("failed", 1, True)


def test_a_redirect_is_not_followed(tmp_path: Path, received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_WEBHOOK_URL", f"{received.address}/x")
    received.statuses = [307, 307, 307, 307]
    assert act(ended(tmp_path, notify="webhook")).actions[0].state == "failed"
    assert len(received.requests) == 1


def test_without_an_address_the_message_says_how_to_give_one(tmp_path: Path) -> None:
    failed = act(ended(tmp_path, notify="ntfy")).actions[0]
    assert "--address ntfy_url" in failed.message


def test_a_file_of_addresses_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    addresses.keep("ntfy_url", "https://ntfy.sh/topic")
    assert addresses.file().stat().st_mode & 0o777 == 0o600
    addresses.file().chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        addresses.address("ntfy_url", {})
    assert "chmod 600" in act(ended(tmp_path, notify="ntfy")).actions[0].message


@pytest.mark.parametrize("value", ["ftp://x", "no address", "https://x y"])
def test_what_is_no_address_is_not_kept(value: str) -> None:
    with pytest.raises(UsageError):
        addresses.keep("webhook_url", value)


# ---- the choice


@pytest.mark.parametrize(
    "value",
    [{"copy_to": "rclone::s3,secret_access_key=abcdefghijklmnop:bucket"}, {"command": ("curl", "https://u:hunter22@host/x")}],
)
def test_a_choice_that_holds_a_secret_is_refused(tmp_path: Path, value: dict[str, object]) -> None:
    run = make(tmp_path)
    with pytest.raises(UsageError, match="secret"):
        choice.change(run, value)


@pytest.mark.parametrize("value", ["rsync:-e sh", "ftp:x", "hub:name", "rsync:", "rclone: x"])
def test_a_destination_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SchemaError):
        choice.change(make(tmp_path), {"copy_to": value})


def test_the_recipe_holds_until_the_choice_is_changed(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.when_finished.unlink()
    run.effective.write_text("format = 1\n[when_finished]\nnotify = 'ntfy'\ncountdown_s = 30\n")
    assert (choice.read(run).notify, choice.read(run).countdown_s) == ("ntfy", 30)
    choice.change(run, {"pod": "stop"})
    assert (choice.read(run).notify, choice.read(run).pod) == ("ntfy", "stop")


# ---- the pod


@pytest.fixture
def runpod(received: Received, monkeypatch: pytest.MonkeyPatch) -> Received:
    monkeypatch.setenv("RUNPOD_POD_ID", "abc123xyz")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_KEYKEYKEYKEY")
    monkeypatch.setattr(pod, "RUNPOD", f"{received.address}/v1")
    monkeypatch.setattr("loratui.engine.runs.when_finished.carry_out.erases", lambda *_: False)
    return received


def test_a_pod_goes_on_for_the_queue_and_stops_after_its_last_run(tmp_path: Path, runpod: Received) -> None:
    run = ended(tmp_path, pod="stop", countdown_s=10)
    queue_entries.change(tmp_path, lambda _: Queue(entries=(Entry(run=run.name), Entry(run="other-1"))))
    state = act(run, stopping=_NoWait())
    done = state.action("pod")
    assert done is not None
    assert (done.state, runpod.requests) == ("skipped", [])
    assert "1 more start" in done.message
    assert left(run, state) == ("pod",)
    queue_entries.change(tmp_path, lambda queue: Queue(entries=queue.entries, on_hold="The disk is full."))
    assert act(run, stopping=_NoWait()).action("pod") == read_state(run).action("pod")
    assert states(run) == {"pod": "done"}
    assert len(runpod.requests) == 1


def test_a_pod_of_runpod_is_stopped_by_its_api(tmp_path: Path, runpod: Received) -> None:
    run = make(tmp_path, pod="stop", countdown_s=10)
    end(run)
    state = act(run, stopping=_NoWait())
    assert [(m, p, h["Authorization"]) for m, p, h, _ in runpod.requests] == [
        ("POST", "/v1/pods/abc123xyz/stop", "Bearer rpa_KEYKEYKEYKEY")
    ]
    done = state.action("pod")
    assert done is not None
    assert (done.state, "billing its volume disk" in done.message) == ("done", True)
    assert [e.text("state") for e in events(run) if e.type == "action"] == ["waiting", "begun", "done"]
    assert b"rpa_KEY" not in run.events.read_bytes()


def test_an_instance_of_vast_is_stopped_by_its_api(tmp_path: Path, received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_CONTAINERLABEL", "C.4242")
    monkeypatch.setenv("CONTAINER_API_KEY", "0123456789abcdef0123")
    monkeypatch.setattr(pod, "VAST", f"{received.address}/api/v0")
    received.body = b'{"success": true}'
    act(ended(tmp_path, pod="stop"), stopping=_NoWait())
    ((method, path, headers, body),) = received.requests
    assert (method, path, headers["Authorization"]) == ("PUT", "/api/v0/instances/4242/", "Bearer 0123456789abcdef0123")
    assert json.loads(body) == {"state": "stopped"}
    received.body = b'{"success": false, "msg": "no such instance"}'
    run = ended(tmp_path, pod="stop")
    assert act(run, stopping=_NoWait()).actions[0].state == "failed"


def test_the_countdown_is_cancelled(tmp_path: Path, runpod: Received) -> None:
    asked = iter([""] * 3)
    run = ended(tmp_path, pod="stop")
    state = act(run, stopping=Never(lambda: next(asked, "cancelled")))
    assert states(run) == {"pod": "cancelled"}
    assert not runpod.requests
    assert state.ending is not None


@pytest.mark.parametrize("harm", ["changed", "gone", "failed copy", "erased"])
def test_a_pod_whose_files_are_not_safe_goes_on_running(
    tmp_path: Path, runpod: Received, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    run = make(tmp_path, pod="stop", **({"copy_to": "rsync:/proc/nowhere"} if harm == "failed copy" else {}))
    end(run)
    output = run.output / "anafox.safetensors"
    if harm == "changed":
        data = bytearray(output.read_bytes())
        data[-1] ^= 1
        output.write_bytes(data)
    elif harm == "gone":
        output.unlink()
    elif harm == "erased":
        monkeypatch.setattr("loratui.engine.runs.when_finished.carry_out.erases", lambda *_: True)
    state = act(run, stopping=_NoWait())
    kept = state.action("pod")
    assert kept is not None
    assert (kept.state, "goes on running" in kept.message) == ("failed", True), kept
    assert not runpod.requests


def test_a_failed_run_without_files_may_stop_its_pod_if_so_chosen(tmp_path: Path, runpod: Received) -> None:
    run = make(tmp_path, pod="stop", after_failure=True)
    end(run, "failed", output=False)
    act(run, stopping=_NoWait())
    assert len(runpod.requests) == 1


def test_the_providers_own_client_is_asked_where_the_key_is_refused(
    tmp_path: Path, runpod: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "bin" / "runpodctl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\n# A stand-in for runpodctl.\necho "$@" > {tmp_path}/asked\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    runpod.statuses = [403]
    state = act(ended(tmp_path, pod="stop"), stopping=_NoWait())
    assert state.actions[0].state == "done"
    assert (tmp_path / "asked").read_text().split() == ["stop", "pod", "abc123xyz"]


class _NoWait(Never):
    """A countdown that is over at once."""

    def wait(self, seconds: float) -> bool:
        del seconds
        return bool(self.why)


def test_a_second_output_is_compared_too(tmp_path: Path, runpod: Received) -> None:
    run = make(tmp_path, pod="stop")
    with EventLog.open(run.events) as log:
        step = write_output(run, log, "anafox-000020.safetensors", final=False)
    end(run)
    step.write_bytes(b"damaged")
    assert act(run, stopping=_NoWait()).actions[0].state == "failed"
    assert not runpod.requests


def test_a_run_that_was_taken_over_stops_no_pod(tmp_path: Path, runpod: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(tmp_path, pod="stop")
    right = fence.take(run.path, "here")

    def taken_over() -> str:
        other = {"v": 1, "number": 9, "id": "another", "host": "elsewhere", "pid": 1}
        sealed.write(run.path / fence.FILE, other, run.path)
        return ""

    try:
        with pytest.raises(fence.TakenOverError):
            act(run, stopping=_Countdown(taken_over))
    finally:
        right.close()
    assert not runpod.requests


class _Countdown(_NoWait):
    """A countdown in which something happens."""

    def wait(self, seconds: float) -> bool:
        self._ask()
        return super().wait(seconds)


def test_a_full_disk_keeps_no_pod_running(
    tmp_path: Path, runpod: Received, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the log does not take that the files were copied."""
    run = ended(tmp_path, pod="stop", copy_to="rsync:me@host:loras")
    monkeypatch.setattr(copying, "carry_out", lambda *_: Result("done", "2 files copied.", 1))
    log = EventLog.open(run.events)

    def full(*_: object, **__: object) -> int:
        raise DiskError("the disk is full")

    monkeypatch.setattr(log, "append", full)
    with log:
        Actions(run, log, _NoWait()).carry_out("left")
    assert len(runpod.requests) == 1
    assert "was not logged: the disk is full" in capsys.readouterr().err
