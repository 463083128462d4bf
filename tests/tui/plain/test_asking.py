"""Questions in a terminal that can do more than lines."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from loratui.tui.plain.asking import QuestionaryAsker


def test_one_enter_takes_a_path_whatever_names_could_follow_it(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    asked: list[str] = []

    def check(answer: str) -> str:
        asked.append(answer)
        return ""

    async def typed() -> None:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            answer = asyncio.create_task(asyncio.to_thread(QuestionaryAsker().path, "Folder", "", check))
            for key in f"{tmp_path}/ph":
                keys.send_text(key)
                await asyncio.sleep(0.02)  # as a person types: names are offered between two keys, if at all
            keys.send_text("\r")
            try:
                assert await asyncio.wait_for(asyncio.shield(answer), 3.0) == f"{tmp_path}/ph"
            finally:
                keys.send_text("\r\r")  # so that a failure ends

    asyncio.run(typed())
    assert asked == [f"{tmp_path}/ph"]
