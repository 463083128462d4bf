"""`loratui plan`: the guides' numbers through the command line, its JSON, and every refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loratui.engine.machine import hardware
from loratui.presets import SHIPPED
from loratui.tui import cli
from loratui.tui.commands.plan import duration_range

ANAFOX = str(SHIPPED / "bases" / "anafox")


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LORATUI_HOME", "LORATUI_CONFIG", "LORATUI_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["plan", *words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert isinstance(table, dict)
    return table


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["plan", *words])
    output = capsys.readouterr()
    assert output.out == ""
    return code, output.err


@pytest.mark.parametrize(
    ("words", "repeats", "epochs", "image_steps", "optimizer_steps"),
    [
        ("flux-identity-18img --images 18", 10, 10, 1800, 900),
        ("flux-identity-18img --images 18 --batch 1", 10, 10, 1800, 1800),
        ("pony-realism --images 23", 40, 6, 5520, 2760),
        ("sd15-portrait --images 15", 27, 6, 2430, 1218),
        ("sdxl-person --images 32", 12, 16, 6144, 3072),
        ("sd15-dreambooth --images 6", 1, 117, 700, 700),
        ("multi-concept --concept-images 51,43,32", 10, 10, 15_380, 15_380),
        ("sd15-character --images 30 --batch 1", 10, 10, 3000, 3000),
        ("flux-identity-18img --images 18 --batch 4 --processes 2", 10, 10, 1800, 230),
        ("sd15-portrait --images 15 --repeats 10", 10, 6, 900, 450),
    ],
)
def test_the_numbers_of_the_guides(
    capsys: pytest.CaptureFixture[str], words: str, repeats: int, epochs: int, image_steps: int, optimizer_steps: int
) -> None:
    table = plan(capsys, "--preset", *words.split())
    assert (table["repeats"], table["epochs"]) == (repeats, epochs)
    assert (table["image_steps"], table["optimizer_steps"]) == (image_steps, optimizer_steps)


def test_the_json_has_its_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    table = plan(capsys, "--preset", "multi-concept", "--concept-images", "51,43,32", "--price", "2", "--set", "batch_size=2")
    assert {
        "images", "repeats", "epochs", "image_steps", "optimizer_steps", "exposures_per_image", "steps_per_epoch", "batch_size",
        "rule", "formula", "concepts", "warnings", "estimate", "preset", "changed", "settings", "findings", "buckets",
        "accumulation", "processes", "effective_learning_rate", "mean_loss_weight", "image_band", "regularisation_images",
    } <= table.keys()  # fmt: skip
    assert [(c["images"], c["repeats"]) for c in table["concepts"]] == [(51, 10), (43, 12), (32, 16)]
    assert set(table["warnings"][0]) == {"code", "message", "remedy", "source"}
    assert table["images"] == 126
    assert table["changed"] == {"training.batch_size": 2}
    estimate = table["estimate"]
    assert {"modules", "parameters", "bytes"} == set(estimate["lora"])
    assert {"checkpoints", "outputs", "samples", "cache", "download", "run"} == set(estimate["disk"])
    keys = {
        "machine",
        "time_s",
        "vram_gib",
        "ram_gib",
        "fits",
        "memory_plan",
        "money",
        "source",
        "time_source",
        "memory_source",
    }
    assert keys == set(estimate["here"])
    assert (estimate["here"]["time_s"], estimate["here"]["money"]) == (None, None)  # no GPU here, and a CPU takes days
    priced = plan(capsys, "--preset", "demo", "--images", "18", "--price", "2")["estimate"]["here"]
    assert 0 < priced["money"][0] <= priced["money"][1]
    assert len(estimate["elsewhere"]) > 5


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dataset.bucket_step=9", ("bucket_step 9", "Set dataset.bucket_step=8.")),
        ("samples.width=100", ("samples.width 100", "Set samples.width=96.")),
        ("training.precision=fp16", ("training.precision fp16", "auto")),
        ("optimizer.name=adamw8bit", ("adamw8bit", "no NVIDIA GPU", "auto")),
    ],
)
def test_what_could_not_be_trained_is_told_with_and_without_a_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, setting: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: hardware.Listing(()))
    for images in ((ANAFOX,), ("--images", "18")):
        table = plan(capsys, *images, "--preset", "demo", "--set", setting)
        [error] = [f for f in table["findings"] if f["severity"] == "error"]
        assert all(word in error["message"] + error["remedy"] for word in words)
        assert cli.main(["plan", *images, "--preset", "demo", "--set", setting]) == 0
        assert f"error: {error['message']}" in capsys.readouterr().out


def test_a_folder_is_planned_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = plan(capsys, ANAFOX, "--preset", "demo")
    assert (table["images"], table["optimizer_steps"], table["buckets"]) == (
        18,
        900,
        [{"width": 128, "height": 128, "images": 18}],
    )
    for at, size in enumerate([(64, 64)] * 3 + [(64, 128)] * 2):
        Image.new("RGB", size).save(tmp_path / f"{at}.png")
    (tmp_path / "broken.png").write_text("x")
    table = plan(capsys, "--dataset", str(tmp_path), "--preset", "demo", "--batch", "2")
    assert (table["images"], table["steps_per_epoch"]) == (5, 25)
    assert "broken.png" in {name for f in table["findings"] for name in f["files"]}


def test_a_folders_number_wins_and_can_be_ignored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "7_anafox woman"
    folder.mkdir()
    for at in range(10):
        Image.new("RGB", (128, 128)).save(folder / f"{at}.png")
    table = plan(capsys, str(folder), "--preset", "demo")
    assert (table["repeats"], table["concepts"][0]["from_folder"]) == (7, True)
    assert table["settings"]["dataset"]["trigger"] == "anafox"
    assert plan(capsys, str(folder), "--preset", "demo", "--repeats", "rule")["repeats"] == 10
    assert plan(capsys, str(folder), "--preset", "demo", "--repeats", "4")["repeats"] == 4


def test_what_is_held_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    table = plan(capsys, ANAFOX, "--preset", "demo", "--set", "dataset.held_out=auto")
    assert (table["images"], len(table["held_out"]), table["settings"]["dataset"]["held_out"]) == (16, 2, ["auto"])
    assert cli.main(["plan", ANAFOX, "--preset", "demo", "--set", "dataset.held_out=anafox_03.png"]) == 0
    assert "held out                  1  anafox_03.png" in capsys.readouterr().out
    cli.main(["plan", ANAFOX, "--preset", "demo", "--set", "dataset.held_out=typo.png"])
    assert "1 image is to be held out, but not in the folder: typo.png." in capsys.readouterr().out


def test_a_saved_plan_is_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(tmp_path / "recipe.toml")
    first = plan(capsys, ANAFOX, "--preset", "demo", "--set", "rank=8", "--save", file)
    assert (tmp_path / "recipe.toml").stat().st_mode & 0o777 == 0o600
    assert tomllib.loads((tmp_path / "recipe.toml").read_text())["changed"] == ["adapter.rank", "dataset.path"]
    assert plan(capsys, file) == first
    assert plan(capsys, file, "--images", "9")["image_steps"] == 900
    code, error = refusal(capsys, ANAFOX, "--preset", "demo", "--save", file)
    assert (code, "this file already exists" in error) == (2, True)
    code, error = refusal(capsys, ANAFOX, "--preset", "demo", "--save", str(tmp_path / "no" / "r.toml"))
    assert (code, "the folder is gone" in error) == (2, True)


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--preset", "sd15-portrait", "--images", "50", "--set", "rank=64", "--price", "0.8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("50 images × 8 repeats = 400 image-steps an epoch; × 20 epochs = 8 000")
    text = "\n".join(lines)
    for part in (
        "optimizer steps       4 000",
        "the target range",
        "changed from sd15-portrait:",
        "  adapter.rank = 64",
    ):
        assert part in text
    table = lines[lines.index(next(line for line in lines if line.startswith("machine"))) :][:15]
    assert all(len(line) <= 80 for line in table)
    assert "…" not in "".join(table)  # nothing is cut


def test_hostile_names_reach_no_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "\x1b]0;evil\x07.png").write_text("x")
    assert cli.main(["plan", str(tmp_path), "--preset", "demo", "--trigger", "x\x1b[31m"]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "evil" in output


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("--images 18", 2, "No preset was given"),
        ("--preset flux-identity --images 18", 2, "did you mean flux-identity-18img"),
        ("--preset demo", 2, "No folder"),
        ("--preset demo --images 0", 2, "0 images"),
        ("--preset demo --images 99999999", 2, "No plan is possible"),
        ("--preset demo --concept-images 5,x", 2, "expected numbers such as"),
        ("--preset demo --concept-images 5,0", 2, "0 images"),
        ("--preset demo --concept-images 5,6 --images 12", 2, "not the sum"),
        ("/tmp --preset demo --images 12", 2, "Give only one"),
        ("--preset demo --images 18 --batch 0", 2, "too small; the least is 1"),
        ("--preset demo --images 18 --processes 0", 2, "at least 1"),
        ("--preset demo --images 18 --price -1", 2, "not a price"),
        ("--preset demo --images 18 --price nan", 2, "not a price"),
        ("--preset demo --images 18 --set rnk=4", 2, "did you mean"),
        ("/no/such/folder --preset demo", 3, "no such folder"),
        ("/no/such/recipe.toml", 2, "recipe.toml"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], words: str, code: int, part: str) -> None:
    got, error = refusal(capsys, *words.split())
    assert got == code
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert part in error


def test_planning_loads_neither_torch_nor_textual() -> None:
    code = "import sys; from loratui.tui import cli; cli.main(['plan','--preset','demo','--images','18','--json']); "
    code += "print([m for m in sys.modules if m in ('torch','numpy','textual')], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((27.0, 210.0), "27–210 s"),
        ((73.0, 210.0), "1.2–3.5 min"),  # comparable with the minutes that one real step gives
        ((80.0, 300.0), "1.3–5 min"),
        ((5000.0, 24_000.0), "1.4–6.7 h"),
        ((540_000.0, 6.8e6), "6–79 days"),
    ],
)
def test_ranges_of_time(seconds: tuple[float, float], text: str) -> None:
    assert duration_range(seconds) == text
