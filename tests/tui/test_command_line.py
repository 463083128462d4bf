"""The command itself, where what it is given or writes to is hostile: arguments, outputs that are closed or full, an odd environment."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run

from loratui.tui.cli import COMMANDS, build_parser, main
from loratui.tui.terminal import drop_absurd

LORATUI = f"{sys.executable} -m loratui.tui.cli"


def shell(home: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which LORATUI stands for the command; its exit code is that of the first in a pipe."""
    line = line.replace("LORATUI", f"{LORATUI} --home {home}") + "; exit ${PIPESTATUS[0]}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [["--a\x1b[31mb"], ["runs", "a\x1b[31mb"], ["check", "--x\x1b]0;"]])
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
    assert main(["status", run.name, f"--watch={seconds}"]) == 2
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


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = COMMANDS[name].examples
    assert examples
    for example in examples:
        command = example.partition("loratui ")[2].partition(")")[0].split(" >")[0]
        words = shlex.split(command)
        assert words[0] == name
        build_parser(words).parse_args(words)
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert all(f"  {example}\n" in shown for example in examples)
    with pytest.raises(SystemExit):
        main(["help", name])
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "trian: unknown command. Did you mean train?"),
        (["train", "x", "--pirce", "3"], "--pirce: unknown option. Did you mean --price?"),
        (["train", "x", "--pirce=3"], "--pirce=3: unknown option. Did you mean --price?"),
        (["status", "one", "two"], "two: unknown argument."),
        (["export", "--format", "konya"], "argument --format: konya: not a valid value. Did you mean kohya?"),
        (["export", "--dtype", "q"], "argument --dtype: q: not a valid value. Choose from fp16, bf16, fp32."),
        (["help", "exprot"], "exprot: unknown command. Did you mean export?"),
        (["help", "nonsense"], "nonsense: unknown command."),
    ],
)
def test_mistyped_words_are_told_with_the_nearest_that_is_right(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {told}"


def test_a_folder_in_the_place_of_a_command_is_told_how_to_train_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my photos").mkdir()
    for name in ("set.ZIP", "recipe.toml", "a.safetensors"):
        (tmp_path / name).touch()
    told = {
        "my photos": "loratui train 'my photos' --preset NAME --trigger WORD",
        "~/my photos": "loratui train '~/my photos' --preset NAME --trigger WORD",
        "./set.ZIP": "loratui train ./set.ZIP --preset NAME --trigger WORD",
        "recipe.toml": "loratui train recipe.toml",
        "a.safetensors": "loratui bases a.safetensors",
        "~nobody/x": "unknown command",
        "x" * 300: "unknown command",
    }
    for word, words in told.items():
        with pytest.raises(SystemExit) as ended:
            main([word])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["train", "runs", "status"])
def test_a_home_may_be_called_like_a_command(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORATUI_HOME", "elsewhere")  # put back afterwards, since --home sets it
    assert main(["--home", folder, "runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["home"] == str(tmp_path / folder)
    assert main(["--home", folder, "status"]) == 2
    assert f"no runs in {tmp_path / folder}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["runs", "--home"])
    assert capsys.readouterr().err.startswith("error: argument --home: expected one argument")


def test_version_by_its_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-V"]) == 0
    assert capsys.readouterr().out.startswith("loratui ")


def test_a_preset_is_shown_by_its_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets", "sd15-portrait"])
    short = capsys.readouterr().out
    main(["presets", "show", "sd15-portrait"])
    assert capsys.readouterr().out == short
    assert main(["presets", "sd15-portrait", "sdxl-person"]) == 2
    assert main(["presets", "show"]) == 2
    main(["presets", "list"])
    assert "sdxl-person: " in capsys.readouterr().out


def test_the_run_may_follow_watch(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(home, "other")
    run = finished_run(home)
    assert main(["status", "--watch", run.name]) == 0
    assert main(["status", "--watch", "0.5", run.name]) == 0
    assert main(["status", run.name, "--watch"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["status", "--watch", "none-of-them"]) == 2


def offered(home: Path, line: str) -> set[str]:
    """What the shell is told may come next."""
    told = home / "told"
    variables = f"_ARGCOMPLETE=1 _ARGCOMPLETE_IFS=' ' COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}"
    assert shell(home, f"{variables} LORATUI 8>{told} 9>/dev/null").returncode == 0
    return set(told.read_text().split())


def test_the_shell_is_offered_commands_options_runs_presets_and_settings(home: Path) -> None:
    run = finished_run(home)
    assert {"train"} == offered(home, "loratui tra")
    assert {"--price"} <= offered(home, "loratui train --pri")
    assert {run.name} == offered(home, f"loratui --home {home} status {run.name[:4]}")
    assert {"sd15-portrait", "sd15-portrait:anime"} == offered(home, "loratui presets sd15-p")
    assert {"adapter.rank="} <= offered(home, "loratui train --set adapter.ra")


def test_the_shell_is_offered_values_of_settings_and_runs_of_the_home_that_was_named(home: Path, tmp_path: Path) -> None:
    assert {"loha", "lokr"} <= {word.rpartition("=")[2] for word in offered(home, "loratui train --set adapter.kind=l")}
    assert {"true"} == {word.rpartition("=")[2] for word in offered(home, "loratui train --set dataset.flip=t")}
    elsewhere = finished_run(tmp_path / "elsewhere")
    assert elsewhere.name in offered(home, f"loratui --home {tmp_path / 'elsewhere'} rm ")
    assert elsewhere.name in offered(home, f"loratui status --home={tmp_path / 'elsewhere'} ")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", kind]) == 0
    told = capsys.readouterr().out
    assert "_ARGCOMPLETE" in told
    assert told.startswith("(( $+functions[compdef] ))") == (kind == "zsh")
