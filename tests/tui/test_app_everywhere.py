"""What holds on every screen: help, small windows, resizing, no colours, themes, and what a viewer must never load."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fake_run import FakeTrainer, finished_run, make_run, write_grid
from screen_text import hides, rests, screen_text, shows, waits
from textual.dom import DOMNode
from textual.events import Resize
from textual.geometry import Size

import loratui.tui
from loratui.engine.runs import control
from loratui.tui.app import LoratuiApp
from loratui.tui.bindings import CONTEXTS, KEYS, WIZARD
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.keymap import action_name, bindings_for, keys_of
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.thumbnail import ThumbnailView
from loratui.tui.wizard.demo import demo_draft

BY_NAME = ("home", "queue", "sweep", *WIZARD, "training", "validation")
"""Screens that the app opens by their name alone; the others stand over one of these and have tests of their own."""


def _app(home: Path, context: str) -> LoratuiApp:
    run = None
    if context in ("training", "validation", "home"):
        run = finished_run(home)
        write_grid(run)
    draft = demo_draft() if context in WIZARD else None
    return LoratuiApp(home, context, run, draft)


def _modules() -> list[ModuleType]:
    names = (module.name for module in pkgutil.walk_packages(loratui.tui.__path__, "loratui.tui."))
    return [importlib.import_module(name) for name in names if not name.startswith("loratui.tui.commands.")]


def _screen_classes() -> dict[str, type[LoratuiScreen[None]]]:
    return {cls.CONTEXT: cls for cls in _own_classes() if issubclass(cls, LoratuiScreen) and "CONTEXT" in vars(cls)}


def test_every_key_has_its_action_on_every_screen_where_it_works() -> None:
    classes = _screen_classes()
    assert classes.keys() == CONTEXTS.keys()
    for key in KEYS:
        for context in key.contexts:
            owner = LoratuiApp if key.action.startswith("app.") else classes[context]
            assert hasattr(owner, f"action_{action_name(key)}"), (key.id, context)


def test_no_key_is_one_that_terminals_take_for_themselves() -> None:
    taken = {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+s", "ctrl+q", "ctrl+a", "ctrl+b", "ctrl+w", "ctrl+t", "ctrl+n"}
    for key in KEYS:
        assert not taken & set(key.keys.split(","))


@pytest.mark.parametrize("context", CONTEXTS)
def test_no_two_keys_of_a_screen_are_the_same(context: str) -> None:
    # Two may share a name where each says when it works.
    for key in keys_of(context):
        for other in keys_of(context):
            if key.id != other.id and set(key.keys.split(",")) & set(other.keys.split(",")):
                assert key.when
                assert other.when != key.when
    assert len(bindings_for(context)) == len(keys_of(context))


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_condition_is_a_property_of_the_screen_or_its_model(context: str) -> None:
    screen, model = _screen_classes()[context], ValidationModel if context.startswith("validation") else DatasetModel
    for key in keys_of(context):
        owner, _, name = key.when.rpartition(".")
        if key.when:
            assert isinstance(getattr({"": screen, "model": model}[owner], name), property), key.id
        # Textual asks by the action's name alone.
        assert all(key.when == other.when for other in keys_of(context) if action_name(other) == action_name(key)), key.id


@pytest.mark.parametrize("context", BY_NAME)
async def test_every_screen_fits_the_smallest_size_and_has_its_help(home: Path, context: str) -> None:
    async with _app(home, context).run_test(notifications=True, size=(60, 20)) as pilot:
        text = await shows(pilot, "help")
        assert "This terminal is" not in text
        await pilot.resize_terminal(120, 100)
        await pilot.press("f1")
        text = await shows(pilot, CONTEXTS[context].title, "esc closes this help")
        for key in keys_of(context):
            assert key.help[:40] in text, key.id
        await pilot.press("escape")
        await hides(pilot, "esc closes this help")


@pytest.mark.parametrize("context", ["home", "samples", "plan", "training", "validation"])
async def test_any_size_is_survived_and_a_small_one_is_told(home: Path, context: str) -> None:
    async with _app(home, context).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "loratui")
        for width, height in ((20, 5), (1, 1), (300, 100), (59, 24), (80, 19), (60, 20)):
            await pilot.resize_terminal(width, height)
            await rests(pilot)
        assert "This terminal is" not in screen_text(pilot.app)
        await pilot.resize_terminal(50, 15)
        await shows(pilot, "This terminal is 50×15", "60×20")
        await pilot.resize_terminal(80, 24)
        await hides(pilot, "This terminal is")
        assert pilot.app.return_code is None


@pytest.mark.parametrize(
    ("term", "images"),
    [
        ("linux", False),
        ("vt220", False),
        ("xterm-16color", False),
        ("xterm-color", False),
        ("xterm", True),
        ("xterm-ghostty", True),
        ("xterm-256color", True),
        ("alacritty", True),
        ("foot-extra", True),
        ("screen", True),
        ("rxvt-unicode", True),
    ],
)
async def test_with_sixteen_colours_images_are_named(
    term: str, images: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", term)
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.sample()
        app = LoratuiApp(home, "training", run)
        async with app.run_test(notifications=True, size=(120, 40)) as pilot:
            if images:
                await shows(pilot, "▀")
            else:
                await shows(pilot, "00.png", "128 × 128 px", "(too few colours here)")
                assert "▀" not in screen_text(app)


async def test_without_colours_nothing_has_one_and_images_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.sample()
        trainer.steps(90)
        app = LoratuiApp(home, "training", run)
        async with app.run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "90 of 900", "128 × 128 px", "00.png")
            assert pilot.app.screen.query_one(ThumbnailView)._image is not None
            assert "▀" not in screen_text(app)


async def test_ctrl_c_leaves(home: Path) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+c")
        await waits(pilot, lambda: not app.is_running)
    assert app.return_value is not None


_WALK = """
import asyncio, sys
from pathlib import Path
from loratui.engine.runs import control
from loratui.tui.app import LoratuiApp
from loratui.tui.bindings import WIZARD
from loratui.tui.wizard.demo import demo_draft
from screen_text import rests

