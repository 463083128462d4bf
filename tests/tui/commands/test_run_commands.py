"""The commands about runs, from the command line to a simulated trainer and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeTrainer, finished_run, make_run

from loratui.engine import sealed
from loratui.engine.planning.world import OWN_STORE
from loratui.engine.runs import control, lock, ownership
from loratui.engine.runs.directory import RunDirectory, list_runs, open_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.summary import summarise
from loratui.presets import SHIPPED
from loratui.tui import cli
from loratui.tui.commands import common

IMAGES = str(SHIPPED / "bases" / "anafox")
TRAIN = ["train", IMAGES, "--preset", "demo", "--trigger", "anafox", "--class", "woman"]
WHOLE = [[["steps", 40], ["checkpoint", 40], ["final"], ["exit", 0]]]
SERVING = [[["steps", 5], ["checkpoint", 5], ["serve"]]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own and a simulated trainer; whatever still runs at the end is ended."""
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "faults" / "replaced"))
    simulate(monkeypatch, WHOLE)
    yield tmp_path / "home"
    for run in list_runs(tmp_path / "home"):
        if lock.is_held(run.lock) and (owner := lock.read_owner(run.lock)):
            owner.supervisor.send_signal(signal.SIGKILL)
            owner.trainer.send_signal(signal.SIGKILL)


def simulate(monkeypatch: pytest.MonkeyPatch, attempts: list[Any]) -> None:
    monkeypatch.setenv("SIMULATED_TRAINER", json.dumps(attempts))


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def only_run(home: Path) -> RunDirectory:
    (run,) = list_runs(home)
    return run


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def serving(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunDirectory:
    """A run whose trainer has made five steps and waits for commands."""
    simulate(monkeypatch, SERVING)
    started = subprocess.Popen(
        [sys.executable, "-m", "loratui.tui.cli", *TRAIN], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for(lambda: list_runs(home) and summarise(only_run(home)).state.step == 5)
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=90)
    assert started.returncode == 0
    assert f"loratui attach {only_run(home).name}" in output
    assert lock.is_held(only_run(home).lock)
    capsys.readouterr()
    return only_run(home)


def test_train_follows_to_the_end_and_names_the_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(TRAIN) == 0
    lines = capsys.readouterr().out.splitlines()
    run = only_run(home)
    assert lines[-1] == f"LoRA file: {run.output / 'x.safetensors'}"
    assert any("18 images × 10 repeats = 180 image-steps an epoch" in line for line in lines)
    assert run.name.startswith("anafox-")
    assert 'trigger = "anafox"' in run.recipe.read_text()
    assert len(json.loads(run.dataset.read_text())["images"]) == 18


def test_train_for_scripts_prints_one_object_and_has_the_exit_code_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*TRAIN, "--wait", "--json"]) == 0
    captured = capsys.readouterr()
    value = json.loads(captured.out)
    assert (value["status"], value["exit_code"]) == ("done", 0)
    assert (value["optimizer_steps"], value["planned_optimizer_steps"]) == (40, 40)
    assert (value["image_steps"], value["planned_image_steps"]) == (80, 80)
    assert Path(value["output"]).is_file()
    assert value["seconds"] > 0
    assert "All steps are done" in captured.err
    simulate(monkeypatch, [[["steps", 3], ["fail", 34, "Too little memory.", "Try --batch 1."]]])
    assert cli.main([*TRAIN, "--wait", "--json"]) == 34
    value = result(capsys)
    assert (value["status"], value["exit_code"], value["output"]) == ("failed", 34, None)
    assert (value["reason"], value["advice"]) == ("Too little memory.", "Try --batch 1.")


def test_a_run_of_several_machines_is_made_and_the_line_that_starts_it_is_printed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*TRAIN, "--gpus", "4", "--machines", "2", "--yes", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    run = only_run(home)
    assert (made["run"], made["path"]) == (run.name, str(run.path))
    assert made["command"].startswith(f"{OWN_STORE}=1 torchrun --nnodes 2 --nproc-per-node 2 ")
    assert made["command"].endswith(f" -m loratui.engine.training {run.path}")
    assert "processes = 4" in run.effective.read_text()
    assert not run.events.exists()


