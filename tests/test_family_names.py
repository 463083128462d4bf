"""Families are asked for their traits: none is called by its name outside `engine/families` and `presets`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from loratui.engine.families import FAMILIES
from loratui.presets.schema import Family

TOP = Path(__file__).parents[1]
NAME = re.compile(rf"(?<![a-zA-Z])({'|'.join(spec.name for spec in FAMILIES)})(?![a-zA-Z])", re.IGNORECASE)


def named(code: str) -> Iterator[str]:
    """Strings that are a family's name, alone or behind a colon, and identifiers that have one in them."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if NAME.fullmatch(node.value.rpartition(":")[2]):
                yield node.value
            continue
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            identifier = getattr(node, field, None)
            if isinstance(identifier, str) and NAME.search(identifier.replace("_", " ")):
                yield identifier


def test_recipes_name_each_family() -> None:
    assert get_args(Family) == tuple(spec.name for spec in FAMILIES)


def test_no_family_is_called_by_its_name() -> None:
    files = [path for room in ("engine", "tui") for path in (TOP / room).rglob("*.py")]
    rooms = {path.relative_to(TOP).as_posix(): path for path in files if not path.is_relative_to(TOP / "engine" / "families")}
    found = {name: names for name, path in rooms.items() if (names := set(named(path.read_text(encoding="utf-8"))))}
    assert found == {}, "ask the spec for a trait"


@pytest.mark.parametrize(
    "code",
    [
        'family == "sd15"',
        '{"embedded:sdxl": 1}',
        "is_flux = True",
        "FLUX_WIDTH",
        "from x import flux_names",
        "def sdxl(): ...",
        "x.Sd15",
    ],
)
def test_each_kind_is_seen(code: str) -> None:
    assert list(named(code))


@pytest.mark.parametrize("code", ['"such as sd15-portrait"', '"FLUX has no convolutions."', "influx = 1"])
def test_prose_and_other_words_pass(code: str) -> None:
    assert not list(named(code))
