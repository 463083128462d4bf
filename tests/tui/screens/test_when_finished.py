"""The app chooses what follows a run, before its start and at any time after; the countdown is shown and cancelled by a key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ended_runs import Received, end, ended, make, server, states
from screen_text import hides, shows, type_text, waits

from loratui.engine.machine import addresses, pods
from loratui.engine.runs import control, lineage, lock
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.when_finished import choice
from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.demo import demo_draft

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def own_surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*pods._NAMES, *(one for names in addresses.VARIABLES.values() for one in names)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pods, "_FIRST_PROCESS", home / "none")


@pytest.fixture
def received() -> Iterator[Received]:
    with server() as running:
        yield running


async def test_the_plan_step_puts_it_into_the_recipe(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, "1 800 image-steps")
        await pilot.press("f")
        await shows(pilot, "When finished", "notify: nobody", "stop the rented pod")
        await pilot.press("enter")
        await shows(pilot, "notify: webhook", "There is no address for webhook")
        await pilot.press("down", "enter")
        await shows(pilot, "stop the rented pod after 120 s", "This machine is no pod")
        await pilot.press("tab")
        await type_text(pilot, "rsync:me@host:loras")
        await pilot.press("tab")
        await type_text(pilot, "sh -c 'echo a'")
        await pilot.press("escape")
        await hides(pilot, "notify: webhook")
        assert app.draft.recipe is not None
        chosen = app.draft.recipe.settings.when_finished
        assert (chosen.notify, chosen.pod, chosen.copy_to) == ("webhook", "stop", "rsync:me@host:loras")
        assert chosen.command == ("sh", "-c", "echo a")


@pytest.mark.long
async def test_what_cannot_be_used_is_said_and_not_taken(home: Path) -> None:
    run = make(home)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, run.name, "f finished")
        await pilot.press("f")
        await shows(pilot, "notify: nobody")
        await pilot.press("tab")
        await type_text(pilot, "ftp:x")
        await pilot.press("enter")
        await shows(pilot, "does not look like")
        await pilot.press("escape")
        await hides(pilot, "notify: nobody")
    assert choice.read(run).copy_to == ""


@pytest.mark.long
async def test_a_key_sends_a_test(home: Path, received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_NTFY_URL", f"{received.address}/topic")
    run = make(home, notify="ntfy")
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, run.name, "f finished")
        await pilot.press("f")
        await shows(pilot, "notify: ntfy")
        await pilot.press("f6")
        await shows(pilot, "ntfy: Sent.")
    assert b"A test message" in received.requests[0][3]


async def test_the_countdown_is_shown_and_a_key_cancels_it(home: Path) -> None:
    run = make(home, pod="stop")
    held = lock.acquire(run.lock)
    end(run)
    with EventLog.open(run.events) as log:
        log.append("action", action="copy", state="done", message="2 files copied.", attempts=1, until=None)
        until = time.time() + 500
        log.append("action", action="pod", state="waiting", message="RunPod stops in 500 s.", attempts=0, until=until)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, "finishing", "✔ copy: 2 files copied.", "The pod stops in 4", "k cancel")
        await pilot.press("k")
        await waits(pilot, lambda: [one.command for one in control.pending(run)] == ["cancel_when_finished"])
        (command,) = control.pending(run)
        with EventLog.open(run.events) as log:
            log.append("command_acknowledged", id=command.id, command=command.command, ok=True, message="It is cancelled.")
            log.append("action", action="pod", state="cancelled", message="Cancelled as asked.", attempts=0, until=None)
        held.release()
        await shows(pilot, "stop of the pod: Cancelled as asked.", "✔ ")


async def test_what_is_left_is_done_when_the_person_says_so(home: Path) -> None:
    run = ended(home, command=("true",))
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, "f finished")
        await pilot.press("f")
        await shows(pilot, "notify: nobody")
        await pilot.press("escape")
        await shows(pilot, "has ended. Do it now?", "Left to do: command")
        await pilot.press("y")
        await waits(pilot, lambda: states(run) == {"command": "done"})
        await shows(pilot, "✔ command: true ended well.")


async def test_more_opens_the_plan_of_a_run_that_begins_with_the_weights(home: Path) -> None:
    from fake_run import finished_run

    run = finished_run(home)
    app = LoratuiApp(home, "training", run)
    async with app.run_test(notifications=True, size=SIZE) as pilot:
        await shows(pilot, "✔ done")
        await pilot.press("n")
        await shows(pilot, f"More from {run.name}", "epochs more, with its optimizer")
        await pilot.press("enter")
        await shows(pilot, "no checkpoint")  # the fake run has none that can be used
        await pilot.press("n")
        await shows(pilot, f"More from {run.name}")
        await pilot.press("down", "down", "enter")
        await waits(pilot, lambda: app.draft.recipe is not None)
        assert app.draft.recipe is not None
        assert app.draft.recipe.settings.adapter.start_from.startswith(str(run.output))


@pytest.mark.long
async def test_the_screen_of_a_run_shows_what_it_began_from(home: Path) -> None:
    first = ended(home)
    run = make(home)
    lineage.keep(run, lineage.of_file(first.output / "anafox.safetensors"))
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, f"starts from {first.name}")