def test_a_recipe_that_was_saved_runs_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*TRAIN, "--set", "adapter.rank=8", "--wait"]) == 0
    first = only_run(home)
    assert cli.main(["train", str(first.recipe), "--wait", "--batch", "1"]) == 0
    again = list_runs(home)[0]
    assert again.name != first.name
    assert "rank = 8" in again.effective.read_text()
    assert "batch_size = 1" in again.effective.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "{tmp}/none", "--preset", "demo"], 3, "none"),
        (["train", "{tmp}/empty", "--preset", "demo"], 3, "empty"),
        (["train", "{tmp}/texts", "--preset", "demo"], 3, "texts"),
        (["train", "{tmp}/a-file", "--preset", "demo"], 2, "a-file"),
        (["train", IMAGES], 2, "--preset NAME: "),
        (["train", IMAGES, "--preset", "dmeo"], 2, "demo"),
        (["train", "--preset", "demo"], 2, "No folder"),
        (["train", IMAGES, "--preset", "demo", "--set", "adapter.rnak=3"], 2, "did you mean adapter.rank"),
        (["train", IMAGES, "--preset", "demo", "--set", "adapter.rank"], 2, "KEY=VALUE"),
        (["train", IMAGES, "--preset", "demo", "--set", "adapter.rank=many"], 2, "adapter.rank"),
        (["train", IMAGES, "--preset", "demo", "--batch", "0"], 2, "training.batch_size"),
        (["train", IMAGES, "--preset", "demo", "--gpus", "0"], 2, "--gpus 0"),
        (["train", IMAGES, "--preset", "demo", "--gpus", "2"], 2, "2 processes cannot train here"),
        (["train", IMAGES, "--preset", "demo", "--gpus", "3", "--machines", "2"], 2, "--machines 2"),
        (["train", IMAGES, "--preset", "demo", "--repeats", "some"], 2, "--repeats some"),
        (["train", IMAGES, "--dataset", "{tmp}/empty", "--preset", "demo"], 2, "Two folders"),
        (["train", IMAGES, "--preset", "demo", "--base", "{tmp}/none"], 2, "no such base model"),
        (["train", IMAGES, "--preset", "demo", "--base", "{tmp}/model.ckpt"], 2, ".ckpt"),
        (["train", "{tmp}/none.toml"], 2, "no such recipe"),
        (["train", "{tmp}/some.toml", "--preset", "demo"], 2, "--preset"),
        (["train", IMAGES, "--preset", "demo", "--home", "{tmp}/a-file"], 2, "a-file"),
        (["--home", "{tmp}/a-file", "train", IMAGES, "--preset", "demo"], 2, "a-file"),
        (["--home", "{tmp}/a-file", "runs"], 2, "a-file is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    (tmp_path / "a-file").write_text("")
    (tmp_path / "some.toml").write_text("format = 1\n")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main([word.replace("{tmp}", str(tmp_path)) for word in arguments]) == code
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert "Traceback" not in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_home_that_cannot_be_written_is_refused_and_nothing_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0:
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, how, **rest: real(path, how, **rest) and Path(path) != home.parent)
    else:
        home.parent.chmod(0o500)
    assert cli.main(TRAIN) == 20
    assert "loratui cannot write here" in capsys.readouterr().err
    assert not home.exists()


def test_runs_lists_what_there_is(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["runs"]) == 0
    assert "There are no runs" in capsys.readouterr().out
    cli.main([*TRAIN, "--wait"])
    simulate(monkeypatch, [[["steps", 3], ["exit", 10]]])
    cli.main([*TRAIN, "--wait"])
    capsys.readouterr()
    assert cli.main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "status", "steps", "smoothed", "loss", "preset", "created"]
    assert "paused" in lines[1]
    assert "3 of 40" in lines[1]
    assert "done" in lines[2]
    assert cli.main(["runs", "--json"]) == 0
    value = result(capsys)
    assert value["home"] == str(home)
    assert [(run["status"], run["step"], run["active"]) for run in value["runs"]] == [("paused", 3, False), ("done", 40, False)]


