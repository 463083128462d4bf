"""What the engine says to a command line, said in keys and fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from screen_text import hides, shows, type_text

from loratui.engine.errors import LoratuiError
from loratui.engine.machine import hub
from loratui.engine.machine.hub_words import explain
from loratui.engine.planning.bases import find_base
from loratui.presets import load_preset, schema
from loratui.tui.app import LoratuiApp
from loratui.tui.app_words import in_keys, in_token_field
from loratui.tui.wizard.draft import Draft

_COMMAND_LINE = re.compile(r"loratui (login|bases|download)|--\w|command")


@pytest.mark.parametrize("model", ["", "owner/name", "/nowhere/at all"])
def test_a_base_that_is_not_here_is_found_by_keys(model: str) -> None:
    base = schema.replace(load_preset("demo").settings, {"base.model": model}).base
    with pytest.raises(LoratuiError) as caught:
        find_base(base)
    assert not _COMMAND_LINE.search(in_keys(caught.value.remedy))
    assert "list below" in in_keys(caught.value.remedy)


def test_what_arrived_is_spoken_of_only_where_something_is_fetched() -> None:
    asked = explain(ConnectionError(), "owner/name", "https://hub", token=False, fetching=False)
    assert "arrived" not in asked.remedy
    fetched = explain(ConnectionError(), "owner/name", "https://hub", token=False)
    assert "the same command goes on" in fetched.remedy
    assert in_keys(fetched.remedy).endswith("What arrived is kept; f6 goes on with it.")


async def test_a_token_that_is_refused_leaves_the_keys_in_sight(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> hub.Account:
        raise hub.HubError(
            "login", "No such token.", "Copy it again from here, then: loratui login. One in HF_TOKEN comes first."
        )

    monkeypatch.setattr("loratui.engine.machine.hub.login", refuse)
    draft = Draft().with_preset("demo")
    async with LoratuiApp(home, "base", draft=draft).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "f7 token")
        await pilot.press("f7")
        await shows(pilot, "enter signs in, esc closes")
        await type_text(pilot, "hf_wrong")
        await pilot.press("enter")
        await hides(pilot, "Asking the hub")
        text = await shows(pilot, "No such token", "enter signs in, esc closes", "and paste it here")
        assert not _COMMAND_LINE.search(text)
    assert in_token_field("If it is private, sign in first: loratui login.") == "If it is private, sign in first here."
