"""Trains runs, each in a fork, on a disk that fails at a chosen call. Started with `disk_faults.c` preloaded; one JSON request a line.

A request has `run job from many errno syncs` as `faults_arm` takes them, `limit_s`, `soon` to shorten the waits, and `ask`: what is asked
once the run waits, `term` for the signal or a command. The answer has `answered_s` then, the
`exit` code, how many calls were `seen`, how many `failed`, how many files were `synced_again` after that failed, and `wall_s`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from loratui.engine.runs import aside, control
from loratui.engine.runs.directory import RunDirectory

faults = ctypes.CDLL(os.environ["LD_PRELOAD"])
for name in ("seen", "failed", "synced_again"):
    getattr(faults, f"faults_{name}").restype = ctypes.c_long


def train(request: dict[str, Any]) -> int:
    """One run, in this process."""
    from loratui.engine.runs import disk_wait
    from loratui.engine.training import __main__ as training
    from loratui.engine.training import reporting

    run = Path(request["run"])
    output = os.open(run / "log" / "trainer.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    reporting.STEPS_A_SECOND = 1e9
    if request.get("soon"):
        disk_wait._SOON_S, disk_wait._LONGEST_S, disk_wait._LOOK_S, disk_wait._WITHOUT_ROOM_S = 0.01, 0.05, 0.01, 0.05
    path = os.fsencode(run)
    faults.faults_arm(path, *(ctypes.c_long(request[name]) for name in ("from", "many")), request["errno"], request["syncs"])
    return training.main([str(run), "--job", request.get("job", "train")])


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """A fork that trains; killed after `limit_s`."""
    began = time.monotonic()
    told = os.memfd_create("told")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = train(request)
        except BaseException:
            with contextlib.suppress(OSError):
                os.write(2, traceback.format_exc().encode())
        finally:
            counts = {name: getattr(faults, f"faults_{name}")() for name in ("seen", "failed", "synced_again")}
            counts |= {"exit": code, "modules": list(sys.modules)}
            os.write(told, json.dumps(counts).encode())
            os._exit(0)
    asked_at = 0.0
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if not asked_at and request.get("ask") and waits(RunDirectory(Path(request["run"]))):
            asked_at = time.monotonic()
            if request["ask"] == "term":
                os.kill(child, signal.SIGTERM)
            else:
                control.send(RunDirectory(Path(request["run"])), request["ask"])
        if time.monotonic() - began > request["limit_s"]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.005)
    os.lseek(told, 0, os.SEEK_SET)
    with os.fdopen(told, "rb") as file:
        said = file.read()
    now = time.monotonic()
    times = {"wall_s": now - began, "answered_s": now - asked_at if asked_at else None}
    return {**(json.loads(said) if said else {"exit": None}), **times}


def waits(run: RunDirectory) -> bool:
    """Whether a run says, somewhere, that it waits for its disk."""
    kept = [*aside.unsaid(run.events), *aside.unsaid(run.validation_events)]
    return any(event.type == "disk_waiting" for _, event in kept)


def main() -> None:
    """Answers requests until there are no more."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import loratui.engine.training.trainer  # noqa: F401 - so that each fork has it

    known = False
    for line in sys.stdin:
        answer = carry_out(json.loads(line))
        modules = answer.pop("modules", [])
        if not known:
            known = True
            for name in modules:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
