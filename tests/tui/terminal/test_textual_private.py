"""Textual's private names stand in one module, and the installed Textual still has them and does with them what is assumed."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from rich.color import ColorSystem
from rich.console import Console, RenderableType
from textual import on
from textual.binding import BindingType
from textual.events import Key
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input

import loratui.tui
from loratui.tui.terminal import textual_private as private
from loratui.tui.terminal.textual_private import ChopsUpdate, HookedApp, HookedDriver, LayoutUpdate

TUI = Path(loratui.tui.__path__[0]).resolve()
OWN = Path(private.__file__).resolve()
OF_OTHERS = {"_exit", "_asdict", "_replace", "_fields", "_make", "_actions", "_SubParsersAction", "_fill_text"}
"""Public in spite of their look, or argparse's."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(TUI.rglob("*.py")):
        if path.resolve() != OWN:
            yield path, ast.parse(path.read_text())


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def classes() -> Iterator[type]:
    for found in pkgutil.walk_packages(loratui.tui.__path__, "loratui.tui."):
        for cls in vars(importlib.import_module(found.name)).values():
            if inspect.isclass(cls) and cls.__module__ == found.name and issubclass(cls, MessagePump):
                yield cls


@cache
def stored_names(cls: type) -> frozenset[str]:
    """Private names that the class puts on itself, in its body or in its methods."""
    body = next(
        node for node in ast.walk(parsed(cls.__module__)) if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    )
    stored = {node.attr for node in ast.walk(body) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return frozenset(name for name in stored | vars(cls).keys() if is_private(name))


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def test_no_other_module_imports_a_private_module_or_name_of_textual() -> None:
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "textual":
                names = [*(node.module or "").split("."), *(name.name for name in node.names)]
                assert not any(map(is_private, names)), f"{path}:{node.lineno}"


def test_no_other_module_reaches_into_another_object() -> None:
    for path, tree in modules():
        own = OF_OTHERS | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
                owner = ast.unparse(node.value)
                assert owner in ("self", "cls", "super()"), f"{path}:{node.lineno}: {owner}.{node.attr}"


def test_no_class_takes_a_private_name_of_its_textual_base() -> None:
    by_textual = {name for name in vars(Empty) if is_private(name)}
    """What Textual itself puts on each class."""
    checked = 0
    for cls in classes():
        if cls.__module__ != private.__name__:
            theirs = [stored_names(base) for base in cls.__mro__ if base.__module__.partition(".")[0] == "textual"]
            taken = stored_names(cls) & frozenset().union(*theirs) - by_textual
            assert not taken, f"{cls.__module__}.{cls.__qualname__}"
            checked += 1
    assert checked > 50


class Empty(Widget):
    BINDINGS: ClassVar[list[BindingType]] = []

    @on(Key)
    def nothing(self) -> None:
        """Has Textual keep a table of such handlers."""


class Probed(HookedApp[None]):
    """Keeps what its hooks are told."""

    FAULT_CODE = 70

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[RenderableType | None] = []
        self.faults: list[Exception] = []

    def compose(self) -> Iterator[Input]:
        yield Input()

    def before_paint(self, update: RenderableType | None) -> RenderableType | None:
        self.painted.append(update)
        return update

    def on_fault(self, error: Exception) -> None:
        self.faults.append(error)

    def action_break(self) -> None:
        raise ZeroDivisionError


async def test_every_paint_passes_the_hook_as_one_of_two_updates() -> None:
    app = Probed()
    async with app.run_test() as pilot:
        await pilot.press("a")
        await pilot.pause()
        whole = [update for update in app.painted if isinstance(update, LayoutUpdate)]
        parts = [update for update in app.painted if isinstance(update, ChopsUpdate)]
        assert whole
        assert parts
        assert len([update for update in app.painted if update is not None]) == len(whole) + len(parts)
        assert whole[-1].region.size == app.size
        assert len(whole[-1].strips) == app.size.height
        assert len(parts[-1].chops) == len(parts[-1].chop_ends) == app.size.height
        assert all(0 <= y < app.size.height and left < right for y, left, right in parts[-1].spans)


async def _broken(app: Probed, how: str) -> None:
    async with app.run_test() as pilot:
        if how == "handler":
            app.call_later(app.action_break)
        elif how == "panic":
            app.panic("words")
        else:
            await asyncio.to_thread(app.fail_from_thread, OSError("of a thread"))
        await pilot.pause()


@pytest.mark.parametrize("how", ["handler", "panic", "thread"])
async def test_a_fault_passes_the_hook_and_ends_with_its_code(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = Probed()
    expected = {"handler": ZeroDivisionError, "panic": RuntimeError, "thread": OSError}[how]
    with pytest.raises(expected):
        await _broken(app, how)
    assert [type(fault) for fault in app.faults] == [expected]
    assert app.return_code == 70
    assert "Traceback" not in capsys.readouterr().err


async def test_a_widget_is_idle_when_it_waits_and_not_while_it_has_a_message() -> None:
    app = Probed()
    async with app.run_test() as pilot:
        await pilot.pause()
        field = app.query_one(Input)
        assert private.is_idle(field)
        assert private.has_no_message(field)
        field.call_later(lambda: None)
        assert not private.is_idle(field)
        assert not private.has_no_message(field)
        app.screen.call_after_refresh(lambda: None)
        await pilot.pause()
        assert not private.waits_for_paint(app.screen)


def test_the_driver_of_textual_writes_to_its_file_and_reads_in_the_thread_that_is_hooked() -> None:
    starts = inspect.getsource(private.LinuxDriver.start_application_mode)
    assert "WriterThread(self._file)" in starts
    assert "target=self._run_input_thread" in starts
    assert vars(HookedDriver)["_run_input_thread"]


def test_colours_keys_and_the_parser() -> None:
    console = Console(color_system="truecolor", force_terminal=True, legacy_windows=False)
    assert private.colour_system(console) is ColorSystem.TRUECOLOR
    private.use_256_colours(console)
    assert console.color_system == "256"
    assert [private.key_name(sign) for sign in "?/ a"] == ["question_mark", "slash", "space", "a"]
    parser = private.XTermParser()
    assert [event.key for event in parser.feed("\x1b[A") if isinstance(event, Key)] == ["up"]
    assert {"mouse_pixels", "terminal_size", "terminal_pixel_size"} <= vars(parser).keys()


def test_only_a_major_version_that_was_tried_is_installed() -> None:
    project = tomllib.loads((TUI.parent / "pyproject.toml").read_text())["project"]
    wanted = next(need for need in map(Requirement, project["dependencies"]) if need.name == "textual")
    installed = Version(version("textual"))
    assert wanted.specifier.contains(installed)
    assert not wanted.specifier.contains(f"{installed.major + 1}.0")
