"""Real supervisors with real trainers as forks of this process, which has loaded all libraries: a start costs a quarter of a second.

Nothing of the product is replaced but how a trainer is begun: `children.become` calls its `main` instead of starting Python anew. So this
process must have no other thread, and must never train itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import random_bases
import torch
from kill_points import Point, Watch, die
from os_seam import Around, Recorder, unwatch, watched
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from loratui.engine import children
from loratui.engine.runs import lock, supervisor
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import __main__ as trainer
from loratui.engine.training import checkpoints, reporting
from loratui.engine.training.ema import EMA
from loratui.engine.training.flat_parameters import FlatParameters
from loratui.engine.training.trainer import Trainer
from loratui.engine.training.validation import grid

SETTINGS = (
    *("schedule.repeats=1", "schedule.epochs=5", "samples.steps=1", 'samples.prompts=["a {subject}"]'),
    *("adapter.targets=attention", "adapter.dropout=0.2", "dataset.caption_dropout=0.3", "training.ema_decay=0.9"),
    *("training.noise_offset=0.05", "optimizer.scheduler=cosine"),
)
"""Twenty steps that draw, drop and average, with a sample and a LoRA file after every fourth."""
CHECKPOINT_EVERY_S = 0.05
LOADED = (Trainer, grid)
"""What a trainer imports when it begins is here before the first fork."""


def random_base(folder: Path) -> str:
    """Makes a base with a thousandth of SD1.5's width, in a process of its own, since libraries keep threads."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            random_bases.save_random_base(folder)
            code = 0
        finally:
            os._exit(code)
    assert wait(pid) == 0
    return str(folder)


