"""What the dashboard costs where it hurts: a thin and slow line, a long log, an hour of training, and photos.

    python benchmarks/dashboard.py [line] [reattach] [hour] [photos]

Goals: at 16 KiB/s and 150 ms no key waits more than 300 ms in steady state (beside the 150 ms of the line itself);
the way back to 200 000 events within 1 s; at most 120 MB after an hour; 12 photos of 12 MP as thumbnails hold the
screen up for 50 ms at most. `benchmarks/bytes.py` measures bytes and processor.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fake_run import PROMPTS, FakeTrainer, make_run
from pty_terminal import Terminal

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import encode
from loratui.engine.runs.state_file import StateWriter

LORATUI = str(Path(sys.executable).parent / "loratui")
BYTES_PER_S, LATENCY_S = 16 * 1024, 0.15
EVENTS = 200_000


def line(home: Path, seconds: float = 40.0) -> str:
    """Keys on a line of 16 KiB/s: the time from a key to the first byte that answers it, without the line's latency."""
    run = make_run(home, "line")
    waits: list[float] = []
    with FakeTrainer(run, step_s=0.5) as trainer:
        trainer.start()
        trainer.steps(200)
        for index, prompt in enumerate(PROMPTS):
            trainer.sample(prompt, index)
        with Terminal.start([LORATUI, "attach", run.name], environ={"LORATUI_HOME": str(home)}) as terminal:
            thin = ThinLine(terminal)
            thin.read_for(15.0)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                trainer.steps(1)
                thin.read_for(0.5 + random.random() * 0.2)
                waits.append(thin.key_wait_s())
    return (
        f"key on 16 KiB/s and 150 ms: median {1000 * statistics.median(waits):.0f} ms, "
        f"worst of {len(waits)} {1000 * max(waits):.0f} ms (goal 300, of which 150 the line)"
    )


class ThinLine:
    """Reads a terminal no faster than a line of that speed carries."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._free_at = time.monotonic()

    def read_for(self, seconds: float) -> None:
        """Reads for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if now < self._free_at:
                time.sleep(min(self._free_at, end) - now)
                continue
            self._read(min(0.05, end - now))

    def key_wait_s(self) -> float:
        """Presses `l` (the scale of the plot) and waits for its answer to arrive; the line's latency is added once."""
        began = time.monotonic()
        mark = len(self._terminal.chunks)
        self._terminal.press("l")
        while time.monotonic() < began + 5.0:
            wait = self._free_at - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._read(0.05)
            if any("┤".encode() in part for _, part in self._terminal.chunks[mark:]):
                break
        return time.monotonic() - began + LATENCY_S

    def _read(self, seconds: float) -> None:
        count = len(self._terminal.chunks)
        _read_some(self._terminal, seconds)
        got = sum(len(part) for _, part in self._terminal.chunks[count:])
        self._free_at = time.monotonic() + got / BYTES_PER_S


def _read_some(terminal: Terminal, seconds: float, most: int = 1024) -> None:
    """One small read, so that the pty fills up as a real line's buffer does."""
    if select.select([terminal.fd], [], [], seconds)[0]:
        terminal.chunks.append((time.monotonic() - terminal.started, os.read(terminal.fd, most)))


