"""No module imports, by whatever way round, itself: imports for types alone and those inside of functions count too.

`python tests/test_import_circles.py` lists the circles.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def modules() -> dict[str, Path]:
    """Every module of the program by its name."""
    found = {}
    for top in ("engine", "tui", "presets"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(("loratui", *parts)).removesuffix(".__init__")] = path
    return found


def imports(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """What each module imports of the others."""
    return {
        name: {other for other in _imported(ast.parse(path.read_text(encoding="utf-8")), files) if other != name}
        for name, path in files.items()
    }


def _imported(tree: ast.Module, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from [name for name in (whole, node.module) if name in files][:1]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The largest sets of modules of which each reaches every other, sorted."""
    reached = {name: _reached(graph, name) for name in graph}
    found = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in graph}
    return sorted(map(list, found - {()}))


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph[name]
    return seen


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(imports(modules())) == []


def test_a_circle_is_found_through_others_and_once() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d", "a"}}
    assert circles(graph) == [["a", "b", "c"]]
    tree = ast.parse("def f():\n    from pkg import one, value\n    import pkg.two\n")
    assert sorted(_imported(tree, dict.fromkeys(("pkg", "pkg.one", "pkg.two"), ROOT))) == ["pkg", "pkg.one", "pkg.two"]


if __name__ == "__main__":
    for circle in circles(imports(modules())):
        print(len(circle), ", ".join(circle))
