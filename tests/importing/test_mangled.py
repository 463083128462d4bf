"""Settings files with values of any kind: none crashes, each value is said, and what is taken is taken as it stands."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loratui.engine.errors import LoratuiError
from loratui.engine.importing import files, tools
from loratui.engine.importing.result import Imported, import_settings
from loratui.engine.planning.recipe import read_recipe

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))
FLAT = [name for name in EXPECTED if name.endswith(".json") and "several" not in name]

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "1e-4", "0", "-1", "none", "True", "1024,1024", "10%", "(1, 2", "a=b", "a=b c", "\x1b[31m", "../../x", "9" * 70]
    ),
    st.lists(st.one_of(st.integers(0, 9), st.text(max_size=3), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
)


def reimported(folder: Path, table: Any, images: int = 10) -> Imported | None:
    """The import of a changed table; None where it is no longer any trainer's."""
    file = folder / "settings.json"
    file.write_text(json.dumps(table))
    try:
        return import_settings(file, images=images)
    except LoratuiError:
        return None


def check_it_is_whole(found: Imported, folder: Path) -> None:
    if found.recipe is not None:
        target = folder / "recipe.toml"
        target.write_text(found.recipe.to_toml())
        assert read_recipe(target).settings == found.recipe.settings
    else:
        assert found.problem
    json.dumps(found.to_json(), allow_nan=False)
    assert all(one.why or one.kind == "taken" for one in found.said)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_mangled_file_is_read_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    mangle(tmp_path, data)


@pytest.mark.long
@given(data=st.data())
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_many_mangled_files_are(tmp_path: Path, data: st.DataObject) -> None:
    mangle(tmp_path, data)


def mangle(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FLAT))
    table = files.read(HERE / "files" / name)
    keys = data.draw(st.lists(st.sampled_from(list(table)), max_size=8, unique=True))
    for key in keys:
        if data.draw(st.booleans()):
            table[key] = data.draw(ODD)
        else:
            del table[key]
    table |= data.draw(st.dictionaries(st.text(min_size=1, max_size=8), ODD, max_size=2))
    found = reimported(folder, table)
    if found is None:
        return
    said = [one.key for one in found.said if one.given]
    assert len(said) == len(set(said))
    check_it_is_whole(found, folder)


def other(value: Any) -> Any:
    """A value of the same kind that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 2 or 0.5
    return None


@pytest.mark.long
@pytest.mark.parametrize("name", FLAT)
def test_what_is_taken_follows_the_value(name: str, tmp_path: Path) -> None:
    """Another value of a key that is taken makes another recipe, another count of steps, or is told as changed."""
    table = files.read(HERE / "files" / name)
    images = EXPECTED[name].get("images", 10)
    before = reimported(tmp_path, table, images)
    assert before is not None
    taken = {one.key for one in before.said if one.kind == "taken"}
    ignored = []
    for key, value in table.items():
        new = other(value)
        if key not in taken or new is None:
            continue
        after = reimported(tmp_path, {**table, key: new}, images)
        if after is None or after.recipe is None or before.recipe is None:
            continue
        now = next(one for one in after.said if one.key == key)
        same = after.recipe.settings == before.recipe.settings and after.steps.theirs == before.steps.theirs
        if same and now.kind == "taken":
            ignored.append(key)
    assert ignored == []


def test_a_tool_is_known_by_what_its_file_holds() -> None:
    for name, expected in EXPECTED.items():
        found = tools.find(HERE / "files" / name)
        assert tools.read(found, "")[0].tool == expected["tool"], name
