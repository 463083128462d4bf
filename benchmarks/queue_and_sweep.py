"""The queue and a sweep as a whole, with real runs: it waits while another program holds the GPU, then trains, validates and compares.

    python benchmarks/queue_and_sweep.py [--device cpu] [--base embedded:sd15] [--preset demo] [--over rank=4,16] > sweep.json

Prints how long the queue waited and for whom, how each run ended, how long each took to encode images and captions (the first for all),
and which run was picked.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events
from loratui.engine.runs.queue import entries
from loratui.presets import SHIPPED

PATIENCE_S = 1800.0
HOLD = "import torch; total = torch.cuda.mem_get_info()[1]; held = torch.empty(int(0.4 * total), dtype=torch.uint8, device='cuda'); print('held', flush=True); input()"
"""A program that holds more of the card than the queue overlooks, until its input ends."""


def main() -> None:
    """Runs it in a home of its own and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--base", default="embedded:sd15")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default=str(SHIPPED / "bases" / "anafox"))
    parser.add_argument("--over", action="append", help="as of loratui sweep; default: rank=4,16")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    parser.add_argument("--home", type=Path, help="where the runs stay; default: a folder that is deleted")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = args.home or Path(temporary)
        print(json.dumps(measure(args, home), indent=1))


def measure(args: argparse.Namespace, home: Path) -> dict[str, Any]:
    """All figures."""
    holder = None if args.device == "cpu" else hold()
    words = ["sweep", args.dataset, "--preset", args.preset, "--base", args.base, "--trigger", "anafox", "--class", "woman"]
    for name, values in (("--over", args.over or ["rank=4,16"]), ("--set", args.sets)):
        words += [word for value in values for word in (name, value)]
    began = time.monotonic()
    loratui(home, *words, "--device", args.device, "--yes")
    found: dict[str, Any] = {}
    if holder is not None:
        wait_for(lambda: "The GPU is in use" in log(home), "the queue to wait for the GPU")
        found["waited_for"] = [line for line in log(home).splitlines() if "The GPU is in use" in line][-1]
        holder.communicate("\n")
        released = time.monotonic()
        wait_for(lambda: "is started" in log(home), "the first run")
        found["started_after_release_s"] = round(time.monotonic() - released, 1)
    wait_for(lambda: not entries.read(home).entries, "all runs")
    found["seconds"] = round(time.monotonic() - began, 1)
    compared = json.loads(loratui(home, "sweeps", "latest", "--json"))
    runs = [{**row, "caching_s": caching_s(RunDirectory(Path(row["path"])))} for row in compared["runs"]]
    shown = ("run", "values", "status", "exit_code", "caching_s", "measures", "verdict")
    return {**found, "pick": compared["pick"], "runs": [{name: run[name] for name in shown} for run in runs]}


def hold() -> subprocess.Popen[str]:
    """Another program on the card, which holds its memory by now."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n", "torch could not use the GPU"
    return process


def loratui(home: Path, *words: str) -> str:
    """What a command prints on stdout; what it tells goes to stderr."""
    env = {**os.environ, "LORATUI_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "loratui.tui.cli", *words], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def caching_s(run: RunDirectory) -> float:
    """Seconds in which a training encoded images and captions."""
    return round(sum(_phases(run)), 2)


def _phases(run: RunDirectory) -> Iterator[float]:
    phases = [event for event in read_events(run.events, 0, 1 << 30).events if event.type == "phase_changed"]
    for event, following in itertools.pairwise(phases):
        if event.text("phase") == "caching":
            yield following.up - event.up


def log(home: Path) -> str:
    """What the queue has done."""
    path = home / entries.LOG
    return path.read_text() if path.exists() else ""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ends the benchmark where it waits in vain."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
