"""Makes docs/walk/*.png: a walk through the app, cell by cell as a terminal draws it.

python docs/make_walk.py [--out docs/walk] [--size 120x34] [--only dataset,plan]

The dataset is the demo's, with faults added; the runs are played by the tests' fake trainer, so no image waits for a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from fake_run import EPOCHS, PROMPTS, STEPS, FakeTrainer, finished_run, make_run, write_grid
from make_screenshot import FONT, draw
from PIL import Image
from screen_text import shows
from textual.pilot import Pilot

from loratui.engine.runs.directory import RunDirectory
from loratui.presets.bases import demo_dataset
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.topic_list import TopicList
from loratui.tui.widgets.image_grid import ImageGrid
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft

_PATIENCE_S = 60.0
_DECODED_S = 4.0
"""Thumbnails are decoded one after another."""


@dataclass(frozen=True)
class Stop:
    """A place of the walk: the app to open, with trainers that go on as long as the stack, and how to get to the place."""

    app: Callable[[Path, ExitStack], LoratuiApp]
    steer: Callable[[Pilot[Any]], Awaitable[object]]


def faulty_photos(folder: Path) -> Path:
    """The demo's images with what people's folders have: a copy, a turned photo, a tiny one, a web page."""
    shutil.copytree(demo_dataset(), folder)
    first = sorted(folder.glob("*.png"))[0]
    shutil.copy(first, folder / "copy of it.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(first) as image:
        turned = image.convert("RGB").resize((320, 240))
        turned.save(folder / "IMG_2041.jpg", exif=exif)
        image.convert("RGB").resize((48, 48)).save(folder / "from a chat.jpg")
    (folder / "download.jpg").write_text("<html>not found</html>")
    return folder


def a_photo_set(home: Path, _: ExitStack) -> LoratuiApp:
    """The dataset step of a plan with those images."""
    chosen = {"dataset.path": str(faulty_photos(home.parent / "photos")), "dataset.trigger": "anafox"}
    draft = Draft().with_preset("demo").with_values({**chosen, "dataset.class_word": "woman"})
    return LoratuiApp(home, "dataset", draft=draft)


def a_wizard_step(step: str) -> Callable[[Path, ExitStack], LoratuiApp]:
    """A step of the demo's plan."""
    return lambda home, _: LoratuiApp(home, step, draft=demo_draft())


GPU: dict[str, Any] = {
    "gpu": "NVIDIA GeForce RTX 3090",
    "gpu_memory_gib": 18.2,
    "gpu_memory_total_gib": 23.9,
    "gpu_c": 71,
    "gpu_w": 289.0,
    "gpu_limit_w": 350.0,
    "ram_gib": 9.6,
    "ram_total_gib": 62.0,
    "disk_free_gib": 41.0,
}
"""A machine that is not there: the one that the images were made on has no GPU."""


def play(run: RunDirectory, epochs: int, playing: ExitStack) -> None:
    """A run that trains, so many epochs and a half in."""
    trainer = playing.enter_context(FakeTrainer(run))
    trainer.start()
    for _ in range(epochs):
        trainer.steps(STEPS // EPOCHS)
        for index, prompt in enumerate(PROMPTS):
            trainer.sample(prompt, index)
    for busy in (91, 97, 96, 88, 95, 98, 97, 93, 96, 97):
        trainer.log.append("telemetry", **GPU, gpu_percent=busy)
    trainer.steps(STEPS // EPOCHS // 2)


def a_training(home: Path, playing: ExitStack) -> LoratuiApp:
    """A run in its seventh epoch."""
    run = make_run(home)
    play(run, 6, playing)
    return LoratuiApp(home, "training", run)


def a_validation(home: Path, _: ExitStack) -> LoratuiApp:
    """The validation of a run that is done."""
    run = finished_run(home)
    write_grid(run)
    return LoratuiApp(home, "validation", RunDirectory(run.path))


def some_runs(home: Path, playing: ExitStack) -> LoratuiApp:
    """The list: runs that ended well and badly, and one that trains."""
    finished_run(home, "bella")
    failed = make_run(home, "clara")
    with FakeTrainer(failed) as trainer:
        trainer.start()
        trainer.steps(333)
        trainer.finish("failed", 30, "The loss of step 334 is not finite.", "Lower the learning rate.")
    play(make_run(home), 6, playing)
    return LoratuiApp(home)


async def at_the_faults(pilot: Pilot[Any]) -> None:
    """On the finding about the copy, with the tiles beside it."""
    await shows(pilot, "! warning", "anafox_01.png", timeout_s=_PATIENCE_S)
    topics = pilot.app.screen.query_one(TopicList)
    topics.focus()
    while topics.topic is None or "same file" not in topics.topic.title.plain:
        await pilot.press("down")


async def on_an_image(pilot: Pilot[Any]) -> None:
    """An image large, with its caption."""
    await shows(pilot, "! warning", "anafox_01.png", timeout_s=_PATIENCE_S)
    pilot.app.screen.query_one(ImageGrid).focus()
    await pilot.press("right", "enter")
    await shows(pilot, "trained with:", "x  leave it out", timeout_s=_PATIENCE_S)


def until(*words: str, keys: tuple[str, ...] = ()) -> Callable[[Pilot[Any]], Awaitable[object]]:
    """Waits for the words, then presses the keys."""

    async def steer(pilot: Pilot[Any]) -> None:
        await shows(pilot, *words, timeout_s=_PATIENCE_S)
        await pilot.press(*keys)

    return steer


WALK: dict[str, Stop] = {
    "runs": Stop(some_runs, until("bella", "clara", "● running")),
    "preset": Stop(lambda home, _: LoratuiApp(home, "preset"), until("[1 preset]", "GPU", keys=("down", "down"))),
    "dataset": Stop(a_photo_set, at_the_faults),
    "image": Stop(a_photo_set, on_an_image),
    "plan": Stop(a_wizard_step("plan"), until("no warnings", "on this machine")),
    "preflight": Stop(a_wizard_step("preflight"), until("Ready:")),
    "training": Stop(a_training, until("epoch 7", "newest")),
    "validation": Stop(a_validation, until("✔ done", keys=("n", "n", "n", "n"))),
}
"""Name of each image and its place, in the order of the walk."""


async def walk_to(stop: Stop, home: Path, size: tuple[int, int], font: str) -> Image.Image:
    """One image of the walk."""
    with ExitStack() as playing:
        app = stop.app(home, playing)
        async with app.run_test(notifications=True, size=size) as pilot:
            await stop.steer(pilot)
            await pilot.pause(_DECODED_S)
            return draw(list(app.screen._compositor.render_strips()), font).quantize(96)


def main() -> None:
    """Writes the images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "walk")
    parser.add_argument("--size", default="120x34")
    parser.add_argument("--only", default=",".join(WALK))
    parser.add_argument("--font", default=FONT)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory(prefix="loratui-") as folder:
            home = Path(folder) / "home"
            home.mkdir()
            config = Path(folder) / "config"
            config.mkdir()
            (config / "app.toml").write_text("price_per_hour = 0.44\n")
            os.environ.update(LORATUI_HOME=str(home), LORATUI_CONFIG=str(config))
            # Lines for scp name a box of nobody, not the one that draws.
            os.environ["SSH_CONNECTION"] = "198.51.100.7 50000 203.0.113.5 22"
            image = asyncio.run(walk_to(WALK[name], home, (width, height), args.font))
            image.save(args.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
