"""`loratui caption`: proposes, says who sees the images, writes only what is accepted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.errors import DiskError
from loratui.tui import cli
from tests.support.chat_server import Reply, broken, chat_server, said
from tests.support.made_captioners import make, make_tagger
from tests.support.made_images import drawn

WORDS = ["--with", "endpoint", "--model", "m", "--preset", "flux-identity-18img", "--trigger", "anafox", "--class", "woman"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path / "home"))
    made = tmp_path / "photos"
    made.mkdir()
    for number in range(3):
        drawn(number, (64, 64)).save(made / f"{number:02d}.png")
    return made


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["caption", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def at_noon(number: int) -> Reply:
    return said(f"A woman in street {number}.")


def test_captions_are_proposed_and_written_once_accepted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(at_noon) as chat:
        code, first = told(capsys, str(folder), *WORDS, "--url", chat.url)
        assert (code, first["asked"], first["accepted"], first["captions_before"]) == (0, 3, [], None)
        assert not list(folder.glob("*.txt"))
        (folder / "01.txt").write_text("mine")
        code, second = told(capsys, str(folder), *WORDS, "--url", chat.url, "--accept")
        assert len(chat.requests) == 3
    assert (code, second["asked"], second["accepted"]) == (0, 0, ["00.png", "02.png"])
    assert second["captions_before"] is None  # no caption was replaced
    assert [path.read_text().strip() for path in sorted(folder.glob("*.txt"))] == [
        "anafox woman in street 0",
        "mine",
        "anafox woman in street 2",
    ]
    assert set(first) == {
        *("folder", "captioner", "wish", "images", "asked", "proposals", "failed", "accepted", "captions_before", "cancelled"),
        *("reason", "remedy", "exit_code"),
    }
    assert set(first["proposals"][0]) == {"image", "file", "wish", "text", "raw", "flags", "variants", "at", "state"}


def test_captions_of_no_use_are_not_written_and_the_exit_code_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda number: said("" if number < 2 else "A woman.")) as chat:
        code, result = told(capsys, str(folder), *WORDS, "--url", chat.url, "--accept")
    assert (code, result["exit_code"], len(result["accepted"])) == (1, 1, 2)
    with chat_server(lambda _: broken(401, b"who are you")) as chat:
        code, result = told(capsys, str(folder), *WORDS, "--url", chat.url, "--hint", "new")
    assert code == 69
    assert "LORATUI_CAPTION_KEY" in result["remedy"]


def test_images_leave_the_machine_only_after_a_yes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    words = ["caption", str(folder), *WORDS, "--url", "https://captions.example/v1"]
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert "your images leave this machine and go to captions.example" in shown.out
    assert "--yes" in shown.err
    monkeypatch.setattr("loratui.tui.commands.common.can_ask", lambda: True)
    monkeypatch.setattr("loratui.tui.commands.common.ask", lambda question, default: asked.append(question) or default)
    assert cli.main(words) == 2
    assert asked == ["Send the images there?"]
    assert not (folder.parent / "home").exists()


def test_each_folder_of_several_has_its_own_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("10_anna woman", "10_ben man")):
        (folder / name).mkdir()
        (folder / f"{number:02d}.png").rename(folder / name / "a.png")
    (folder / "02.png").unlink()
    with chat_server(lambda _: said("A woman on a beach.")) as chat:
        code, result = told(capsys, str(folder), *WORDS, "--url", chat.url)
    assert [one["text"] for one in result["proposals"]] == ["anna woman on a beach", "ben man on a beach"]
    assert (code, result["images"], len({one["wish"] for one in result["proposals"]})) == (0, 2, 2)


def test_an_error_is_told_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda number: at_noon(number) if number < 2 else broken(401)) as chat:
        assert cli.main(["caption", str(folder), *WORDS, "--url", chat.url, "--timeout", "9"]) == 69
    shown = capsys.readouterr()
    assert "01.png: anafox woman in street 1" in shown.out
    assert shown.err.startswith("error: m on 127.0.0.1: HTTP 401")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Which folder"),
        (["FOLDER", "--with", "wd15"], "did you mean wd14"),
        (["FOLDER", "--with", "endpoint", "--url", "http://127.0.0.1:9/v1"], "Which model"),
        (["FOLDER", "--with", "endpoint", "--url", "x", "--model", "m"], "no address"),
        (["FOLDER", "--with", "blip", "--url", "http://127.0.0.1:9/v1"], "--with endpoint"),
        (["FOLDER", "--with", "blip", "--threshold", "0.5"], "taggers"),
        (["FOLDER", "--with", "blip", "--set", "rank=no"], "adapter.rank"),
    ],
)
def test_wrong_words_are_told(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert cli.main(["caption", *(str(folder) if word == "FOLDER" else word for word in words)]) == 2
    assert says in capsys.readouterr().err


def test_the_captioners_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, listed = told(capsys, "--list")
    rows = {row["id"]: row for row in listed["captioners"]}
    assert (code, rows["florence-2-large"]["licence"], rows["wd14"]["writes"]) == (0, "MIT", "tags")
    assert cli.main(["caption", "--list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_tagger_on_this_machine_writes_tags(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="the extra taggers is not installed")
    make_tagger(tmp_path / "home" / "models" / "wd14")
    words = ["--with", "wd14", "--preset", "pony-realism", "--trigger", "anafox", "--class", "woman"]
    code, first = told(capsys, str(folder), *words, "--threshold", "0.3", "--accept")
    assert (code, first["captioner"], len(first["accepted"])) == (0, "wd14 general_threshold=0.3", 3)
    assert all(path.read_text().startswith("anafox, ") for path in folder.glob("*.txt"))


@pytest.mark.long
def test_a_captioner_on_this_machine_proposes_captions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("blip", tmp_path / "home" / "models" / "blip")
    words = ["--with", "blip", "--preset", "flux-identity-18img", "--trigger", "anafox", "--class", "woman", "--memory", "cpu"]
    code, first = told(capsys, str(folder), *words)
    assert code in (0, 1)
    assert (first["captioner"], first["asked"], len(first["proposals"])) == ("blip", 3, 3)
    assert all(one["raw"][0] for one in first["proposals"])
    assert told(capsys, str(folder), *words)[1]["asked"] == 0


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_or_ctrl_c_costs_no_second_request(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "loratui.tui.cli", "caption", str(folder), *WORDS, "--json"]
    running: list[subprocess.Popen[bytes]] = []

    def answer(request: int) -> Reply:
        if request == 2 and running:
            os.kill(running.pop().pid, number)
        return at_noon(request)

    with chat_server(answer) as chat:
        running.append(subprocess.Popen([*command, "--url", chat.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        process = running[0]
        out, _ = process.communicate(timeout=60)
        assert not out or json.loads(out)["cancelled"] is True
        assert bool(out) == (number == signal.SIGINT)
        assert process.returncode in (-signal.SIGKILL, 130)
        before = [chat.images().count(image) for image in chat.images()]
        done = subprocess.run([*command, "--url", chat.url], capture_output=True, timeout=60, check=True)
        told = json.loads(done.stdout)
    assert before == [1, 1, 1]
    assert told["asked"] == 1  # the image whose answer was on its way
    assert len(told["proposals"]) == 3


def test_a_caption_written_while_the_captioner_worked_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def meanwhile(number: int) -> Reply:
        (folder / "00.txt").write_text("mine")
        (folder / "01.png").unlink(missing_ok=True)
        return said(f"A woman in street {number}.")

    with chat_server(meanwhile) as chat:
        _, told_of = told(capsys, str(folder), *WORDS, "--url", chat.url, "--accept")
    assert told_of["accepted"] == ["02.png"]
    assert (folder / "00.txt").read_text() == "mine"
    assert not (folder / "01.txt").exists()


def test_captions_that_cannot_be_written_are_told_in_the_object(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskError("The disk is full.", "Make room.")

    monkeypatch.setattr("loratui.engine.dataset.caption_store.save", full)
    with chat_server(at_noon) as chat:
        code, told_of = told(capsys, str(folder), *WORDS, "--url", chat.url, "--accept")
    assert (code, told_of["exit_code"], told_of["reason"], told_of["accepted"]) == (20, 20, "The disk is full.", [])
    assert len(told_of["proposals"]) == 3
