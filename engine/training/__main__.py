"""The trainer process: `python -m loratui.engine.training RUN --job train|validate`, started by the supervisor, and the jobs `probe` and `base`.

A run of several processes has one that starts them (`together`). Of these, the writer reports as a single trainer does, and the others follow it.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import faulthandler
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from loratui.engine import disk_errors, durable
from loratui.engine.errors import CannotPinError, DiskError, ExitCode, LoratuiError, MemoryPlanFailedError
from loratui.engine.job_child import Answer, Parent
from loratui.engine.jobs import SUPERVISED
from loratui.engine.machine import hardware
from loratui.engine.machine.cuda_builds import install_words
from loratui.engine.machine.gpu_faults import fault_in
from loratui.engine.planning.world import ALONE, World
from loratui.engine.runs import fence
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.disk_wait import DiskWait
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.logs import print_whatever_the_disk_does
from loratui.engine.runs.outcomes import words_of
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.watchdog import STACK_SIGNALS
from loratui.engine.secrecy import hidden
from loratui.engine.training import beginnings, together
from loratui.engine.training.control_queue import ControlQueue, Interrupted
from loratui.engine.training.reporting import Reporter, Told


def main(argv: list[str] | None = None) -> int:
    """Runs one job to its end and returns its exit code; an error is reported in the event log first."""
    parser = argparse.ArgumentParser(prog="python -m loratui.engine.training", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--job", choices=SUPERVISED, default="train")
    args = parser.parse_args(argv)
    os.umask(0o077)
    print_whatever_the_disk_does()
    run = RunDirectory(args.run.resolve())
    world = together.own_world() if args.job == "train" else ALONE
    if world is None:
        size = together.processes_here(run)
        if size > 1:
            return together.train_together(run, size)
        world = ALONE
    requests = _ready()
    together.end_with_the_parent()
    if not world.is_writer:
        return _follow(run, world, requests)
    try:
        held = together.hold(run, world)
        right = held.fence if held else fence.join(run.path)
        disk = DiskWait(run, requests.ends, words_of(args.job, run.name).again)
        disk_errors.install(disk)
        log = disk.log = EventLog.open(run.events_of(args.job))
    except LoratuiError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    with log:
        code = _carry_out(run, args.job, requests, world, log, right)
    return together.finish(run, held, code) if held else code


def _carry_out(
    run: RunDirectory, job: str, requests: ControlQueue, world: World, log: EventLog, right: fence.Fence | None
) -> int:
    """Carries out a job that reports into its run, and returns its exit code."""
    state = StateWriter(run, log) if job == "train" else None
    report = Reporter(log)
    if right is not None:
        right.on_folder_lost = lambda name: report.warn("folder_lost", folder=name)
    try:
        requests.open(Inbox(run, log))  # before the first event, which may wait for the disk
        report.phase("loading", "Starting")
        return int(_work(run, job, report, requests, world))
    except Interrupted as interrupted:
        requests.acknowledge_ending("Ended; there was nothing new to save.")
        return int(interrupted.exit_code)
    except fence.LostError as error:
        print(error, flush=True)  # the event log is no longer this process's
        return int(error.exit_code)
    except MemoryPlanFailedError as error:
        return int(error.exit_code if error.another else _tell(error, report))
    except DiskError as error:
        ending = requests.ending
        if ending is None:
            traceback.print_exc()
            return int(_tell(error, report))
        requests.acknowledge_ending(f"{error.message} Nothing new was saved.")
        return int(ending)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, together.LeftAloneError):
            return together.LEFT_ALONE
        return int(_tell(error, report))
    finally:
        report.close()
        if state is not None:
            state.write()


def _follow(run: RunDirectory, world: World, requests: ControlQueue) -> int:
    """Trains with the writer, and in silence. How the run ends is the writer's word: only an error here has an exit code."""
    requests.follow(started_here=together.started_here())
    output = durable.open_to_write(run.log / f"trainer-{world.rank}.log", os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    report = Reporter(Told(run.events, lambda _: None))
    try:
        _work(run, "train", report, requests, world)
        return 0
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, together.LeftAloneError):  # a stop may end the writer while it loads
            return 0 if together.has_ended(run) else together.LEFT_ALONE
        code, message, remedy = explain(error)
        failed = error.told if isinstance(error, MemoryPlanFailedError) else None
        together.leave_words(code, hidden(message), hidden(remedy), failed)
        return int(code)
    finally:
        report.close()


def begin(parent: Parent) -> Answer:
    """Carries out `job` in `run` (a folder), sends its events, and answers with the fields of the last event of each type."""
    requests = _ready()

    def answer(request: Any) -> dict[str, Any]:
        run = RunDirectory(Path(request["run"]).resolve())
        told = Told(run.events, parent.progress)
        report = Reporter(told)
        try:
            report.phase("loading", "Starting")
            _with_any_plan(run, request["job"], report, requests)
        except Interrupted as interrupted:
            sys.exit(interrupted.exit_code)
        except Exception as error:
            traceback.print_exc()
            code, message, remedy = explain(error)
            raise LoratuiError(message, "" if code == ExitCode.CRASHED else remedy, exit_code=code) from error
        finally:
            report.close()
        return told.last

    return answer


