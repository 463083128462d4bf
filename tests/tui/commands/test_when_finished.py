"""`loratui when-finished`: it shows, changes, tests, cancels and carries out what follows a run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ended_runs import Received, ended, make, server, states

from loratui.engine.machine import addresses
from loratui.engine.runs.when_finished import choice
from loratui.tui import cli


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    for name in (one for names in addresses.VARIABLES.values() for one in names):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def received() -> Iterator[Received]:
    with server() as running:
        yield running


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert cli.main(["when-finished", *words]) == code
    found = capsys.readouterr()
    return found.err if code == 2 else found.out


def test_it_shows_and_changes_what_is_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(home)
    assert "nothing is done" in said(capsys, run.name)
    words = (
        "--notify",
        "ntfy",
        "--run-command",
        "sh -c 'echo \"a b\"'",
        "--pod",
        "stop",
        "--countdown",
        "30",
        "--after-failure",
        "yes",
    )
    told = said(capsys, run.name, *words)
    assert "notify by ntfy; stop the pod after 30 s" in told
    assert "Also after a failure." in told
    assert choice.read(run).command == ("sh", "-c", 'echo "a b"')
    found = json.loads(said(capsys, run.name, "--json", "--run-command", "none", "--copy-to", "rsync:host:loras"))
    assert found["chosen"] == {
        "copy_to": "rsync:host:loras",
        "command": [],
        "notify": "ntfy",
        "pod": "stop",
        "countdown_s": 30,
        "after_failure": True,
        "after_pause": False,
    }
    assert "nothing is done" in said(capsys, run.name, "--nothing")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--countdown", "1"), "too small"),
        (("--copy-to", "ftp:x"), "does not look like"),
        (("--run-command", "echo 'open"), "quotation mark"),
        (("--test",), "Nobody is notified"),
        (("--cancel",), "Nothing is being done"),
        (("--now",), "Nothing is left"),
    ],
)
def test_what_cannot_be_is_said(home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], error: str) -> None:
    run = ended(home)
    assert error in said(capsys, run.name, *words, code=2)


def test_a_test_message_is_sent(
    home: Path, capsys: pytest.CaptureFixture[str], received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(home, notify="both")
    monkeypatch.setenv("LORATUI_NTFY_URL", f"{received.address}/topic")
    told = said(capsys, run.name, "--test", "--json", code=1)
    tests = {one["channel"]: one["ok"] for one in json.loads(told)["tests"]}
    assert tests == {"webhook": False, "ntfy": True}
    assert b"A test message" in received.requests[0][3]


def test_an_address_is_read_from_a_pipe_and_never_shown(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("https://ntfy.sh/secret-topic-1\n"))
    assert "secret" not in said(capsys, "--address", "ntfy_url")
    assert addresses.address("ntfy_url", {}) == "https://ntfy.sh/secret-topic-1"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    said(capsys, "--address", "ntfy_url")
    assert addresses.address("ntfy_url", {}) == ""


def test_what_is_left_is_carried_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ended(home, command=("true",))
    assert "Not done yet: command" in said(capsys, run.name)
    said(capsys, run.name, "--now")
    assert states(run) == {"command": "done"}
    choice.change(run, {"command": ("false",)})
    said(capsys, run.name, "--again", code=1)
    assert states(run) == {"command": "failed"}


def test_resume_of_a_finished_run_carries_out_what_is_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ended(home, command=("true",))
    assert cli.main(["resume", run.name]) == 0
    assert "what was chosen for its end is carried out" in capsys.readouterr().out
    assert states(run) == {"command": "done"}
    assert cli.main(["resume", run.name]) == 2
