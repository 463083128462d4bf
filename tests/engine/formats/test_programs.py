"""What the documentation says of which program opens which file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import scripts

from loratui.engine.formats.metadata import default_layout
from loratui.engine.formats.programs import PROGRAMS, opened_by, readers_of
from loratui.presets.schema import Adapter, Base, Family, Settings, Training

ROOT = Path(__file__).parents[3]


def _script() -> ModuleType:
    return scripts.script("docs/make_files_table.py")


def test_the_page_on_files_has_the_table_as_it_is_made() -> None:
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert _script().replaced(text) == text


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_file_as_it_is_saved_opens_in_comfyui_and_diffusers(family: Family) -> None:
    settings = Settings(base=Base(family=family))
    assert {"comfyui", "diffusers"} <= set(readers_of(settings, default_layout(settings)))


def test_only_programs_that_are_known_are_named() -> None:
    for _, family, adapter, layout, trains_text in _script().ROWS:
        assert set(opened_by(family, adapter, layout, trains_text=trains_text)) <= PROGRAMS.keys()
    assert opened_by("flux", Adapter(dora=True), "peft", trains_text=False) == ("diffusers",)


def test_a_run_that_trained_flux_s_text_encoder_is_not_said_to_open_in_invokeai_as_it_is() -> None:
    """Its reader of PEFT's names stops at a text encoder; that of kohya's has a place for it."""
    settings = Settings(base=Base(family="flux"), training=Training(train_text_encoder=True))
    assert "invokeai" not in readers_of(settings, "peft")
    assert "invokeai" in readers_of(settings, "kohya")
    assert "invokeai" in readers_of(replace(settings, training=Training()), "peft")
