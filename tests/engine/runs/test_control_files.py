"""Commands reach the trainer once, in order, and are gone only after the log has the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loratui.engine import sealed
from loratui.engine.runs import changes, control
from loratui.engine.runs.control import Inbox, send
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={})


def test_commands_arrive_once_in_order_and_are_deleted_when_acknowledged(run: RunDirectory) -> None:
    with EventLog.open(run.events) as log:
        inbox = Inbox(run, log)
        assert inbox.poll() == []
        first = send(run, "sample", prompt="a photo of anafox")
        second = send(run, "pause")
        commands = inbox.poll()
        assert [(c.id, c.command, dict(c.args)) for c in commands] == [
            (first, "sample", {"prompt": "a photo of anafox"}),
            (second, "pause", {}),
        ]
        assert inbox.poll() == []
        assert len(names_in(run.control)) == 2
        inbox.acknowledge(commands[0], True, "done")
        assert [c.id for c in control.pending(run)] == [second]
        inbox.acknowledge(commands[1], False, "not now")
    assert names_in(run.control) == []
    acks = [e.fields for e in read_events(run.events).events]
    assert acks == [
        {"id": first, "command": "sample", "ok": True, "message": "done"},
        {"id": second, "command": "pause", "ok": False, "message": "not now"},
    ]


def test_the_most_and_longest_prompts_arrive(run: RunDirectory) -> None:
    prompts = ["🦊" * changes.LONGEST_PROMPT] * changes.MOST_PROMPTS
    identity = send(run, "set_samples", prompts=prompts)
    assert [(command.id, dict(command.args)) for command in control.pending(run)] == [(identity, {"prompts": prompts})]


def test_a_command_not_acknowledged_is_seen_by_the_next_trainer(run: RunDirectory) -> None:
    identity = send(run, "checkpoint")
    with EventLog.open(run.events) as log:
        assert [c.id for c in Inbox(run, log).poll()] == [identity]
        assert [c.id for c in Inbox(run, log).poll()] == [identity]


def test_ids_are_all_different_and_start_with_the_time(run: RunDirectory) -> None:
    ids = [send(run, "sample") for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(len(i) == 16 for i in ids)
    assert [i[:11] for i in ids] == sorted(i[:11] for i in ids)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0123456789abcdef-stop.json", b""),
        ("0123456789abcdef-stop.json", b"[" * 100_000),
        ("0123456789abcdef-stop.json", b'"stop"'),
        ("0123456789abcdef-stop.json", b'{"v":1,"id":"fedcba9876543210","command":"stop"}'),
        ("0123456789abcdef-stop.json", b'{"v":1,"id":"0123456789abcdef","command":"pause"}'),
        ("0123456789abcdef-stop.json", b'{"v":2,"id":"0123456789abcdef","command":"stop"}'),
        ("0123456789abcdef-stop.json", b'{"v":1,"id":"0123456789abcdef","command":"stop","args":[]}'),
        ("0123456789abcdef-abort.json", b'{"v":1,"id":"0123456789abcdef","command":"abort"}'),
        ("0123456789abcdef-stop.json", b'{"v":1,"id":"0123456789abcdef","command":["stop"]}'),
        ("stop\n\x1b[2J.json", b"{}"),
        ("caf\udce9.json", b"{}"),
    ],
)
def test_what_is_no_command_is_removed_with_a_warning(run: RunDirectory, name: str, content: bytes) -> None:
    (run.control / name).write_bytes(content)
    good = send(run, "stop")
    with EventLog.open(run.events) as log:
        assert [c.id for c in Inbox(run, log).poll()] == [good]
    assert names_in(run.control) == [f"{good}-stop.json"]
    (warning,) = read_events(run.events).events
    assert warning.get("code") == "bad_command_file"
    assert "\x1b" not in warning.get("message")
    assert "\n" not in warning.get("message")


def test_a_pipe_a_link_and_a_folder_do_not_block_the_trainer(run: RunDirectory) -> None:
    os.mkfifo(run.control / "0123456789abcdef-stop.json")
    (run.control / "1123456789abcdef-stop.json").symlink_to("/dev/zero")
    (run.control / "2123456789abcdef-stop.json").mkdir()
    with EventLog.open(run.events) as log:
        inbox = Inbox(run, log)
        assert inbox.poll() == []
        assert inbox.poll() == []
    assert len(read_events(run.events).events) == 3
    assert names_in(run.control) == ["2123456789abcdef-stop.json"]


def test_half_written_files_are_not_read(run: RunDirectory) -> None:
    (run.control / ".0123456789abcdef-stop.json.0a0b0c0d.tmp").write_text("{")
    with EventLog.open(run.events) as log:
        assert Inbox(run, log).poll() == []
    assert read_events(run.events).events == ()
    control.clear(run)
    assert names_in(run.control) == []


def test_withdrawing_takes_back_only_that_command(run: RunDirectory) -> None:
    first, second = send(run, "pause"), send(run, "sample")
    assert control.withdraw(run, first)
    assert not control.withdraw(run, first)
    assert [c.id for c in control.pending(run)] == [second]
    control.clear(run)
    assert control.pending(run) == []


def test_a_missing_control_folder_is_no_command_and_sending_makes_it(run: RunDirectory) -> None:
    run.control.rmdir()
    with EventLog.open(run.events) as log:
        assert Inbox(run, log).poll() == []
    identity = send(run, "stop")
    body = sealed.read(run.control / f"{identity}-stop.json", run.path)
    assert body == {"v": 1, "id": identity, "command": "stop", "args": {}}


def test_a_sender_killed_half_way_sends_nothing(run: RunDirectory) -> None:
    code = "import sys; from pathlib import Path; from loratui.engine.runs import control, directory\n"
    code += "control.send(directory.RunDirectory(Path(sys.argv[1])), 'stop')"
    env = {**os.environ, "LORATUI_FAILPOINT": "write_file.written:1"}
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], env=env, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert control.pending(run) == []


def test_commands_of_the_same_millisecond_keep_their_order(run: RunDirectory) -> None:
    sent = [control.send(run, name) for name in ("sample", "checkpoint") * 20]
    assert sent == sorted(sent)
    assert [command.id for command in control.pending(run)] == sent