def test_pause_waits_for_the_end_and_resume_goes_on(
    serving: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pause", serving.name, "--json"]) == 0
    value = result(capsys)
    assert (value["ok"], value["status"], value["exit_code"]) == (True, "paused", 10)
    assert not lock.is_held(serving.lock)
    simulate(monkeypatch, WHOLE)
    assert cli.main(["resume", "--wait", "--json"]) == 0
    value = result(capsys)
    assert (value["run"], value["status"], value["optimizer_steps"]) == (serving.name, "done", 40)
    assert cli.main(["resume"]) == 2
    assert "nothing is left to resume" in capsys.readouterr().err


def test_stop_ends_a_run_for_good(serving: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop"]) == 0
    assert f"{serving.name} is stopped." in capsys.readouterr().out
    assert summarise(serving).exit_code == 143
    for command in ("stop", "pause", "sample", "checkpoint"):
        assert cli.main([command]) == 2
        assert "is not running; it is stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "command"),
    [(["sample"], "sample"), (["checkpoint"], "checkpoint"), (["stop", "--after-epoch"], "stop_after_epoch")],
)
def test_a_command_that_goes_on_is_answered(
    serving: RunDirectory, capsys: pytest.CaptureFixture[str], argv: list[str], command: str
) -> None:
    assert cli.main([*argv, "--json"]) == 0
    value = result(capsys)
    assert value["command"] == command
    assert (value["ok"], value["message"], value["status"], value["exit_code"]) == (True, "done", "running", None)
    assert lock.is_held(serving.lock)


def test_a_second_start_is_refused(serving: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["resume", serving.name]) == 2
    assert f"{serving.name} is already running" in capsys.readouterr().err
    assert cli.main(["rm", serving.name, "--yes"]) == 2
    assert "is running" in capsys.readouterr().err
    assert serving.path.is_dir()


@pytest.mark.parametrize("timeout", ["0.5", "0.001"])
def test_a_trainer_that_does_not_answer_is_reported_and_can_be_killed(
    timeout: str, serving: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = lock.read_owner(serving.lock)
    assert owner is not None
    os.kill(owner.trainer.pid, signal.SIGSTOP)
    assert cli.main(["checkpoint", "--timeout", "0.2"]) == 1
    assert "has not answered yet" in capsys.readouterr().out
    assert len(control.pending(serving)) == 1
    assert cli.main(["stop", "--timeout", timeout, "--kill", "--json"]) == 0
    value = result(capsys)
    assert (value["ok"], value["status"], value["exit_code"]) == (True, "stopped", 143)
    assert value["message"] == "The trainer was killed (signal 9), as stop --kill asks for where it does not answer."
    assert [command.command for command in control.pending(serving)] == ["checkpoint"]


@pytest.mark.parametrize("seconds", ["nan", "-3", "0"])
def test_a_timeout_that_is_none_is_refused(serving: RunDirectory, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop", "--timeout", seconds]) == 2
    assert "expected seconds above 0" in capsys.readouterr().err
    assert control.pending(serving) == []


def test_a_refused_command_is_two(serving: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    owner = lock.read_owner(serving.lock)
    assert owner is not None
    os.kill(owner.trainer.pid, signal.SIGSTOP)
    answering = subprocess.Popen(
        [sys.executable, "-m", "loratui.tui.cli", "sample", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    (command,) = wait_for(lambda: control.pending(serving))
    with EventLog.open(serving.events) as log:
        control.Inbox(serving, log).acknowledge(command, False, "The base is still loading.")
    output, _ = answering.communicate(timeout=90)
    assert answering.returncode == 2
    assert json.loads(output)["message"] == "The base is still loading."


def test_attach_shows_how_it_stands_and_follows(serving: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    attached = subprocess.Popen(
        [sys.executable, "-m", "loratui.tui.cli", "attach", "--plain"], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert attached.stdout is not None
    assert attached.stdout.readline() == f"{serving.name} is running.\n"
    assert attached.stdout.readline().startswith("step 5 of 40 (12 %)")
    assert cli.main(["stop"]) == 0
    output, _ = attached.communicate(timeout=90)
    assert attached.returncode == 143
    assert "Stopped as asked." in output
    capsys.readouterr()
    assert cli.main(["attach", serving.name, "--json"]) == 143
    assert result(capsys)["status"] == "stopped"


def test_attach_without_a_name_prefers_the_run_that_is_at_work(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    working = make_run(home, "working")
    with FakeTrainer(working) as trainer:
        trainer.start()
        trainer.steps(3)
        later = finished_run(home, "later")
        assert open_run(home, "latest").name == later.name
        attached = subprocess.Popen(
            [sys.executable, "-m", "loratui.tui.cli", "attach", "--plain"], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert attached.stdout is not None
        assert attached.stdout.readline() == f"{working.name} is running.\n"
        attached.kill()
        attached.communicate()
    assert cli.main(["attach", "--plain"]) == 0
    assert f"{later.name} is done." in capsys.readouterr().out


WITH_A_RUN = ("attach", "status", "pause", "resume", "stop", "sample", "checkpoint", "validate", "export")


@pytest.mark.parametrize("command", WITH_A_RUN)
def test_without_a_name_every_command_means_the_active_run_and_says_which(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    args = cli.build_parser([command]).parse_args([command])
    finished_run(home, "older")
    working = make_run(home, "working")
    with FakeTrainer(working) as trainer:
        trainer.start()
        later = finished_run(home, "later")
        assert common.chosen_run(args).name == working.name
        assert capsys.readouterr().err == f"{working.name}: the active run.\n"
    assert common.chosen_run(args).name == later.name
    assert capsys.readouterr().err == f"{later.name}: the newest run (none is active).\n"
    named = cli.build_parser([command]).parse_args([command, working.name])
    assert common.chosen_run(named).name == working.name
    assert capsys.readouterr().err == ""


def test_on_a_shared_machine_ones_own_run_is_meant(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`loratui stop` ended another account's run where that was the newer one."""
    monkeypatch.setattr(ownership, "foreign_owner", lambda path: "anna" if path.name.startswith("theirs") else "")
    args = cli.build_parser(["stop"]).parse_args(["stop"])
    with FakeTrainer(make_run(home, "theirs")) as other:
        other.start()
        assert common.chosen_run(args).name.startswith("theirs")
        assert capsys.readouterr().err.endswith(": the active run, of anna.\n")
        with FakeTrainer(own := make_run(home, "mine"), "validate") as trainer:
            trainer.start()
            assert common.chosen_run(args).name == own.name
            assert capsys.readouterr().err == f"{own.name}: the active run.\n"


def test_validate_needs_a_file_and_lists_its_images(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(monkeypatch, [[["exit", 0]]])
    cli.main([*TRAIN, "--wait"])
    assert cli.main(["validate"]) == 2
    assert "no LoRA file yet" in capsys.readouterr().err
    run = only_run(home)
    (run.output / "x.safetensors").write_bytes(b"x")
    simulate(monkeypatch, [[["image", "a.png"], ["image", "b.png"], ["exit", 0]]])
    assert cli.main(["validate", "--wait", "--json"]) == 0
    value = result(capsys)
    assert value["status"] == "done"
    assert [Path(image["path"]).name for image in value["pictures"]] == ["a.png", "b.png"]
    assert value["grid"] is None
    assert value["parts"] == [], "nothing was measured"
    assert set(value["pictures"][0]) == {"path", "grid", "prompt", "strength", "seed", "file", "nearest", "similarity"}
    assert summarise(run).status == "done"
    wish = json.loads((run.validation / "wish.json").read_text())
    assert (wish["grids"], wish["prompts"], wish["strengths"]) == (["strengths", "checkpoints"], None, None)
    row = {
        "id": "sharpness",
        "value": None,
        **dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "x"),
    }
    part = {"id": "quality", "status": "unknown", "measures": [row], "images": [{"path": "validation/a.png", "values": {}}]}
    (run.validation / "measures.json").write_text(json.dumps({"format": 1, "parts": [part]}))
    assert cli.main(["validate", "--wait", "--json"]) == 0
    assert result(capsys)["parts"] == [{**part, "images": [{"path": str(run.path / "validation/a.png"), "values": {}}]}]
    options = [
        "--grid",
        "strengths",
        "--file",
        "x.safetensors",
        "--prompt",
        "{class}, red",
        "--strengths",
        "0,1",
        "--seeds",
        "2",
    ]
    assert cli.main(["validate", *options, "--wait", "--json"]) == 0
    wish = json.loads((run.validation / "wish.json").read_text())
    assert {name: wish[name] for name in wish if name not in (sealed.CRC, sealed.RUN)} == {
        "format": 2, "grids": ["strengths"], "file": "output/x.safetensors",
        "prompts": ["{class}, red"], "strengths": [0.0, 1.0], "seeds": 2, "files": None, "complete": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lora", "HOME/no.safetensors"], "On which base?"),
        (["--lora", "HOME/no.safetensors", "--base", "embedded:sd15"], "no.safetensors"),
        (["--lora", "HOME/gone.safetensors", "--base", "embedded:sd15"], "no such file"),
        (["--lora", "HOME/no.safetensors", "--base", "HOME/gone"], "gone"),
        (["--lora", "HOME/no.safetensors", "--base", "embedded:flux", "--preset", "demo"], "another kind of base"),
        (["some-run", "--lora", "x"], "Give only one"),
        (["--images", "x"], "--images belongs to a file"),
        (["--class", "x"], "--class belongs to a file"),
    ],
)
def test_validate_of_a_file_says_what_is_missing_or_does_not_fit(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    home.mkdir(exist_ok=True)
    (home / "no.safetensors").write_bytes(b"x")
    assert cli.main(["validate", *(word.replace("HOME", str(home)) for word in words)]) == 2
    assert said in capsys.readouterr().err
    assert not list((home / "runs").glob("*")), "no run is left of it"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--file", "y.safetensors"], "no such file"),
        (["--strengths", "0,-1"], "at least 0"),
        (["--strengths", "much"], "strengths"),
        (["--seeds", "0"], "too small"),
    ],
)
def test_validate_refuses_what_cannot_be_made(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    simulate(monkeypatch, [[["exit", 0]]])
    cli.main([*TRAIN, "--wait"])
    (only_run(home).output / "x.safetensors").write_bytes(b"x")
    assert cli.main(["validate", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (only_run(home).validation / "wish.json").exists()


def test_rm_asks_and_deletes(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([*TRAIN, "--wait"])
    run = only_run(home)
    assert cli.main(["rm", run.name]) == 2
    assert "Add --yes" in capsys.readouterr().err
    monkeypatch.setattr("loratui.tui.commands.common.can_ask", lambda: True)
    answers = iter(["n\n", "", "y\n"])
    monkeypatch.setattr("sys.stdin", type("Typed", (), {"readline": lambda self: next(answers)})())
    for _ in range(2):
        assert cli.main(["rm", run.name]) == 2
        assert run.path.is_dir()
    assert cli.main(["rm", run.name, "--json"]) == 0
    captured = capsys.readouterr()
    assert "1 LoRA file" in captured.err
    value = json.loads(captured.out)
    assert (value["run"], value["deleted"]) == (run.name, True)
    assert not run.path.exists()
    assert cli.main(["rm", run.name, "--yes"]) == 2


def test_doctor_tells_and_leaves_no_trace(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["doctor", "--json"])
    value = result(capsys)
    assert code == (0 if value["ok"] else 1)
    assert value["home"] == str(home)
    assert value["write"]["ok"]
    assert value["cpu"]["allowed_cpus"] >= 1
    assert value["packages"]["textual"]
    assert not home.exists()
    cli.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("RAM") for line in lines)


def test_doctor_names_what_is_wrong(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("")
    monkeypatch.setattr("loratui.tui.commands.doctor.PACKAGES", ("loratui", "no-such-package"))
    assert cli.main(["doctor", "--json"]) == 1
    value = result(capsys)
    assert not value["ok"]
    assert any("no-such-package" in problem for problem in value["problems"])
    assert any("a file stands where a folder is needed" in problem for problem in value["problems"])


def test_the_commands_load_neither_torch_nor_numpy_nor_textual() -> None:
    code = "import sys; from loratui.tui import cli\n"
    code += "for words in (['runs'], ['doctor', '--json'], ['stop'], ['rm', 'x', '--yes'], ['resume'], ['validate']):\n"
    code += "    cli.main(words)\n"
    code += "bad = {'torch', 'numpy', 'textual', 'diffusers', 'transformers', 'peft'} & set(sys.modules)\n"
    code += "sys.exit(f'loaded: {bad}' if bad else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
