"""Whatever anybody may have put into a file is read in two rooms alone: `engine/untrusted.py` and `presets/toml_text.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("engine/untrusted.py", "presets/toml_text.py")
MADE_BY_HAND = "presets/bases/make/"
"""Scripts that are no part of the installed package."""

KERNEL = "a file of the kernel, which has no size and nobody else writes"
ALLOWED = {
    ("engine/machine/cgroup.py", ".read_text"): KERNEL,
    ("engine/machine/hardware.py", ".read_text"): KERNEL,
    ("engine/runs/lock.py", ".read_text"): KERNEL,
    ("engine/runs/lock.py", ".read_bytes"): KERNEL,
    ("engine/dataset/caption_words.py", ".read_text"): "a list that comes with the program",
    ("engine/dataset/archives.py", "ZipFile"): "the reader of zips, with limits of its own",
    ("engine/dataset/pictures.py", "pillow.open"): "the reader of pictures, with limits of its own; it is given an open file",
    ("tui/thumbnails.py", "Image.open"): "the reader of thumbnails, with limits of its own; it is given an open file",
    ("engine/training/validation/grid.py", "Image.open"): "a picture that this process has just made",
    ("engine/training/families/loading.py", "safe_open"): "weights of a base, after our own check of the header",
    ("tui/settings.py", "tomlkit.parse"): "a text that parse_toml has taken before, to keep its comments",
    ("tui/cli.py", "open"): "a descriptor of this process, to be written to",
}
"""File and call -> why it may stand there."""


def product_files() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("tui", "engine", "presets"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in ROOMS and not name.startswith(MADE_BY_HAND):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def readings(tree: ast.AST) -> Iterator[str]:
    """The calls in a module that read a file or parse a text without bounds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (found := _reading(node)):
            yield found


def _reading(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        name = call.func.id
        return name if name in ("open", "safe_open", "load_file", "ZipFile") else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if (owner, name) in {("tomlkit", "parse"), ("tomlkit", "load"), ("io", "open"), ("Image", "open"), ("pillow", "open")}:
        return f"{owner}.{name}"
    if owner in ("json", "tomllib", "pickle", "np", "torch") and name in ("load", "loads"):
        return f"{owner}.{name}"
    if name in ("ZipFile", "load_file", "safe_open"):
        return name
    if name in ("read_text", "read_bytes") and owner != "untrusted":
        return f".{name}"
    mode = call.args[0] if call.args else None
    if name == "open" and isinstance(mode, ast.Constant) and str(mode.value) in ("r", "rb", "rt", "rb+", "br"):
        return ".open"
    return ""


def test_foreign_files_are_read_in_their_rooms_alone() -> None:
    found = {(name, call) for name, tree in product_files() for call in readings(tree)}
    assert found - ALLOWED.keys() == set(), "read it with engine/untrusted.py or presets/toml_text.py"
    assert ALLOWED.keys() - found == set(), "nothing of the kind stands there any more"


@pytest.mark.parametrize(
    "code",
    [
        "json.loads(text)", "json.load(file)", "tomllib.loads(t)", "tomlkit.parse(t)", "Path(p).read_text()", "path.read_bytes()",
        "open(p)", "path.open('rb')", "io.open(p)", "safe_open(p, 'pt')", "load_file(p)", "zipfile.ZipFile(p)", "torch.load(p)",
    ],
)  # fmt: skip
def test_the_scan_sees_each_kind(code: str) -> None:
    assert list(readings(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["read_text(p)", "app.open('home')", "log.open(path)", "path.open('xb')", "untrusted.read_text(p)"]
)
def test_the_scan_passes_what_is_none(code: str) -> None:
    assert not list(readings(ast.parse(code)))