def _ready() -> ControlQueue:
    """Prepares this process for training, before anything of torch is loaded."""
    faulthandler.enable()
    for number in STACK_SIGNALS:
        faulthandler.register(number, all_threads=True)
    beginnings.prepare()
    requests = ControlQueue()
    requests.install()
    return requests


def _with_any_plan(run: RunDirectory, job: str, report: Reporter, requests: ControlQueue) -> None:
    """Carries out a job that no supervisor starts again, with the first memory plan with which memory does not run out."""
    failed: frozenset[str] = frozenset()
    while True:
        try:
            _work(run, job, report, requests, ALONE, failed)
            return
        except MemoryPlanFailedError as error:
            if not error.another:
                raise
            failed = error.failed
        # Not within the handler: the error keeps the failed trainer.
        from loratui.engine.training.out_of_memory import let_go

        let_go()


def _work(
    run: RunDirectory,
    job: str,
    report: Reporter,
    requests: ControlQueue,
    world: World,
    failed: frozenset[str] = frozenset(),
) -> ExitCode:
    """Carries out a job. Raises `MemoryPlanFailedError`, when that is reported, and any other error."""
    with requests.at_once():  # importing torch takes seconds
        report.phase("loading", "Loading the training libraries")
        together.see_own_card(run, world)
        ahead = beginnings.begin(run, world, trains=job == "train")
        from loratui.engine.planning.memory_misfits import shared
        from loratui.engine.training.out_of_memory import concerns_plan, plan_failed
        from loratui.engine.training.probe import BaseReading, Probe
        from loratui.engine.training.setup import read_job
        from loratui.engine.training.team import joined
        from loratui.engine.training.trainer import Trainer
        from loratui.engine.training.validation.grid import make_grid

        report.phase("loading", "Deciding the memory plan")
        team = joined(world)
        ready = dataclasses.replace(read_job(run, job, team=team, failed=failed), ahead=ahead)
    if ready.card is not None:
        report.watch(ready.card.uuid)
        for found in shared(ready.facts, ready.card, ready.memory_plan):
            if found.severity == "warning":
                report.warn_of(found)
    work: Callable[[], ExitCode] = functools.partial(make_grid, ready, report, requests)
    save: Callable[[], object] = bool  # nothing
    if job != "validate":
        trainer = {"probe": Probe, "base": BaseReading}.get(job, Trainer)(ready, report, requests)
        work, save = trainer.run, trainer.save_whole_steps
    try:
        code = work()
    except Exception as error:
        if not concerns_plan(error, ready):
            raise
        traceback.print_exc()
        reason, unpinned = _first_line(error), isinstance(error, CannotPinError)
    else:
        team.leave()
        return code
    # Not within the handler: the error keeps everything that the failed work made.
    raise plan_failed(ready, report, reason, save, unpinned=unpinned)


def _tell(error: Exception, report: Reporter) -> ExitCode:
    code, message, remedy = explain(error)
    message, remedy = hidden(message), hidden(remedy)  # many programs read the event log, and libraries quote their input
    fault = None if isinstance(error, LoratuiError) else fault_in(error)
    report.event("run_failed_with", exit_code=int(code), code=fault.id if fault else "", message=message, remedy=remedy)
    return code


def explain(error: Exception) -> tuple[ExitCode, str, str]:
    """Exit code, message and remedy for any error that ends a job."""
    if isinstance(error, LoratuiError):
        return error.exit_code, error.message, error.remedy
    fault = fault_in(error)
    if fault is not None:
        said = "" if fault.code == ExitCode.OUT_OF_MEMORY else f" ({_first_line(error)[:200]})"
        # The driver is not asked while the GPU may be lost: only advice about an installation names it.
        advice = fault.advice.format(install=_install_words()) if "{install}" in fault.advice else fault.advice
        return fault.code, f"{fault.sentence}{said}", advice
    if isinstance(error, ImportError) or (isinstance(error, OSError) and "shared object file" in str(error)):
        return ExitCode.USAGE, f"The training libraries cannot be loaded: {_first_line(error)}", _install_words()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return ExitCode.DISK, f"The disk cannot be written: {error.strerror}.", "Free some space, then: loratui resume."
    if isinstance(error, ValueError) and type(error).__name__ == "SchemaError":
        return ExitCode.USAGE, str(error), ""
    return (
        ExitCode.CRASHED,
        f"loratui failed: {type(error).__name__}: {_first_line(error)}",
        "Details are in log/trainer.log of the run.",
    )


def _install_words() -> str:
    card = next(iter(hardware.gpus()), None)
    return install_words(card.driver if card else "", card.capability if card else None)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _leave(code: int) -> NoReturn:
    """Ends this process at once: all that is kept is on the disk. Python may take ten seconds to take compiled blocks apart, and a box
    that is taken back is gone by then, before the supervisor has its last word; a driver without its card may never return."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
