"""What the README says of which program opens which file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from loratui.engine.formats.metadata import default_layout
from loratui.engine.formats.programs import PROGRAMS, opened_by
from loratui.presets.schema import Adapter, Base, Family, Settings

ROOT = Path(__file__).parents[3]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_files_table", ROOT / "docs" / "make_files_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_the_table_as_it_is_made() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _script().replaced(text) == text


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_file_as_it_is_saved_opens_in_comfyui_and_diffusers(family: Family) -> None:
    settings = Settings(base=Base(family=family))
    assert {"comfyui", "diffusers"} <= set(opened_by(family, settings.adapter, default_layout(settings)))


def test_only_programs_that_are_known_are_named() -> None:
    for _, family, adapter, layout in _script().ROWS:
        assert set(opened_by(family, adapter, layout)) <= PROGRAMS.keys()
    assert opened_by("flux", Adapter(dora=True), "peft") == ("diffusers",)
