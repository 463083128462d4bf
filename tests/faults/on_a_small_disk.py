"""A real run on a small disk that somebody fills: `on_a_small_disk.py FOLDER KIND ASK`, in a mount namespace of its own.

KIND is `tmpfs`, or `ext4` on a loop device. ASK is empty (room comes back), or `pause`, `stop` or `term`. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from random_bases import run_on, save_random_base, write_images

from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.summary import RunSummary, summarise

SETTINGS = ("schedule.repeats=10", "schedule.epochs=3", "adapter.targets=attention", "output.checkpoint_every_s=1")
SMALLEST = "samples.prompts=['a {trigger}']"


def main() -> None:
    """Mounts, trains, fills, waits, makes room or asks for the end, and goes on."""
    folder, kind, ask = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=230m,mode=700", "none", place], check=True)
    else:
        with (folder / "image").open("wb") as image:
            image.truncate(300 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", folder / "image"], check=True)
        subprocess.run(["mount", "-o", "loop", folder / "image", place], check=True)
        place.chmod(0o700)
    save_random_base(folder / "base")
    run = run_on(folder / "base", place, *SETTINGS, SMALLEST, folder=write_images(folder / "images"))
    launch(run)
    until(lambda: summarise(run).state.step > 5)
    fill(place)
    found: dict[str, Any] = {}
    waiting: RunSummary = until(lambda: (now := summarise(run)).status == "waiting" and now)
    found |= {"reason": waiting.reason, "advice": waiting.advice}
    began = time.monotonic()
    if ask:
        owner = lock.read_owner(run.lock)
        assert owner is not None
        if ask == "term":
            owner.supervisor.send_signal(signal.SIGTERM)
        else:
            control.send(run, ask)
        until(lambda: not owner.trainer.alive)
        found["answered_s"] = time.monotonic() - began
        until(lambda: not lock.is_held(run.lock))
        ended = summarise(run)
        found |= {"status": ended.status, "exit_code": ended.exit_code}
        empty(place)
        launch(run)
    else:
        empty(place)
        until(lambda: summarise(run).status == "running")
        found["went_on_s"] = time.monotonic() - began
    until(lambda: summarise(run).status == "done")
    batch = read_events(run.events, 0, 1 << 30)
    told = [event.type for event in batch.events]
    steps = [event.count("step") for event in batch.events if event.type == "step"]
    found |= {"skipped": batch.skipped, "seqs": [event.seq for event in batch.events] == list(range(1, len(told) + 1))}
    found |= {"waited": told.count("disk_waiting"), "resumed": told.count("disk_resumed"), "last_step": steps[-1]}
    print(json.dumps(found))


def fill(place: Path) -> None:
    """Takes every byte of the disk."""
    for name, piece in (("large", 1 << 20), ("small", 512)):
        file = os.open(place / name, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(file, b"x" * piece)
        except OSError:
            os.close(file)


def empty(place: Path) -> None:
    """Gives it back."""
    for name in ("large", "small"):
        (place / name).unlink()


def until(condition: Callable[[], Any]) -> Any:
    """Waits for what must come."""
    end = time.monotonic() + 400
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError("waited in vain")


if __name__ == "__main__":
    try:
        main()
    finally:  # nothing may outlive a test
        for name in sorted((Path(sys.argv[1]) / "disk" / "runs").glob("*")):
            owner = lock.read_owner(RunDirectory(name).lock)
            for process in (owner.supervisor, owner.trainer) if owner else ():
                process.send_signal(signal.SIGKILL)
