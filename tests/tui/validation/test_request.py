"""From the form to what is made, how much of it is there, and how long the rest takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import PROMPTS, finished_run

from loratui.engine.errors import LoratuiError
from loratui.engine.planning.validation_grid import GridRequest
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import LoraFiles, lora_files
from loratui.presets.schema import SchemaError, Settings
from loratui.tui.validation.grid_images import Slot
from loratui.tui.validation.model import read_settings
from loratui.tui.validation.request import Typed, missing, planned, typed_from, wish_of

_EPOCHS = ("output/a-000090.safetensors", "output/a-000180.safetensors")
FILES = LoraFiles(_EPOCHS, _EPOCHS, "output/a.safetensors")
TYPED = Typed(("strengths", "checkpoints"), "a.safetensors", ("a photo of {subject}", "  "), "0, 0.5, 1", "2")


@pytest.fixture
def run(home: Path) -> RunDirectory:
    return finished_run(home)


def test_the_form_describes_a_wish_and_its_images() -> None:
    wish = wish_of(TYPED, Settings(), FILES)
    assert wish == GridRequest(
        grids=("strengths", "checkpoints"),
        file="output/a.safetensors",
        prompts=("a photo of {subject}",),
        strengths=(0.0, 0.5, 1.0),
        seeds=2,
    )
    cells = planned(wish, Settings(), FILES)
    assert len(cells) == 3 * 2 + 2
    assert missing(cells, []) == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grids": ()}, "No table is chosen"),
        ({"file": "b.safetensors"}, "no LoRA file b.safetensors; did you mean a.safetensors?"),
        ({"file": "../a.safetensors"}, "no LoRA file"),
        ({"file": ""}, "no LoRA file –"),
        ({"prompts": (" ",)}, "There is no prompt"),
        ({"prompts": ("a {triger}",)}, "{triger} is no placeholder; did you mean trigger?"),
        ({"strengths": "-1"}, "numbers of 0 or more"),
        ({"strengths": "half"}, "strengths"),
        ({"strengths": ""}, ""),
        ({"strengths": "nan"}, ""),
        ({"seeds": "0"}, "seeds"),
        ({"seeds": "many"}, "seeds"),
        ({"seeds": ""}, "seeds"),
    ],
)
def test_what_cannot_be_made_is_told(changes: dict[str, object], words: str) -> None:
    with pytest.raises((LoratuiError, SchemaError)) as raised:
        wish_of(replace(TYPED, **changes), Settings(), FILES)  # type: ignore[arg-type]
    assert words in str(raised.value)


def test_the_form_of_a_run_begins_as_its_recipe_says_or_as_it_was_wished_before(run: RunDirectory) -> None:
    settings = read_settings(run)
    files = lora_files(run, settings)
    assert len(files.all) == 11
    typed = typed_from(settings, GridRequest(), files)
    assert (typed.file, typed.strengths, typed.seeds, len(typed.prompts)) == ("anafox.safetensors", "0, 0.5, 1, 1.5", "1", 2)
    before = wish_of(replace(typed, strengths="0.8", file="anafox-000090.safetensors"), settings, files)
    assert typed_from(settings, before, files).file == "anafox-000090.safetensors"
    gone = GridRequest(file="output/gone.safetensors", strengths=before.strengths)
    assert (typed_from(settings, gone, files).file, typed_from(settings, gone, files).strengths) == (
        "anafox.safetensors",
        "0.8",
    )


def test_images_that_are_there_are_not_counted(run: RunDirectory) -> None:
    settings = read_settings(run)
    files = lora_files(run, settings)
    cells = planned(wish_of(typed_from(settings, GridRequest(), files), settings, files), settings, files)
    assert len(cells) == 2 * 4 + 2 * 10
    there = [Slot("strengths", PROMPTS[0], 1000, "", 0.0, "p", made=True), Slot("strengths", PROMPTS[1], 1000, "", 0.0, "q")]
    assert missing(cells, there) == 27