async def walk():
    app = LoratuiApp(Path(sys.argv[1]), "preset", None, demo_draft())
    async with app.run_test(size=(100, 30)) as pilot:
        await rests(pilot)
        for screen in ("base", "dataset", "plan", "samples", "preflight", "home"):
            app.open(screen)
            await rests(pilot)

asyncio.run(walk())
heavy = {"torch", "diffusers", "transformers", "peft", "accelerate", "bitsandbytes", "numpy", "pydantic", "scipy"}
print(sorted(heavy & set(sys.modules)))
print(sorted({"tui", "engine", "presets"} & set(sys.modules)))
"""


def test_a_walk_through_the_wizard_never_loads_torch_or_numpy(home: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    done = subprocess.run(
        [sys.executable, "-c", _WALK, str(home)], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_the_first_screen_loads_no_more_than_it_needs() -> None:
    code = "import sys, loratui.tui.app, loratui.tui.runs.home_screen; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"torch", "numpy", "PIL", "tomlkit", "questionary", "prompt_toolkit", "pynvml"}
    assert not {name for name in loaded if name.startswith("loratui.engine.planning")}


def _own_classes() -> list[type[DOMNode]]:
    return [
        cls
        for module in _modules()
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, DOMNode) and cls.__module__ == module.__name__
    ]


@pytest.mark.parametrize("cls", _own_classes(), ids=lambda cls: cls.__name__)
def test_no_private_name_of_ours_is_one_of_textuals(cls: type[DOMNode]) -> None:
    """Such a clash once stopped the app without a word."""
    assigned = re.compile(r"self\.(_\w+)\b[^=\n]*=[^=]")
    tree = ast.parse(inspect.getsource(cls).strip())
    ours = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    ours |= set(assigned.findall(inspect.getsource(cls)))
    theirs: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("textual"):
            theirs |= set(vars(base)) | set(assigned.findall(inspect.getsource(base)))
    handlers = {"_on_key", "_on_paste", "_handle_exception", "_fatal_error", "_return_code", "_display"}
    assert not {name for name in ours & theirs if name.startswith("_") and not name.startswith("__")} - handlers


async def test_answers_that_come_in_quick_succession_do_not_pile_up_over_the_screen(home: Path) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        for words in ("first answer", "second answer", "third answer"):
            app.tell(words)
            text = await shows(pilot, words)
        assert "first answer" not in text
        assert "second answer" not in text
        app.tell("something went wrong", "warning")
        app.tell("fourth answer")
        await shows(pilot, "something went wrong", "fourth answer")


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([80, 80], [80]),
        ([80, 100], [80, 100]),
        ([80, 100, 100], [80, 100, 100]),
        ([80, 80, 80], [80, 80]),
    ],
    ids=["said twice at the start", "changed while starting", "said twice later", "said thrice"],
)
def test_of_the_size_said_twice_at_the_start_only_the_first_word_is_laid_out(
    tmp_path: Path, sizes: list[int], taken: list[int]
) -> None:
    app = LoratuiApp(tmp_path)
    words = [Resize(Size(columns, 24), Size(columns, 24)) for columns in sizes]
    assert [word.size.width for word in words if not app._was_told_at_start(word)] == taken


async def test_in_a_window_that_is_too_small_no_key_does_what_nobody_sees(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(10)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "s sample")
            await pilot.resize_terminal(58, 18)
            await shows(pilot, "This terminal is 58×18")
            await pilot.press("s", "c", "p", "x", "y")
            await pilot.resize_terminal(80, 24)
            await hides(pilot, "This terminal is")
    assert control.pending(run) == []


@pytest.mark.parametrize("context", ["home", "samples", "plan", "dataset", "validation"])
@pytest.mark.parametrize("at_rest", [False, True])
async def test_the_focus_is_where_it_was_after_a_window_that_was_too_small(home: Path, context: str, at_rest: bool) -> None:
    if context == "home":
        finished_run(home)
    app = _app(home, context)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "help")
        await pilot.press("tab")
        await waits(pilot, lambda: app.screen.focused is not None)
        before = app.screen.focused
        for width, height in ((20, 5), (80, 24), (1, 1), (80, 24)):
            await pilot.resize_terminal(width, height)
            await (rests(pilot) if at_rest else pilot.pause())
        assert before is not None
        assert app.screen.focused is before
        await pilot.press("f2")
        await shows(pilot, "Preferences")
        asked = app.screen.focused
        await pilot.resize_terminal(20, 5)
        await (rests(pilot) if at_rest else pilot.pause())
        await pilot.resize_terminal(80, 24)
        await (rests(pilot) if at_rest else pilot.pause())
        assert asked is not None
        assert app.screen.focused is asked
        await pilot.press("escape")
        await waits(pilot, lambda: app.screen.focused is before)


async def test_a_list_with_runs_gives_way_to_the_notice_and_so_does_a_question(home: Path) -> None:
    run = finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, run.name)
        await pilot.press("d")
        await shows(pilot, "Delete")
        await pilot.resize_terminal(40, 10)
        await shows(pilot, "This terminal is 40×10")
        assert run.name not in screen_text(pilot.app)
        await pilot.press("y")
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "Delete")
    assert run.path.is_dir()


@pytest.mark.parametrize("key", ["question_mark", "d", "ctrl+p", "ctrl+o", "f2", "f9", "y"])
async def test_ctrl_c_leaves_whatever_is_open(home: Path, key: str) -> None:
    finished_run(home)
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "leave")
        await pilot.press(key)
        await waits(pilot, lambda: len(app.screen_stack) > 2)
        await pilot.press("ctrl+c")
        await waits(pilot, lambda: not app.is_running)


@pytest.mark.parametrize("trouble", ["gone", "newer", "another's"])
async def test_a_run_that_cannot_be_opened_is_told_and_the_app_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    run = finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, run.name, "enter open")
        if trouble == "gone":
            shutil.rmtree(run.path)
        elif trouble == "newer":
            run.marker.write_text('{"format": 99, "created": 1}')
        else:
            monkeypatch.setattr("os.geteuid", lambda: 65_534)
        await pilot.press("enter")
        words = {"gone": "no run", "newer": "A newer loratui", "another's": "(uid"}  # a word that no line end can part
        await shows(pilot, words[trouble])
        assert pilot.app.is_running


async def test_who_only_looks_may_see_the_run_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    monkeypatch.setattr("os.geteuid", lambda: 65_534)
    async with LoratuiApp(home, view_only=True).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, run.name, "view only")
        await pilot.press("t", "v")
        await shows(pilot, run.name, "validation")


async def test_the_jump_goes_to_the_panels_of_the_dashboard(home: Path) -> None:
    run = finished_run(home)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "900 of 900")
        await pilot.press("ctrl+o")
        await shows(pilot, "Press a letter to go there")
        await pilot.press("a")
        await waits(pilot, lambda: pilot.app.screen.has_class("-large-plot"))


async def test_what_does_not_fit_beside_the_fields_is_reached_by_a_key(home: Path) -> None:
    draft = demo_draft().with_values({"schedule.epochs": 30, "training.rank": 8, "optimizer.learning_rate": 1e-3})
    async with LoratuiApp(home, "plan", draft=draft).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "pgdn more")
        await pilot.press("pagedown", "pagedown", "pagedown")
        await shows(pilot, "shown 300 times")


async def test_without_a_shell_to_come_back_from_ctrl_z_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loratui.tui.terminal.terminal_app.has_shell", lambda: False)
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+z")
        await shows(pilot, "There is no shell here")
