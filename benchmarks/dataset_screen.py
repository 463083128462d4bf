"""Prints how long keys wait in the dataset step: `python benchmarks/dataset_screen.py [IMAGES]` (10 000 without a number).

A headless app at 120 × 40. Two figures: the lag of the event loop (how late a timer of 5 ms is), and a key's response: from
pressing an arrow to the cursor having moved and been painted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.overview_screen import DatasetScreen
from loratui.tui.widgets.image_grid import ImageGrid
from loratui.tui.wizard.draft import Draft

SIZE = (120, 40)
_TICK_S = 0.005


class Lag:
    """How late the event loop is, while the block runs."""

    async def __aenter__(self) -> Lag:
        self.late_s: list[float] = []
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            self.late_s.append(time.perf_counter() - began - _TICK_S)

    def said(self) -> str:
        """The worst and the 99th of a hundred."""
        ordered = sorted(self.late_s)
        return f"worst {1000 * ordered[-1]:6.1f} ms, 99 % below {1000 * ordered[int(0.99 * len(ordered))]:6.1f} ms"


def draft_of(folder: Path) -> Draft:
    """A draft with everything typed."""
    typed = {"dataset.path": str(folder), "dataset.trigger": "anafox", "dataset.class_word": "woman"}
    return Draft().with_preset("sd15-portrait").with_values({**typed, "base.model": "embedded:sd15"})


async def until(condition: Any, timeout_s: float = 300.0) -> float:
    """Waits; returns how long it took."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > timeout_s:
            raise AssertionError("it never came")
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def key_response(pilot: Any, key: str) -> float:
    """Seconds from a key to its effect being painted."""
    grid = pilot.app.screen.query_one(ImageGrid)
    before = grid.item
    began = time.perf_counter()
    pilot.app.simulate_key(key)
    while grid.item == before:
        await asyncio.sleep(0)
    painted = asyncio.Event()
    grid.call_after_refresh(painted.set)
    await painted.wait()
    return time.perf_counter() - began


async def press_while(pilot: Any, running: Any) -> list[float]:
    """Responses to an arrow, right and left in turn, while something runs."""
    took, at = [], 0
    while running():
        took.append(await key_response(pilot, ("right", "down", "left", "up")[at % 4]))
        at += 1
        await asyncio.sleep(0.05)
    return took


def said(took: list[float]) -> str:
    """The worst and the median response."""
    ordered = sorted(took) or [0.0]
    worst, median = 1000 * ordered[-1], 1000 * ordered[len(ordered) // 2]
    return f"{len(took)} keys, worst {worst:6.1f} ms, median {median:5.1f} ms (goal below 100)"


async def large_photos(place: Path) -> None:
    """12 photos of 12 MP as tiles."""
    folder = place / "photos"
    folder.mkdir()
    one = Image.effect_noise((4000, 3000), 40).convert("RGB")
    for at in range(12):
        one.save(folder / f"{at:02d}.jpg", quality=90, comment=str(at))
    app = LoratuiApp(place / "home", "dataset", draft=draft_of(folder))
    async with app.run_test(size=SIZE) as pilot:
        screen = app.screen
        assert isinstance(screen, DatasetScreen)
        async with Lag() as lag:
            await until(lambda: screen.model.judgement is not None)
            grid = screen.query_one(ImageGrid)
            took = await until(lambda: len(grid.shown_images) >= 12 or (grid.shown_images and not grid._decoding))
        print(f"12 photos of 12 MP as tiles in {took:.1f} s: lag {lag.said()} (goal 50)", flush=True)
        await pilot.pause()


async def many_images(place: Path, count: int) -> None:
    """Keys while a large folder is read, checked and measured."""
    folder = place / "many"
    folder.mkdir()
    made = [Image.effect_noise((256, 256), 20 + at).convert("RGB") for at in range(40)]
    for at in range(count):
        path = folder / f"{at:05d}.jpg"
        made[at % 40].save(path, quality=60, comment=f"{at}")
        path.with_suffix(".txt").write_text(f"a photo of anafox woman, image {at}, in a park")
    app = LoratuiApp(place / "home", "dataset", draft=draft_of(folder))
    async with app.run_test(size=SIZE) as pilot:
        screen = app.screen
        assert isinstance(screen, DatasetScreen)
        async with Lag() as lag:
            read = await until(lambda: screen.model.edits is not None)
        print(f"read {count} images in {read:.1f} s: lag {lag.said()}", flush=True)
        grid = screen.query_one(ImageGrid)
        grid.focus()
        await pilot.pause()
        took = await press_while(pilot, lambda: screen.model.judgement is None)
        print(f"while it is checked: {said(took)}", flush=True)
        screen.model.measure()
        began = time.perf_counter()
        async with Lag() as lag:
            took = await press_while(pilot, lambda: screen.model.measuring is not None and time.perf_counter() - began < 60)
        assert screen.model.edits is not None
        measured = len(screen.model.edits.facts)
        print(f"deep check, {measured} in {time.perf_counter() - began:.0f} s: {said(took)}; lag {lag.said()}", flush=True)
        screen.model.stop_measuring()


def main() -> None:
    """Makes the images in a temporary folder and prints the figures."""
    os.environ["COLORTERM"] = "truecolor"
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        os.environ["LORATUI_HOME"] = name
        asyncio.run(large_photos(Path(name)))
        asyncio.run(many_images(Path(name), count))


if __name__ == "__main__":
    main()
