"""A fault of the app itself: a sentence and a report without secrets, and the run does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeTrainer, make_run
from hypothesis import given
from hypothesis import strategies as st
from screen_text import shows

from loratui.tui import cli, crash
from loratui.tui.app import LoratuiApp
from loratui.tui.screens.base import LoratuiScreen


@pytest.mark.parametrize(
    ("text", "gone", "stays"),
    [
        ("token hf_abcdefghijklmnop in a line", "abcdefghijklmnop", "[hidden] in a line"),
        ("Authorization: Bearer abc.def.ghi", "abc.def", "[hidden]"),
        ("https://me:hunter22@example.org/x", "hunter22", "example.org"),
        ("password=hunter22&x=1", "hunter22", "x=1"),
        ("/home/anna/photos/1.png", "anna", "/photos/1.png"),
        ("/Users/anna/photos/1.png", "anna", "/photos/1.png"),
        ("'api_key': 'abcdef123'", "abcdef123", "api_key"),
    ],
)
def test_secrets_and_names_do_not_reach_a_report(text: str, gone: str, stays: str) -> None:
    cleaned = crash.scrubbed(text, {})
    assert gone not in cleaned
    assert stays in cleaned


def test_values_of_secret_variables_and_the_home_folder_go() -> None:
    environ = {"HF_TOKEN": "verysecretvalue", "HOME": "/root", "TERM": "xterm"}
    assert crash.scrubbed("verysecretvalue in /root/x and /rooted", environ) == "[hidden] in ~/x and /rooted"


@given(st.text(max_size=300))
def test_any_text_can_be_scrubbed(text: str) -> None:
    assert isinstance(crash.scrubbed(text, {"HOME": "/"}), str)


def test_a_report_is_for_its_owner_alone_and_tells_what_happened(tmp_path: Path) -> None:
    try:
        raise RuntimeError("hf_abcdefghijkl was wrong")
    except RuntimeError as error:
        path = crash.write_crash_report(error, tmp_path, ["an earlier error"])
    assert path is not None
    assert path.parent == tmp_path / "reports"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "RuntimeError: [hidden] was wrong" in text
    assert "an earlier error" in text
    assert "textual" in text


def test_a_home_that_takes_nothing_sends_the_report_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "home").write_text("a file")
    path = crash.write_crash_report(ValueError("x"), tmp_path / "home")
    assert path is not None
    assert path.parent == tmp_path / "temporary"
    (tmp_path / "temporary2").write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary2"))
    assert crash.write_crash_report(ValueError("x"), tmp_path / "home") is None
    assert "No report" in crash.crash_message(ValueError("x"), None)


async def _press_help(app: LoratuiApp, name: str) -> None:
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, name)
        await pilot.press("question_mark")


async def test_a_fault_of_the_app_is_told_and_the_run_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        app = LoratuiApp(home)

        def broken(_: LoratuiScreen[None]) -> None:
            raise RuntimeError("a bug [red]\x1b[2J")

        monkeypatch.setattr(LoratuiScreen, "action_help", broken)
        with pytest.raises(RuntimeError, match="a bug"):
            await _press_help(app, run.name)
        trainer.steps(1)
    assert app.return_code == 70
    assert "ended because of an error in itself: RuntimeError: a bug [red]\n" in app.crash
    assert "\x1b" not in app.crash
    assert len(list((home / "reports").glob("crash-*.txt"))) == 1
    assert "go on" in app.crash


def test_a_fault_of_a_command_is_told_in_the_same_way(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(args: object) -> int:
        raise KeyError("a bug")

    monkeypatch.setattr("loratui.tui.commands.runs.run", broken)
    assert cli.main(["runs"]) == 70
    said = capsys.readouterr().err
    assert "KeyError: 'a bug'" in said
    assert "Traceback" not in said
    assert list((home / "reports").glob("crash-*.txt"))