def long_log(home: Path, events: int = EVENTS) -> RunDirectory:
    """A run that is alive, with so many steps in its log."""
    run = make_run(home, "long")
    with FakeTrainer(run) as trainer:
        trainer.start(optimizer_steps=events * 2, image_steps=events * 4, steps_per_epoch=events // 10)
        seq, lines, draw = 3, [], random.Random(1)
        began = time.time() - events * 0.5
        for step in range(1, events + 1):
            fields = {"step": step, "image_step": 2 * step, "epoch": 1 + step * 10 // (events + 1), "loss": draw.random() / 5}
            lines.append(encode("step", seq, began + step / 2, {**fields, "lr": 1e-3, "grad_norm": 0.5, "step_s": 0.5}))
            seq += 1
        with run.events.open("ab") as file:
            file.write(b"".join(lines))
    with EventLog.open(run.events) as log:  # the state file, as a trainer keeps it
        writer = StateWriter(run, log)
        log.append("heartbeat", phase="training")
        writer.write()
    return run


def reattach(home: Path) -> str:
    """From the command to the last step on the screen."""
    run = long_log(home)
    results = []
    for _ in range(5):
        with Terminal.start([LORATUI, "attach", run.name], environ={"LORATUI_HOME": str(home)}) as terminal:
            shown = None
            while shown is None:
                terminal.read_for(2.0)
                shown = terminal.chunk_that_shows("200 000 of 400 000 optimizer")
                assert shown is not None or time.monotonic() - terminal.started < 30, terminal.sent[-300:]
            results.append((terminal.chunks[shown][0], terminal.cpu_s()))
    times, cpu = sorted(t for t, _ in results), statistics.median(c for _, c in results)
    size = run.events.stat().st_size / 1e6
    return f"back to {EVENTS} events ({size:.0f} MB): best {times[0]:.2f} s, median {times[2]:.2f} s, processor {cpu:.2f} s until quiet (goal 1 s)"


def hour(home: Path) -> str:
    """An hour at two steps a second, with samples, told within a minute."""
    run = make_run(home, "hour")
    with FakeTrainer(run, step_s=0.5) as trainer:
        trainer.start(optimizer_steps=7200, image_steps=14_400, steps_per_epoch=720)
        with Terminal.start([LORATUI, "attach", run.name], environ={"LORATUI_HOME": str(home)}) as terminal:
            terminal.read_for(3.0)
            first = terminal.rss_mib()
            for block in range(60):
                trainer.steps(120)
                trainer.log.append("telemetry", gpu="H200", gpu_percent=90 + block % 9, ram_gib=3.0, disk_free_gib=50.0)
                trainer.sample(PROMPTS[block % 2], block % 2)
                terminal.read_for(0.8)
                terminal.chunks.clear()
            memory = terminal.rss_mib()
    return f"memory: {first:.0f} MiB at first, {memory:.0f} MiB after 7 200 steps and 60 samples (goal 120 MB)"


async def photos(home: Path) -> str:
    """Twelve photos of 12 MP as thumbnails at once: the longest time in which the app answers nothing."""
    from PIL import Image

    from loratui.tui.app import LoratuiApp
    from loratui.tui.widgets.thumbnail import ThumbnailView

    run = make_run(home, "photos")
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(6)
        noise = Image.effect_noise((1000, 750), 60).convert("RGB").resize((4000, 3000))
        for step in range(6):
            for index, prompt in enumerate(PROMPTS):
                path = run.samples / f"step-{step:06d}" / f"{index:02d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise.rotate(step).save(path, quality=88)
                relative = path.relative_to(run.path).as_posix()
                trainer.log.append(
                    "sample_written", step=step, image_step=step, index=index, path=relative, prompt=prompt, seed=1
                )
        app = LoratuiApp(home, "training", run)
        lags: list[tuple[float, float]] = []
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(1.0)
            watching = asyncio.create_task(_watch_lags(lags))
            began = time.monotonic()
            await pilot.press("2")
            while time.monotonic() < began + 20:
                await asyncio.sleep(0.05)
                views = list(app.screen.query(ThumbnailView))
                if len(views) == 12 and all(view._image is not None for view in views):
                    break
            took = time.monotonic() - began
            watching.cancel()
    wall, own = (", ".join(f"{1000 * lag:.0f}" for lag in sorted(kind)[-3:]) for kind in zip(*lags, strict=True))
    return f"12 photos of 12 MP: there after {took:.1f} s, worst lags {wall} ms, of its own processor time {own} ms (goal 50)"


async def _watch_lags(lags: list[tuple[float, float]]) -> None:
    """How much later than wished each short sleep ends, and the processor time of the screen's thread in between."""
    while True:
        before, used = time.monotonic(), time.thread_time()
        await asyncio.sleep(0.005)
        lags.append((time.monotonic() - before - 0.005, time.thread_time() - used))


def main() -> None:
    """Prints every measurement that is asked for, or all."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled, as after pip install
    wanted = sys.argv[1:] or ["line", "reattach", "hour", "photos"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LORATUI_CONFIG"] = str(Path(folder, "config"))
        for name in wanted:
            home = Path(folder, name)
            home.mkdir()
            if name == "photos":
                print(asyncio.run(photos(home)), flush=True)
            else:
                print({"line": line, "reattach": reattach, "hour": hour}[name](home), flush=True)


if __name__ == "__main__":
    main()
