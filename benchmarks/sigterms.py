"""Sends SIGTERM to real runs at any moment, as a box does that is taken back, and times them until all is saved and they have ended.

    python benchmarks/sigterms.py [--times 100] [--seed 1] [--out FILE.json]

The real supervisor and trainer on the embedded base of SD1.5, with batches of 4 images twice a step and samples of 20 steps. The signal comes at random
moments of the whole run; while libraries, base, captions and images are loaded; within a sample; within the writing of a checkpoint
(at an operation on its files); while blocks are compiled, for which torch's compiler is switched on for the CPU. Each run must end within 4 s
with exit code 143, with a checkpoint of its last step. One in five is resumed and must end like one that was not stopped.
Then ten runs on a disk whose every sync takes 0.3 s get SIGTERM, and SIGKILL 5 s later: what was acknowledged must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # each run compiles anew

from fork_trainers import Place, ready, wait, wait_until_free
from kill_points import Point
from machine_facts import command, facts
from os_seam import FSYNC, Operation
from run_oracle import Undisturbed, end_problems, problems, undisturbed

from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, read_events
from loratui.engine.training import speed

MOST_S = 4.0
KILLED_AFTER_S = 5.0
SLOW_SYNC_S = 0.3
RESUMED = 5
"""One run in so many is resumed to its end."""
SETTINGS = ("schedule.epochs=2", "training.batch_size=4", "training.accumulation=2", "samples.steps=20", "schedule.repeats=4")
WHERE = (
    *("anywhere",) * 8,
    *("Loading the training libraries", "Encoding captions", "Encoding images", "Loading embedded:sd15"),
    *("Making 1 sample",) * 3,
    *("writing",) * 3,
    *("Compiling the base for this GPU",) * 2,
)
"""A phase is named by its text."""
WRITING = (
    Point("create checkpoints/.step-#.tmp/.adapter.safetensors.tmp"),
    Point("write checkpoints/.step-#.tmp/.optimizer.safetensors.tmp"),
    Point("fsync checkpoints/.step-#.tmp/state.json", 2),
    Point("rename checkpoints/step-#", 2),
    Point("fsync checkpoints"),
    Point("write output/.qxz-#.safetensors.tmp"),
    Point("rename state.json", 3),
    Point("fsync events.jsonl", 4),
)


class Terminations:
    """The runs of one call."""

    def __init__(self, home: Path, seed: int) -> None:
        self.place = Place(home, "embedded:sd15", SETTINGS)
        self.place.points()
        self.dice = random.Random(seed)
        self.times: dict[str, list[float]] = {}
        self.failures: list[str] = []
        self.ends: Counter[int] = Counter()
        run = self.place.make()
        began = time.monotonic()
        assert wait(self.place.supervise(run)) == 0, run.trainer_log.read_text()
        self.usual_s = time.monotonic() - began
        self.reference: Undisturbed = undisturbed(run)
        self.place.reached.unlink(missing_ok=True)

    def one(self, number: int, where: str) -> None:
        """Stops one run, and looks at it."""
        compiled = where.startswith("Compiling")
        run = self.place.make()
        with compiling() if compiled else contextlib.nullcontext():
            supervisor = self.place.supervise(run) if where != "writing" else self._within_a_write(run)
            if where == "anywhere":
                time.sleep(self.dice.uniform(0.0, 0.9 * self.usual_s))
            elif where != "writing":
                wait_for_phase(run, where)
                time.sleep(self.dice.uniform(0.0, 10.0 if compiled else 0.3))
            began = self._terminate(supervisor, where)
            code = wait(supervisor)
        took = time.monotonic() - began
        wait_until_free(run)
        self.times.setdefault(where, []).append(round(took, 3))
        self.ends[code] += 1
        said = list(problems(run, self.reference, swept=False)) if not compiled else []
        last = max((event.count("step") for event in events(run, "step")), default=0)
        if code not in (143, 0):
            said.append(f"exit code {code}")
        if took > MOST_S:
            said.append(f"took {took:.1f} s")
        if run.last_checkpoint_step() != last:
            said.append(f"step {last} was made, and step {run.last_checkpoint_step()} saved")
        if number % RESUMED == 0 and not said and not compiled:
            code = wait(self.place.supervise(run))
            said += end_problems(run, self.reference) if code == 0 else [f"its resume ended with {code}"]
        self.failures += [f"{run.name}, {where}: {words}" for words in said]
        if not said:
            shutil.rmtree(run.path)

    def _within_a_write(self, run: RunDirectory) -> int:
        """Starts a run whose trainer sends the signal itself, at an operation on its files."""
        self.place.armed = [self.dice.choice(WRITING)]
        self.place.act = terminate_the_supervisor
        self.place.reached.unlink(missing_ok=True)
        supervisor = self.place.supervise(run)
        self.place.armed = []
        return supervisor

    def _terminate(self, supervisor: int, where: str) -> float:
        """Sends SIGTERM, if the run does not do so itself; when it came, by the monotonic clock."""
        if where != "writing":
            os.kill(supervisor, signal.SIGTERM)
            return time.monotonic()
        end = time.monotonic() + 60
        while not self.place.reached.exists():
            assert time.monotonic() < end, "no point was reached"
            time.sleep(0.002)
        return time.monotonic()

    def killed_on_a_slow_disk(self) -> None:
        """SIGTERM, and SIGKILL to both 5 s later: row 20."""
        run = self.place.make()
        self.place.around = slowly
        supervisor = self.place.supervise(run)
        self.place.around = None
        wait_for_phase(run, "Loading embedded:sd15")
        time.sleep(self.dice.uniform(0.3, 4.0))
        os.kill(supervisor, signal.SIGTERM)
        end = time.monotonic() + KILLED_AFTER_S
        while time.monotonic() < end and os.waitpid(supervisor, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        if lock.is_held(run.lock):
            owner = lock.read_owner(run.lock)
            assert owner is not None
            for process in (owner.trainer, owner.supervisor):
                process.send_signal(signal.SIGKILL)
            self.ends[-signal.SIGKILL] += 1
            os.waitpid(supervisor, 0)
            wait_until_free(run)
        said = list(problems(run, self.reference, swept=False))
        self.failures += [f"{run.name}, slow disk: {words}" for words in said]


def slowly(operation: Operation, carry_out: Any) -> Any:
    if operation.kind == FSYNC:
        time.sleep(SLOW_SYNC_S)
    return carry_out()


def terminate_the_supervisor() -> None:
    os.kill(os.getppid(), signal.SIGTERM)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Within the block runs compile their blocks for the CPU before their first step."""
    plain = speed.Compiling.__init__

    def init(own: speed.Compiling, plan: MemoryPlan, *more: Any) -> None:
        plain(own, dataclasses.replace(plan, compile="on"), *more)

    speed.Compiling.__init__ = init  # type: ignore[method-assign]  # the plan of a CPU never compiles
    try:
        yield
    finally:
        speed.Compiling.__init__ = plain  # type: ignore[method-assign]  # as it was


