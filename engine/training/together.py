"""Starts the processes that train one run together on this machine, and ends as they end.

torch.distributed.elastic starts and watches them, as in torchrun. Where several machines train one run, torchrun itself does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from loratui.engine import children, durable
from loratui.engine.errors import DiskError, ExitCode, LoratuiError, UsageError
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import VISIBLE, accelerator
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.world import ALONE, World
from loratui.engine.runs import control, fence, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import last_events
from loratui.engine.runs.outcomes import MOST_RESTARTS, Outcome, Restart, decide, words_of
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.when_finished import start as when_finished
from loratui.engine.words import count
from loratui.presets.schema import Settings

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

STORE = "LORATUI_STORE"
"""Names the file through which the processes of one machine find each other; unset for those that torchrun starts."""

LEFT_ALONE = 75
"""Exit code of a process that lost another of its run (sysexits EX_TEMPFAIL); the process that started it finds the cause."""

_RUN_ID, _ERROR_FILE = "TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE"
_LOOK_EVERY_S = 0.1
_LOST_EACH_OTHER = "The processes of this run lost each other."


def own_world() -> World | None:
    """The place of this process, if torchrun or `train_together` started it."""
    if _RUN_ID not in os.environ:
        return None
    return World(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def processes_here(run: RunDirectory) -> int:
    """How many processes train a run on this machine: as many as planned, but on GPUs no more than there are."""
    settings = _settings_of(run)
    planned = settings.training.processes if settings else ALONE.size
    if settings is None or planned == 1 or settings.memory.device == "cpu":
        return planned
    return max(1, min(planned, len(accelerator().together)))


def see_own_card(run: RunDirectory, world: World) -> None:
    """Lets this process see its own card alone, of those that train together on this machine. Before anything of torch is imported:
    CUDA reads the variable when it is first asked for cards, and libraries ask while they are loaded.

    Raises `UsageError` where there are fewer cards than processes.
    """
    settings = _settings_of(run)
    if world.local_size == 1 or settings is None or settings.memory.device == "cpu":
        return
    cards = accelerator().together
    if world.local_rank >= len(cards):
        raise UsageError(
            f"{world.local_size} processes cannot train here: the machine has {count(len(cards), 'GPU')} of one kind.",
            "Start one process for each.",
        )
    os.environ[VISIBLE] = cards[world.local_rank]


def _settings_of(run: RunDirectory) -> Settings | None:
    try:
        return read_recipe(run.effective).settings
    except (OSError, ValueError):  # the trainer reads it again and reports the error
        return None


def train_together(run: RunDirectory, size: int) -> int:
    """Trains a run in `size` processes of this machine and returns its exit code; a signal that killed one of them ends this process too."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGQUIT"
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ending = _Ending()
    signal.signal(signal.SIGTERM, ending)
    # The children read its other end: it closes when this process ends, even by SIGKILL.
    watched, _kept = os.pipe()
    os.dup2(watched, 0)
    command = children.command("loratui.engine.training", str(run.path))
    with tempfile.TemporaryDirectory(prefix="loratui-") as folder:
        context = start_processes(
            "loratui",
            command[0],
            dict.fromkeys(range(size), tuple(command[1:])),
            {rank: _environment(run, rank, size, f"{folder}/store") for rank in range(size)},
            DefaultLogsSpecs(folder),
        )
        ending.writer = context.pids()[0]
        if ending.asked:
            ending.forward()
        ended = context.wait(period=_LOOK_EVERY_S)
    return _end_as(run, ended.failures if ended else {})


class _Ending:
    """Handles SIGTERM: the writer gets it, and tells the others before a step."""

    def __init__(self) -> None:
        self.asked, self.writer = False, 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self.forward()

    def forward(self) -> None:
        if self.writer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.writer, signal.SIGTERM)


def _environment(run: RunDirectory, rank: int, size: int, store: str) -> dict[str, str]:
    places = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    # Within one machine nothing needs to be reachable from outside.
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    own = {name: os.environ.get(name, loopback) for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    return {**{name: str(value) for name, value in places.items()}, **own, _RUN_ID: run.name, STORE: store}


def _end_as(run: RunDirectory, failures: Mapping[int, ProcessFailure]) -> int:
    """The exit code of the run; or the end of this process by the signal that killed another. Reports what the writer could not."""
    if not failures:
        return ExitCode.DONE
    cause = min(failures.values(), key=_how_late)
    if cause.exitcode < 0:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-cause.exitcode, signal.SIG_DFL)
        os.kill(os.getpid(), -cause.exitcode)
    code = int(ExitCode.CRASHED) if cause.exitcode == LEFT_ALONE else cause.exitcode
    writer = failures.get(0)
    failed = cause.error_file_data["message"]["extraInfo"].get("plan_failed") if _left_words(cause) else None
    if failed:
        with contextlib.suppress(LoratuiError, OSError), _log_of(run) as log:
            log.append("memory_plan_failed", durable=True, **failed)
            if failed["next"]:
                found = Finding.of("memory_plan_failed", plan=failed["way"], next=failed["next"])
                log.append("warning", durable=True, code=found.code, message=found.message, remedy=found.remedy)
                return code
    if cause.local_rank != 0 and (writer is None or writer.exitcode < 0 or writer.exitcode == LEFT_ALONE):
        message, remedy = _words_of(cause)
        with contextlib.suppress(LoratuiError, OSError), _log_of(run) as log:
            log.append("run_failed_with", durable=True, exit_code=code, message=message, remedy=remedy)
    return code


