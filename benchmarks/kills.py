"""Kills real runs at every lasting write and at random moments, and looks after each kill whether anything is lost.

    python benchmarks/kills.py [--kills 5000] [--workers 2] [--base random] [--seed 1] [--out FILE.json]

The real supervisor starts the real trainer on the embedded base of SD1.5: 20 steps, dropout, an average of the weights, five samples, checkpoints
beside the training every 0.05 s, two of them kept. Half of the kills come before, half-way through or after an operation on a file of the run
(create, write, fsync, rename, link, unlink, of trainer and supervisor), or between the parts of a step; half come from outside, at a random moment, to the
trainer, the supervisor or both. A third of the runs are killed again while they resume. After each kill `tests/support/run_oracle.py` looks:
the newest valid checkpoint is at least the last acknowledged one, everything visible is whole, leftovers are gone once the run is resumed, every loss is
that of an undisturbed run as a hex float. At the end of each run weights, average, optimizer, position and LoRA files are equal to the undisturbed ones.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from fork_trainers import Place, in_workers, random_base, ready, wait, wait_until_free
from kill_points import Point
from machine_facts import command, facts
from run_oracle import Undisturbed, end_problems, problems, undisturbed

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events

KILLS_A_RUN = 9
AT_ONCE = 1000
"""The report is written after so many kills."""
WHOM = ("trainer",) * 6 + ("both",) * 3 + ("supervisor",)


class Campaign:
    """One process that makes runs, kills them and looks at them."""

    def __init__(self, home: Path, base: str, seed: int) -> None:
        self.place = Place(home, base)
        self.dice = random.Random(seed)
        self.found = home / "problems.txt"
        self.kills: Counter[str] = Counter()
        self.never: list[str] = []
        """Points that no run came by."""
        self.runs = 0
        run = self.place.make()
        began = time.monotonic()
        assert wait(self.place.supervise(run)) == 0, run.trainer_log.read_text()
        self.usual_s = time.monotonic() - began
        self.reference: Undisturbed = undisturbed(run)
        self.place.inspect = lambda run: self._look(run, swept=True)

    def _look(self, run: RunDirectory, *, swept: bool) -> None:
        self._note(run, *problems(run, self.reference, swept=swept))

    def _note(self, run: RunDirectory, *words: str) -> None:
        with self.found.open("a") as file:
            file.writelines(f"{run.name}: {line}\n" for line in words)

    def at_points(self, points: list[Point]) -> None:
        """Kills runs at these points. Each process dies at the first that it reaches, so most kills meet a resume."""
        self.place.armed = points
        left = len(points) + 1
        while (waiting := self.place.waiting()) and len(waiting) < left:
            left = len(waiting)
            run = self.place.make()
            while not self._is_done(run):
                self._one(run, self.place.supervise(run))
            self._end(run)
        self.kills["at points"] = len(points) - len(waiting)
        self.never = [str(point) for point in waiting]
        self.place.armed = []

    def at_random(self, kills: int) -> None:
        """Kills runs from outside at random moments."""
        while self.kills["at random"] < kills:
            run, supervisor = self.place.make(), 0
            for _ in range(min(KILLS_A_RUN, kills - self.kills["at random"])):
                if not supervisor and self._is_done(run):
                    break
                supervisor = supervisor or self.place.supervise(run)
                # Most kills meet the training; some meet the start, which is a resume from the second on.
                longest = self.usual_s * (0.2 if self.dice.random() < 0.3 else 0.5)
                time.sleep(self.dice.uniform(0.0, longest))
                supervisor = self._kill(run, supervisor, self.dice.choice(WHOM))
            if supervisor:
                self._one(run, supervisor)
            while not self._is_done(run):
                self._one(run, self.place.supervise(run))
            self._end(run)

    def _kill(self, run: RunDirectory, supervisor: int, whom: str) -> int:
        """Kills one or both; returns the supervisor that lives, 0 if none does. Then nobody holds the run."""
        owner = lock.read_owner(run.lock)
        trainer = owner.trainer if owner and owner.supervisor.pid == supervisor else None
        killed = whom != "supervisor" and trainer is not None and trainer.send_signal(signal.SIGKILL)
        if whom == "trainer" and killed:
            self.kills["at random"] += 1
            return supervisor  # it starts another
        if os.waitpid(supervisor, os.WNOHANG) == (0, 0):
            os.kill(supervisor, signal.SIGKILL)
            wait(supervisor)
            killed = True
        self.kills["at random"] += killed
        wait_until_free(run)
        self._look(run, swept=False)
        return 0

    def _one(self, run: RunDirectory, supervisor: int) -> None:
        wait(supervisor)
        wait_until_free(run)
        self._look(run, swept=False)

    @staticmethod
    def _is_done(run: RunDirectory) -> bool:
        last = [event for event in read_events(run.events, 0, 1 << 30).events if event.type == "run_finished"]
        return bool(last) and last[-1].get("status") == "done"

    def _end(self, run: RunDirectory) -> None:
        self._note(run, *end_problems(run, self.reference))
        self.runs += 1
        if not self.found.exists():  # else it is there to be looked at
            shutil.rmtree(run.path)


def worked(home: Path, base: str, points: list[Point], at_random: int, seed: int) -> dict[str, Any]:
    """The figures of one worker."""
    home.mkdir(parents=True)
    campaign = Campaign(home, base, seed)
    campaign.at_points(points)
    campaign.at_random(at_random)
    failures = campaign.found.read_text().splitlines() if campaign.found.exists() else []
    return {"kills": campaign.kills, "never": campaign.never, "runs": campaign.runs, "failures": failures}


class Part(NamedTuple):
    """What some kills found."""

    reports: list[dict[str, Any]]
    """Of each worker."""
    points: set[Point]
    known: int


def part(base: str, kills: int, workers: int, seed: int) -> Part:
    """So many kills, half of them at points."""
    with tempfile.TemporaryDirectory(prefix="loratui-kills-") as folder:
        home = Path(folder)
        os.environ.update(HOME=folder, LORATUI_HOME=str(home / "loratui"))
        base = random_base(home / "base") if base == "random" else base
        every = Place(home, base).points()
        dice = random.Random(seed)
        chosen = [point for _ in range(-(-kills // 2 // len(every))) for point in dice.sample(every, len(every))]
        chosen = chosen[: kills // 2]
        at_random = (kills - len(chosen)) // workers
        works = [
            partial(worked, home / f"worker-{n}", base, chosen[n::workers], at_random, 1000 * seed + n) for n in range(workers)
        ]
        return Part(in_workers(home, works), set(chosen), len(every))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--base", default="embedded:sd15", help="random: one with random weights, of a thousandth of the size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ready()
    began = time.monotonic()
    runs = 0
    by: Counter[str] = Counter()
    points: set[Point] = set()
    lists: dict[str, list[str]] = {"never_reached": [], "failures": []}
    for number, at in enumerate(range(0, args.kills, AT_ONCE)):
        found = part(args.base, min(AT_ONCE, args.kills - at), args.workers, args.seed + number)
        points |= found.points
        for report in found.reports:
            by += Counter(report["kills"])
            runs += report["runs"]
            lists["failures"] += report["failures"]
            lists["never_reached"] += report["never"]
        report = {
            "format": 1,
            "benchmark": "kills",
            "name": args.base,
            **facts(),
            "commands": [command()],
            "kills": sum(by.values()),
            "by": dict(by),
            "points_known": found.known,
            "points": len(points),
            "places": len({(point.of, point.place) for point in points}),
            **lists,
            "runs": runs,
            "seconds": round(time.monotonic() - began, 1),
            "workers": args.workers,
            "seed": args.seed,
        }
        if args.out:
            args.out.write_text(json.dumps(report, indent=1) + "\n")
        print(
            f"{report['kills']} kills of {report['runs']} runs in {report['seconds']} s: {len(lists['failures'])} failures",
            flush=True,
        )
    print(f"{report['points']} of {report['points_known']} points at {report['places']} places; {dict(by)}")
    print(*lists["failures"][:50], sep="\n")
    return 1 if lists["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
