"""Lets the power fail at every moment of a recorded run, and has loratui recover from what the disk may then hold.

    python benchmarks/power_losses.py [--states 100000] [--workers 2] [--base random] [--seed 1] [--out FILE.json]

What the real supervisor and trainer write is recorded (create, write, fsync, rename, link, unlink), with a kill and a resume on the way.
`tests/support/power_loss.py` has the model: after each operation, what was not synced is kept, dropped, torn, zeroed and reordered at random.
In each state the product itself looks for the newest valid checkpoint and reads the event log: every checkpoint that was acknowledged (its
event is synced) must be there, or a newer one; every LoRA file that was reported must be what was reported; nothing under a final name may be
damaged. From one state in twenty a trainer's own next steps are made as well: the log goes on, leftovers are swept, checkpoints are pruned.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from fork_trainers import Place, in_workers, random_base, ready, wait
from kill_points import Point
from machine_facts import command, facts
from os_seam import FSYNC, RENAME, Operation, recorded
from power_loss import Disk, Materialised, Tree

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import decode, read_events
from loratui.engine.runs.lora_hashes import is_as_saved
from loratui.engine.runs.summary import summarise
from loratui.engine.training.checkpoint import BadCheckpointError, newest_good, prune, verify

FAST = Path("/dev/shm")
GOES_ON = 20
"""From one state in so many the run goes on."""


class Told:
    """What was acknowledged: the events that were on the disk when a sync of the log ended."""

    def __init__(self) -> None:
        self.step = 0
        self.outputs: dict[str, str] = {}
        """File -> its SHA-256."""

    def synced(self, log: bytes) -> None:
        for line in log.splitlines():
            event = decode(line)
            if event is not None and event.type == "checkpoint_written":
                self.step = max(self.step, event.count("step"))
            elif event is not None and event.type == "output_written":
                self.outputs[event.text("path")] = event.text("sha256")


def lost(run: RunDirectory, told: Told, tree: Tree) -> Iterator[str]:
    """What the product finds no more, or finds damaged."""
    bad: list[str] = []
    try:
        newest = newest_good(run, bad.append)
    except LoratuiError as error:
        yield str(error)
        return
    found = newest.position.step if newest else 0
    if found < told.step:
        yield f"step {told.step} was acknowledged, and the newest checkpoint is {found}"
    for step in run.checkpoint_steps():
        if step != found:  # which was verified just now
            try:
                verify(run.checkpoint(step))
            except BadCheckpointError as error:
                yield f"visible, but {error}"
    events = read_events(run.events, 0, 1 << 30).events
    seen = [event.seq for event in events]
    if seen != sorted(set(seen)):
        yield "the numbers of the events do not rise"
    if told.step and not any(event.type == "checkpoint_written" and event.get("step") == told.step for event in events):
        yield f"the event of the checkpoint of step {told.step} is gone"
    for relative, digest in told.outputs.items():
        data = tree.get(relative)
        if (data is None or hashlib.sha256(data).hexdigest() != digest) and not is_as_saved(run.path / relative):
            yield f"{relative} is not what was reported"
    summarise(run)


def told_too_late(log: bytes, told: Told) -> Iterator[str]:
    """What is wrong where an older checkpoint is deleted before the newest is told for certain."""
    now = Told()
    now.synced(log)
    if now.step != told.step:
        yield f"a checkpoint was deleted before the event of step {now.step} was on the disk"


def goes_on(run: RunDirectory) -> None:
    """What a trainer does with a run before its first step and after its first checkpoint."""
    with EventLog.open(run.events) as log:
        log.append("warning", durable=True, code="x", message="", remedy="")
    prune(run, 2)


def worked(operations: list[Operation], start: Path, states: int, seed: int) -> dict[str, Any]:
    """The figures of one worker."""
    dice = random.Random(seed)
    disk, told = Disk(start), Told()
    seen: set[int] = set()
    failures: list[str] = []
    tried = gone_on = 0
    with tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None, prefix="loratui-power-") as folder:
        place = Materialised(Path(folder) / start.name)
        place.root.mkdir()
        for number, operation in enumerate(operations):
            disk.carry_out(operation)
            if operation.kind == FSYNC and operation.path == "events.jsonl":
                told.synced(disk.now("events.jsonl"))
            if operation.kind == RENAME and operation.path.endswith(".removed"):
                failures += told_too_late(disk.now("events.jsonl"), told)
            for _ in range(states * (number + 1) // len(operations) - states * number // len(operations)):
                tree = disk.after_power_loss(dice)
                tried += 1
                if (same := hash((told.step, len(told.outputs), frozenset(tree.items())))) in seen:
                    continue
                seen.add(same)
                place.hold(tree)
                run = RunDirectory(place.root)
                problems = list(lost(run, told, tree))
                if not problems and dice.randrange(GOES_ON) == 0:
                    gone_on += 1
                    goes_on(run)
                    problems = [f"after it went on: {words}" for words in lost(run, told, tree)]
                    place = place.anew()
                failures += [f"after operation {number} ({operation.place}): {words}" for words in problems]
    return {"states": tried, "different": len(seen), "gone_on": gone_on, "failures": failures}


def record(home: Path, base: str) -> tuple[list[Operation], Path]:
    """The operations of a run that is killed once and goes on, and the run as it was before them."""
    place = Place(home, base)
    place.points()
    run = place.make()
    start = home / "start" / run.name
    start.parent.mkdir()
    shutil.copytree(run.path, start)
    place.recorded, place.armed = home / "operations", [Point("compute backward pass", 9)]
    assert wait(place.supervise(run)) == 0, run.trainer_log.read_text()
    events = read_events(run.events, 0, 1 << 30).events
    assert [event.get("signal") for event in events if event.type == "trainer_ended"] == [signal.SIGKILL, None]
    return list(recorded(place.recorded)), start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--base", default="random", help="as in kills.py")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ready()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loratui-power-") as folder:
        home = Path(folder)
        os.environ["HOME"], os.environ["LORATUI_HOME"] = folder, str(home / "loratui")
        base = random_base(home / "base") if args.base == "random" else args.base
        operations, start = record(home, base)
        share = args.states // args.workers
        seeds = [1000 * args.seed + number for number in range(args.workers)]
        reports = in_workers(home, [partial(worked, operations, start, share, seed) for seed in seeds])
    figures = {
        "operations": len(operations),
        **{name: sum(report[name] for report in reports) for name in ("states", "different", "gone_on")},
        "failures": [line for report in reports for line in report["failures"]],
        "seconds": round(time.monotonic() - began, 1),
        "workers": args.workers,
        "seed": args.seed,
    }
    report = {
        "format": 1,
        "benchmark": "power_losses",
        "name": args.base,
        **facts(),
        "commands": [command()],
        **figures,
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{report['states']} states ({report['different']} different) of {len(operations)} operations in {report['seconds']} s:"
    )
    print(f"{len(figures['failures'])} failures; from {report['gone_on']} states the run went on")
    print(*figures["failures"][:50], sep="\n")
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
