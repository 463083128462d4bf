"""`loratui check`: its JSON, its exit codes, and that no name or caption reaches the terminal as it is."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from made_images import clean_set, drawn
from PIL import Image

from loratui.presets import SHIPPED
from loratui.tui import cli

ANAFOX = str(SHIPPED / "bases" / "anafox")
KEYS = {
    "folder", "preset", "images", "regularisation_images", "captioned", "with_trigger", "trigger", "trigger_guessed", "deep",
    "findings", "not_checked", "trained_with", "left_out", "concepts", "regularisation", "exit_code",
}  # fmt: skip


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["check", *words, "--json"])
    table = json.loads(capsys.readouterr().out)
    assert set(table) == KEYS
    assert table["exit_code"] == code
    return code, table


def test_the_demo_set_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--preset", "demo", "--trigger", "anafox", "--class", "woman")
    code, table = check(capsys, ANAFOX, *words, "--deep")
    assert (code, table["images"], table["captioned"], table["with_trigger"]) == (0, 18, 18, 18)
    assert (table["trigger"], table["trigger_guessed"], table["deep"]) == ("anafox", False, True)
    assert all(finding["severity"] == "info" for finding in table["findings"])
    assert len(table["trained_with"]) == 3
    assert table["trained_with"][0].startswith("a photo of anafox woman, laughing")
    assert {row["reason"] for row in table["not_checked"]} == {"no face detector is installed"}


def test_warnings_exit_1_and_errors_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clean_set(tmp_path / "set")
    (folder / "03.txt").write_text("a woman")
    code, table = check(capsys, str(folder), "--preset", "demo", "--trigger", "anafox")
    assert (code, table["with_trigger"]) == (1, 11)
    (finding,) = table["findings"]
    assert set(finding) == {"id", "severity", "files", "message", "why", "remedy", "source", "parameters", "settings"}
    assert (finding["id"], finding["files"]) == ("trigger_missing", ["03.png"])
    (tmp_path / "empty").mkdir()
    code, table = check(capsys, str(tmp_path / "empty"))
    assert (code, table["images"], table["findings"][0]["id"]) == (3, 0, "no_pictures")


def test_concepts_and_the_cost_of_regularisation_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for concept, count in (("anafox woman", 6), ("bobcat man", 3)):
        clean_set(tmp_path / "set" / "img" / f"5_{concept}", count)
    clean_set(tmp_path / "set" / "reg" / "1_person", 4)
    words = (str(tmp_path / "set"), "--preset", "demo", "--set", "batch_size=1")
    _, table = check(capsys, *words)
    assert [(c["name"], c["images"], c["repeats"], c["balanced_repeats"]) for c in table["concepts"]] == [
        ("anafox woman", 6, 5, 10), ("bobcat man", 3, 5, 20),
    ]  # fmt: skip
    # 9 images × 5 repeats × 20 epochs, and as much again.
    assert table["regularisation"] == {"images": 4, "weight": 1.0, "image_steps": 900, "optimizer_steps": 900}
    cli.main(["check", *words])
    said = capsys.readouterr().out
    assert 'concept "bobcat man": 3 images × 5 repeats an epoch (balanced: 20).' in said
    assert "4 regularisation images: weight 1, cost 900 optimizer steps (900 image-steps)." in said


def test_a_missing_folder_and_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(tmp_path / "no")]) == 3
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["check"]) == 2
    assert cli.main(["check", ANAFOX, "--preset", "no"]) == 2
    assert cli.main(["check", ANAFOX, "--set", "resolution=7"]) == 2
    assert capsys.readouterr().out == ""


def test_a_zip_is_checked_and_nothing_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    folder = clean_set(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    code, table = check(capsys, str(tmp_path / "set.zip"), "--preset", "demo", "--trigger", "anafox")
    assert (code, table["images"], table["captioned"]) == (0, 12, 12)
    with zipfile.ZipFile(tmp_path / "set.zip", "a") as file:
        file.write(folder / "00.png", "../out.png")
    code, table = check(capsys, str(tmp_path / "set.zip"), "--preset", "demo", "--trigger", "anafox")
    assert (code, [f["id"] for f in table["findings"]]) == (1, ["zip_left_out"])
    assert list(place.iterdir()) == []


def test_the_text_names_findings_remedies_and_what_was_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clean_set(tmp_path / "set")
    drawn(3, (128, 400)).save(folder / "03.png")
    assert cli.main(["check", str(folder), "--preset", "demo", "--trigger", "anafox"]) == 1
    out = capsys.readouterr().out
    assert "12 images, 12 with a caption." in out
    assert "warning: 1 image is longer than 2:1" in out
    assert "  Crop around the subject." in out
    assert "1 warning." in out
    assert "needs the deep pass (loratui check --deep runs it)" in out


HOSTILE_NAMES = [
    b"esc\x1b[31m\x1b]0;title\x07", b"new\nline", b"tab\tcr\r", b"bytes\xff\xfe", b"--help", b"-rf", b"[bold]", b"[red]x[",
    "\u202egnp.exe".encode(), "\u200bzero".encode(), "\U0001f98a\U0001f469".encode(), b"\x7f\x9b31m", b"n" * 250, b"%s{0}$(id)`id`",
]  # fmt: skip
HOSTILE_CAPTIONS = [
    b"\x1b[2J\x1b]52;c;Y3VybA==\x07 anafox", b"\0\0\0", b"\xff\xfea\0n\0", b"anafox \x9b31m", "anafox \u202e evil".encode(),
    b"[/red][link=file:///etc/passwd]", b"x" * 1_000_000, b"\r\n\r\nanafox\r\nwoman", b"\xef\xbb\xbfanafox", b"{trigger} %s",
    b"a" + b"," * 50_000, b"(((((((((((((((((((", b"\xed\xa0\x80 anafox", b"anafox\x00woman",
]  # fmt: skip


def hostile_set(folder: Path) -> Path:
    folder.mkdir()
    for at, name in enumerate(HOSTILE_NAMES):
        stem = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 - names that are no text
        with open(stem + b".png", "wb") as file:  # noqa: PTH123
            drawn(at).save(file, "PNG")
        with open(stem + b".txt", "wb") as file:  # noqa: PTH123
            file.write(HOSTILE_CAPTIONS[at])
        with open(stem + b".psd", "wb") as file:  # noqa: PTH123
            file.write(b"8BPS")
    return folder


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_hostile_names_and_captions_stay_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], deep: tuple[str, ...]
) -> None:
    folder = hostile_set(tmp_path / "set")
    assert cli.main(["check", str(folder), "--preset", "demo", "--trigger", "anafox", *deep]) == 1
    written = capsys.readouterr()
    for line in (written.out + written.err).split("\n"):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b]", line)
        line.encode("utf-8")
    code, table = check(capsys, str(folder), "--preset", "demo", "--trigger", "anafox", *deep)
    assert (code, table["images"]) == (1, len(HOSTILE_NAMES))
    assert len([row for row in table["left_out"] if row["file"].endswith(".psd")]) == len(HOSTILE_NAMES)


def test_json_names_files_by_their_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script can open what a finding names, also where the name is no UTF-8."""
    folder = hostile_set(tmp_path / "set")
    _, table = check(capsys, str(folder), "--preset", "demo", "--trigger", "anafox")
    named = {name for finding in table["findings"] for name in finding["files"]}
    assert any(os.fsencode(name).startswith(b"bytes\xff\xfe") for name in named)
    assert all((folder / name).exists() for name in named)


def test_an_image_bomb_is_named_and_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clean_set(tmp_path / "set")
    Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    code, table = check(capsys, str(folder), "--preset", "demo", "--trigger", "anafox")
    assert code == 1
    (finding,) = table["findings"]
    assert (
        finding["message"]
        == "bomb.png has 9000 × 9000 px in only 9.9 kB, as no photo has: save it with fewer than 16 megapixels."
    )