class Place:
    """Where the runs of one campaign are, and how they are made and carried out."""

    def __init__(self, home: Path, base: str, sets: Sequence[str] = ()) -> None:
        self.home, self._base, self._sets = home, base, sets
        self.armed: list[Point] = []
        """Every trainer and supervisor is killed at the first of these that it reaches; each kills once."""
        self.reached = home / "reached.txt"
        self.act: Callable[[], object] = die
        """What happens at a point."""
        self.around: Around | None = None
        """What is called for each operation of trainers and supervisors, where none of the others is."""
        self.inspect: Callable[[RunDirectory], object] = bool
        """Called in every trainer before it begins, when the supervisor has swept."""
        self.counted = home / "counted.json"
        self.count = False
        self.recorded: Path | None = None
        """Where all operations of supervisors and trainers are recorded, if they are."""
        self.modules = home / "modules.json"
        if not (home / "images").exists():
            random_bases.write_images(home / "images")
        children.become = self._become  # type: ignore[assignment]  # it returns to nobody
        reporting.STEPS_A_SECOND = math.inf
        checkpoints.interval_s = lambda *_: CHECKPOINT_EVERY_S

    def make(self) -> RunDirectory:
        return random_bases.run_on(Path(self._base), self.home, *SETTINGS, *self._sets, folder=self.home / "images")

    def supervise(self, run: RunDirectory) -> int:
        """Forks a supervisor of the run, and returns its pid."""
        assert threading.active_count() == 1, threading.enumerate()
        with children.held_back():  # as `launcher.launch` does
            pid = os.fork()
            if pid == 0:
                self._be_the_supervisor(run)
        return pid

    def _be_the_supervisor(self, run: RunDirectory) -> NoReturn:
        code = 1
        try:
            os.setsid()
            os.umask(0o077)
            to_log(run.supervisor_log)
            with self._watching(run, "supervisor"):
                held = lock.acquire(run.lock)
                code = supervisor.supervise(run, "train", held, command=["trainer"], restart_after_s=0.0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _become(self, *_: object) -> NoReturn:
        """Is the trainer of the run whose supervisor this process was forked from."""
        run = RunDirectory(Path(os.readlink("/proc/self/fd/1")).parent.parent)  # noqa: PTH115 - its log
        code = 99
        try:
            unwatch()  # as the supervisor may be
            self.inspect(run)
            with self._watching(run, "trainer") as watch, computing(watch):
                code = trainer.main([str(run.path)])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def waiting(self) -> list[Point]:
        """The armed points that no process has reached."""
        seen = set(self.reached.read_text().splitlines()) if self.reached.exists() else set()
        return [point for point in self.armed if str(point) not in seen]

    @contextlib.contextmanager
    def _watching(self, run: RunDirectory, of: str) -> Iterator[Watch]:
        watch = Watch([point for point in self.waiting() if point.of == of], self.reached, self.act)
        around = watch if self.armed or self.count else self.around
        if self.recorded is not None:
            around = Recorder(run.path, self.recorded)
        if around is None:
            yield watch
            return
        with watched(run.path, around):
            yield watch
        if self.count:
            if of == "trainer":
                self.modules.write_text(json.dumps(sorted(sys.modules)))
            told = {"counts": watch.counts, "halves": sorted(watch.halves)}
            self.counted.with_name(f"counted-{of}.json").write_text(json.dumps(told))

    def points(self) -> list[Point]:
        """Every point of an undisturbed run, which is made for it. What its trainer imported is imported here too, for those to come."""
        self.count = True
        try:
            run = self.make()
            assert wait(self.supervise(run)) == 0, run.trainer_log.read_text()
        finally:
            self.count = False
        for name in set(json.loads(self.modules.read_text())) - sys.modules.keys():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        ready()
        found: list[Point] = []
        for of in ("trainer", "supervisor"):
            told = json.loads(self.counted.with_name(f"counted-{of}.json").read_text())
            seen = Watch()
            seen.counts, seen.halves = told["counts"], set(told["halves"])
            found += seen.points(of)
        return found


@contextlib.contextmanager
def computing(watch: Watch) -> Iterator[None]:
    """Tells `watch` of the parts of each step: row 9 of the matrix of faults."""
    add, update = FlatParameters.add_gradients, EMA.update

    def told_add(self: FlatParameters, found: Any) -> None:
        add(self, found)
        watch.computed("backward pass")

    def told_update(self: EMA, step: int) -> None:
        update(self, step)
        watch.computed("average")

    FlatParameters.add_gradients = told_add  # type: ignore[method-assign]  # for this process alone
    EMA.update = told_update  # type: ignore[method-assign]  # the same
    register_optimizer_step_post_hook(lambda *_: watch.computed("optimizer"))
    register_optimizer_step_pre_hook(lambda *_: watch.computed("gradients"))
    yield


def in_workers(home: Path, works: Sequence[Callable[[], object]]) -> list[Any]:
    """What these bring, each carried out in a fork of its own; an error of one is shown, and a `RuntimeError` here."""
    pids = []
    for number, work in enumerate(works):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                (home / f"report-{number}.json").write_text(json.dumps(work()))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    codes = [wait(pid, math.inf) for pid in pids]
    if any(codes):
        raise RuntimeError("A worker failed.")
    return [json.loads((home / f"report-{number}.json").read_text()) for number in range(len(works))]


def to_log(path: Path) -> None:
    """Sends what this process prints to a file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def wait(pid: int, limit_s: float = 120.0) -> int:
    """The exit code of a child, negative for a signal."""
    handle = os.pidfd_open(pid)
    try:
        ended = select.select([handle], [], [], limit_s if limit_s < math.inf else None)[0]
        assert ended, f"process {pid} does not end"
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_until_free(run: RunDirectory, limit_s: float = 120.0) -> None:
    """Waits until neither supervisor nor trainer holds the run."""
    end = time.monotonic() + limit_s
    while lock.is_held(run.lock):
        assert time.monotonic() < end, f"{run.path} is held"
        time.sleep(0.005)


def ready() -> None:
    """Prepares this process for forking: one thread for computations, and none of tqdm's."""
    import tqdm

    tqdm.tqdm.monitor_interval = 0
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a fork then shares the pages of what is loaded
    sys.stdout.flush()
    sys.stderr.flush()
