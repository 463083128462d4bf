"""Prints how long keys wait in the table of tags, and in the review of proposals for the same images: `python benchmarks/tag_table.py [CAPTIONS]` (10 000 without a number).

A headless app at 80 × 24, over a folder that was read and checked. A key's response: from pressing it to the screen having
taken it and been painted; and how much of that the app's own thread computed, which does not depend on what else the machine
does. What another thread works out comes later, and is shown as the time until its words stand there.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dataset_screen import draft_of, until
from PIL import Image
from textual.widgets import OptionList

from loratui.engine.captioning.proposals import Proposal, Proposals
from loratui.engine.untrusted import sha256_of
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.captions_screen import CaptionsScreen
from loratui.tui.dataset.overview_screen import DatasetScreen
from loratui.tui.dataset.proposals_screen import ProposalsScreen
from loratui.tui.dataset.tag_list import TagList

SIZE = (80, 24)
GOAL_S = 0.1
POLL_S = 0.001
TAGS = 3000
"""Different tags of the set, a few of them frequent."""
_TAGS_EACH = 15
_LEAST_COUNT = 2


def made_captions(count: int) -> list[str]:
    """Captions in tags, as a tagger writes them."""
    drawn = random.Random(1)
    names = [f"tag {at}" for at in range(TAGS)]
    return [
        ", ".join(("anafox", "woman", *dict.fromkeys(names[int(TAGS * drawn.random() ** 3)] for _ in range(_TAGS_EACH))))
        for _ in range(count)
    ]


class Response(NamedTuple):
    """Of one key, in seconds."""

    waited_s: float
    computed_s: float


async def response(app: Any, key: str, taken: Callable[[], bool]) -> Response:
    """Seconds from a key to its effect being painted."""
    began, computed = time.perf_counter(), time.thread_time()
    app.simulate_key(key)
    while not taken():
        await asyncio.sleep(POLL_S)
    painted = asyncio.Event()
    app.screen.call_after_refresh(painted.set)
    await painted.wait()
    return Response(time.perf_counter() - began, time.thread_time() - computed)


async def measure(place: Path, count: int) -> list[tuple[str, list[Response], float]]:
    """For each key: what it does, its responses, and the longest wait for what follows from it."""
    folder = place / "photos"
    folder.mkdir()
    small = Image.new("RGB", (64, 64))
    for at, caption in enumerate(made_captions(count)):
        small.putpixel((0, 0), (at % 256, at // 256, 0))  # proposals go by what an image holds
        small.save(folder / f"{at:05d}.png")
        (folder / f"{at:05d}.txt").write_text(caption)
    proposed = [
        Proposal(
            image=sha256_of(path), file=path.name, captioner="blip", wish="w", text=f"anafox woman, number {at}", raw=("",)
        )
        for at, path in enumerate(sorted(folder.glob("*.png")))
    ]
    Proposals(place / "home", folder).put(proposed)
    rows: list[tuple[str, list[Response], float]] = []
    app = LoratuiApp(place / "home", "dataset", draft=draft_of(folder))
    async with app.run_test(size=SIZE) as pilot:
        step = app.screen
        assert isinstance(step, DatasetScreen)
        await until(lambda: step.model.judgement is not None)
        step._tiles.focus()
        await pilot.pause()
        first = await response(app, "c", lambda: isinstance(app.screen, CaptionsScreen))
        print(f"c, which loads the screen's modules once: {1000 * first.waited_s:.0f} ms", flush=True)
        await pilot.press("escape")
        opened = await response(app, "c", lambda: isinstance(app.screen, CaptionsScreen))
        screen = app.screen
        assert isinstance(screen, CaptionsScreen)
        await pilot.pause()
        tags, list_of_tags = screen.query_one("#tags", OptionList), screen.query_one(TagList)
        rows.append(("c opens", [opened], await until(lambda: tags.option_count > _LEAST_COUNT)))

        async def row(what: str, keys: str, taken: Callable[[str], Callable[[], bool]], follows: Callable[[], bool]) -> None:
            took, waited = [], 0.0
            for key in keys.split():
                took.append(await response(app, key, taken(key)))
                waited = max(waited, await until(follows))
            rows.append((what, took, waited))

        def moved(_: str) -> Callable[[], bool]:
            at = tags.highlighted
            return lambda: tags.highlighted != at

        def at_rest() -> bool:
            known = screen._worked_out
            return known is not None and known.asked == screen._asked

        def other(value: Callable[[], object]) -> Callable[[str], Callable[[], bool]]:
            def taken(_: str) -> Callable[[], bool]:
                before = value()
                return lambda: value() != before

            return taken

        tags.focus()
        await pilot.pause()
        await row("down in the tags", "down down down down down", moved, lambda: True)
        await row("space on a tag", "space space space", other(lambda: list_of_tags.filter), at_rest)
        await row("o orders", "o o o", other(lambda: list_of_tags._shown.order), lambda: True)
        await row("/ and letters", "slash 1 2", other(lambda: (app.focused, list_of_tags._shown.rows[:9])), lambda: True)
        screen.query_one("#bulk-edits", OptionList).focus()
        await pilot.pause()
        changes = screen.query_one("#bulk-edits", OptionList)
        await row("down in the changes", " ".join(["down"] * 7), other(lambda: changes.highlighted), at_rest)

        def past() -> int:
            return len(step.model.edits.past) if step.model.edits else 0

        await row("enter sorts all", "enter", other(past), at_rest)
        await row("u and r", "u r", other(past), at_rest)
        await pilot.press("escape")
        opened = await response(app, "p", lambda: isinstance(app.screen, ProposalsScreen))
        review = app.screen
        assert isinstance(review, ProposalsScreen)
        rows.append(("p opens", [opened], await until(lambda: len(review._names) == count)))
        await row("right in the review", "right right right", other(lambda: review.name_shown), lambda: True)
        await row("enter accepts", "enter enter", other(past), lambda: True)
        await row("x puts aside", "x", other(lambda: review._captioning.by), lambda: True)
        await row("a accepts the rest", "a", other(past), lambda: True)
        assert step.model.edits is not None
        print(
            f"{step.model.edits.unsaved} of {count} captions changed, {len(list_of_tags._shown.table.holders)} tags", flush=True
        )
    return rows


def main() -> None:
    """Makes the folder in a temporary place and prints the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        os.environ["LORATUI_HOME"] = name
        os.environ["LORATUI_CONFIG"] = name
        for what, took, waited in asyncio.run(measure(Path(name), count)):
            worst, computed = max(one.waited_s for one in took), max(one.computed_s for one in took)
            verdict = "ok" if worst <= GOAL_S else "SLOW"
            print(
                f"{what:20} {len(took)} keys, worst {1000 * worst:4.0f} ms ({verdict}), of it computed {1000 * computed:4.0f} ms; "
                f"what follows after {1000 * waited:5.0f} ms"
            )


if __name__ == "__main__":
    main()