def _log_of(run: RunDirectory) -> EventLog:
    """The log, for a process that has not written in the run before: it takes nothing from one that has taken the run over."""
    fence.join(run.path)
    return EventLog.open(run.events)


def _how_late(failure: ProcessFailure) -> tuple[bool, bool, int]:
    """Sorts the cause of an end before its consequences: who left a word, or was killed, before who was only left alone or ended."""
    follows = failure.exitcode in (LEFT_ALONE, -signal.SIGTERM)
    return not _left_words(failure), follows, failure.timestamp


def _left_words(failure: ProcessFailure) -> bool:
    return isinstance(failure.error_file_data.get("message"), dict)


def _words_of(failure: ProcessFailure) -> tuple[str, str]:
    if not _left_words(failure):
        return _LOST_EACH_OTHER, f"Details are in log/trainer-{failure.local_rank}.log of the run."
    said = failure.error_file_data["message"]
    return str(said["message"]), str(said["extraInfo"].get("remedy", ""))


# ---- in each of the processes


class LeftAloneError(Exception):
    """Another process of the run has ended, or says nothing any more."""


def started_here() -> bool:
    """Whether `train_together` started this process, not torchrun."""
    return STORE in os.environ


def hold(run: RunDirectory, world: World) -> lock.RunLock | None:
    """Takes the lock of a run that has no supervisor, because torchrun started its processes; None for others. Raises `UsageError` if it is
    held."""
    if world.size == 1 or started_here():
        return None
    held = lock.acquire(run.lock)
    held.note_trainer(lock.identify(os.getpid()))
    control.clear(run)
    return held


def finish(run: RunDirectory, held: lock.RunLock, code: int) -> int:
    """What a supervisor does at the end of a run, for one that has none: the last word, and the start of what was chosen for the end.

    Returns the exit code for torchrun, which starts all processes again after any but 0: a run that is to end is not started again.
    """
    said, words = read_state(run), words_of("train", run.name)
    tries, most = (int(os.environ.get(f"TORCHELASTIC_{name}", "0")) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if code == LEFT_ALONE and tries < most:
        return code
    outcome = Outcome(
        exit_code=code,
        message=said.error.message if said.error else _LOST_EACH_OTHER if code == LEFT_ALONE else "",
        remedy=said.error.remedy if said.error else "",
        fault=said.error.code if said.error else "",
        worked=said.step > 0,
        next_plan=said.next_plan,
    )
    end = decide(outcome, 0 if tries < most else MOST_RESTARTS, False, words)
    if isinstance(end, Restart):
        return code
    told = {"status": end.status, "exit_code": end.exit_code, "reason": end.reason, "advice": end.advice}
    try:
        with contextlib.suppress(DiskError), EventLog.open(run.events) as log:
            log.append("run_finished", durable=True, step=said.step, **told)
        when_finished.start(run, held)  # not waited for: torchrun ends this process once another has ended
    except fence.LostError:
        return code  # the end of the run is another's
    except OSError as error:
        print(f"What was chosen for the end of the run was not begun: {error}", file=sys.stderr, flush=True)
    return code if end.status == "failed" else 0


def has_ended(run: RunDirectory) -> bool:
    """Whether the writer of a run that torchrun trains has said its last word, and no failure: nothing is to be started again."""
    told = [event for event in last_events(run.events) if event.type != "action"]
    return not started_here() and bool(told) and told[-1].type == "run_finished" and told[-1].text("status") != "failed"


def leave_words(code: ExitCode, message: str, remedy: str, plan_failed: Mapping[str, str] | None = None) -> None:
    """Leaves the error that ends this process where torch's elastic launchers look for it; `plan_failed` are the fields of the event
    `memory_plan_failed`."""
    if path := os.environ.get(_ERROR_FILE):
        more = {"timestamp": str(int(time.time())), "remedy": remedy, "plan_failed": dict(plan_failed or {})}
        said = {"message": message, "errorCode": int(code), "extraInfo": more}
        durable.write_json(Path(path), {"message": said}, durable=False)


def end_with_the_parent() -> None:
    """Has this process killed as soon as the one that `train_together` runs in is gone."""
    if started_here():
        threading.Thread(target=_wait_for_the_end, name="parent", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