def events(run: RunDirectory, kind: str) -> list[Event]:
    return [event for event in read_events(run.events, 0, 1 << 30).events if event.type == kind]


def wait_for_phase(run: RunDirectory, text: str) -> None:
    end = time.monotonic() + 60
    while not any(event.text("text") == text for event in events(run, "phase_changed")):
        assert time.monotonic() < end, f"no phase {text}"
        time.sleep(0.005)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--slow", type=int, default=10, help="runs on a slow disk, which are killed too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ready()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loratui-sigterms-") as folder:
        os.environ["HOME"], os.environ["LORATUI_HOME"] = folder, f"{folder}/loratui"
        made = Terminations(Path(folder), args.seed)
        for number in range(args.times):
            made.one(number, WHERE[number % len(WHERE)])
        for _ in range(args.slow):
            made.killed_on_a_slow_disk()
    times = sorted(taken for each in made.times.values() for taken in each)
    figures = {
        "times": len(times),
        "longest_s": times[-1],
        "median_s": times[len(times) // 2],
        "within_4_s": sum(taken <= MOST_S for taken in times),
        "longest_by_moment_s": {where: max(taken) for where, taken in made.times.items()},
        "ends": {str(code): count for code, count in made.ends.items()},
        "killed_on_a_slow_disk": args.slow,
        "failures": made.failures,
        "seconds": round(time.monotonic() - began, 1),
        "seed": args.seed,
    }
    report = {
        "format": 1,
        "benchmark": "sigterms",
        "name": "embedded:sd15",
        **facts(),
        "commands": [command()],
        **figures,
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{figures['within_4_s']} of {len(times)} within 4 s, longest {times[-1]} s, in {figures['seconds']} s:")
    print(figures["longest_by_moment_s"], figures["ends"])
    print(*made.failures[:50], sep="\n")
    return 1 if made.failures else 0


if __name__ == "__main__":
    sys.exit(main())
