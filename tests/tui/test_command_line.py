"""The command itself, where what it is given or writes to is hostile: arguments, outputs that are closed or full, an odd environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run

from loratui.tui.cli import main
from loratui.tui.terminal import drop_absurd

LORATUI = f"{sys.executable} -m loratui.tui.cli"


def shell(home: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which LORATUI stands for the command; its exit code is that of the first in a pipe."""
    line = line.replace("LORATUI", f"{LORATUI} --home {home}") + "; exit ${PIPESTATUS[0]}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments", [["--a\x1b[31mb"], ["runs", "a\x1b[31mb"], ["status", "--watch", "\x1b[31m"], ["check", "--x\x1b]0;"]]
)
def test_wrong_arguments_are_told_without_their_control_bytes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "␛" in told


def test_the_name_of_a_run_is_told_without_its_control_bytes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    odd = run.path.rename(home / "a\x1b[31mb")
    assert main(["attach", f"{odd}/", "--plain"]) == 0
    (odd / "events.jsonl").write_bytes(b"")
    main(["attach", f"{odd}/", "--plain"])
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "a␛[31mb is done." in told.out
    assert "a␛[31mb ended without a last word" in told.out


@pytest.mark.parametrize("command", ["LORATUI --version", "LORATUI --help", "LORATUI runs", "LORATUI presets --json"])
def test_outputs_that_take_nothing(home: Path, command: str) -> None:
    closed = shell(home, f"{command} | true")
    assert (closed.returncode, closed.stderr) in ((141, ""), (0, ""))
    full = shell(home, f"{command} > /dev/full")
    assert full.returncode == 20
    assert full.stderr.startswith("error: Cannot write the output: the disk is full.")
    for nowhere in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        done = shell(home, f"{command} {nowhere}")
        assert (done.returncode, done.stderr) == (0, ""), nowhere
    assert not list(home.glob("reports/*"))


def test_errors_that_nobody_can_be_told_keep_their_exit_code(home: Path) -> None:
    assert shell(home, "LORATUI status nothing 2>/dev/full").returncode == 2
    assert shell(home, "LORATUI status nothing 2>&-").returncode == 2
    assert shell(home, "LORATUI --plain <&-").returncode in (0, 2)
    assert not list(home.glob("reports/*"))


def test_absurd_values_of_the_environment_go_and_others_stay() -> None:
    absurd = {"TEXTUAL_COLOR_SYSTEM": "bogus", "COLUMNS": "999999", "LINES": "-5"}
    drop_absurd(absurd)
    assert absurd == {}
    usual = {"TEXTUAL_COLOR_SYSTEM": "256", "COLUMNS": "300", "LINES": "90", "TERM": "xterm"}
    drop_absurd(usual)
    assert usual.keys() == {"TEXTUAL_COLOR_SYSTEM", "COLUMNS", "LINES", "TERM"}


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e30", "-1", "0", "4000", "soon"])
def test_an_interval_that_is_none_is_refused(home: Path, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    with pytest.raises(SystemExit) as ended:
        main(["status", run.name, f"--watch={seconds}"])
    assert ended.value.code == 2
    assert "from 0.1 to 3600" in capsys.readouterr().err
    assert main(["status", run.name, "--watch", "0.5"]) == 0


def test_of_a_run_that_nobody_works_on_no_time_is_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(100)
        main(["status", run.name])
        assert " left" in capsys.readouterr().out
    for command in (["status", run.name], ["status", run.name, "--watch"], ["attach", run.name, "--plain"]):
        main(command)
        assert " left" not in capsys.readouterr().out


def test_damaged_lines_of_the_log_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    main(["status", run.name])
    assert "damaged line" not in capsys.readouterr().out
    with run.events.open("ab") as log:
        log.write(b"{}\nnonsense\n\x00\n")
    main(["status", run.name])
    assert "3 damaged lines of the log were left out" in capsys.readouterr().out
