"""A simulated trainer: does what is listed for this attempt in RUN/simulated.json, or else in the environment variable
SIMULATED_TRAINER, with the real log, lock and control files.

Actions: ["steps", n] up to step n, ["slowly", n, seconds] with a checkpoint after each step, ["checkpoint", n],
["exit", code], ["kill", signal], ["print", text], ["fail", code, message, remedy, fault], ["image", name], ["serve"] (wait for
commands and SIGTERM), ["promise"] (acknowledge one command without doing it), ["hang"], ["raise"], ["final"], ["beat", seconds] (a
heartbeat that often, from a thread), ["stuck", where] (`gil`, `c`, `fifo` or `lock`: a call that does not return), ["phase", phase], ["another plan"] (out of GPU memory with a plan left), ["crash"] (in native code), ["killed for memory"] (by the kernel).
"""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from loratui.engine.durable import building
from loratui.engine.runs import aside, fence
from loratui.engine.runs.checkpoint_files import ADAPTER, MANIFEST, OPTIMIZER, STATE
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.watchdog import STACK_SIGNALS


def beat(log: EventLog, every_s: float) -> None:
    def beats() -> None:
        while True:
            log.append("heartbeat", phase="training")
            time.sleep(every_s)

    threading.Thread(target=beats, daemon=True).start()


def stuck(where: str) -> None:
    """A call that does not return: in C with the lock of Python or without, in the kernel, or in Python."""
    if where in ("gil", "c"):
        library = ctypes.PyDLL(None) if where == "gil" else ctypes.CDLL(None)
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):  # no signal ends the second call
            library.pthread_mutex_lock(mutex)
    elif where == "fifo":
        fifo = Path(sys.argv[1]) / "cache" / "hangs"
        os.mkfifo(fifo)
        os.open(fifo, os.O_WRONLY)
    else:
        taken = threading.Lock()
        taken.acquire()
        taken.acquire()


def main() -> int:
    run, job = RunDirectory(Path(sys.argv[1])), sys.argv[3]
    for number in STACK_SIGNALS:
        faulthandler.register(number, all_threads=True)
    stopping = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    log = run.events_of(job)
    told = [*read_events(log, 0, 1 << 30).events, *(event for _, event in aside.unsaid(log))]
    attempt = sum(1 for event in told if event.type == "trainer_started")
    listed = run.path / "simulated.json"
    plan = json.loads(listed.read_text() if listed.exists() else os.environ["SIMULATED_TRAINER"])
    step = run.last_checkpoint_step()
    with EventLog.open(run.events_of(job)) as log:
        state = StateWriter(run, log)
        numbers = {"preset": "demo", "images": 18, "epochs": 2, "image_steps": 80, "optimizer_steps": 40}
        log.append("run_started", name=run.name, resumed_step=step, steps_per_epoch=20, batch_size=2, **numbers)
        state.write()
        inbox = Inbox(run, log)

        def checkpoint(at: int, reason: str) -> None:
            with building(run.checkpoint(at)) as folder:
                rows = {name: {"bytes": 0, "sha256": hashlib.sha256().hexdigest()} for name in (ADAPTER, OPTIMIZER, STATE)}
                for name in rows:
                    (folder / name).touch()
                (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": rows}))
            log.append("checkpoint_written", durable=True, step=at, path=f"checkpoints/step-{at:06d}", reason=reason)

        for action, *values in plan[min(attempt, len(plan)) - 1]:
            if action == "steps":
                while step < values[0]:
                    step += 1
                    log.append("step", step=step, image_step=2 * step, epoch=1, loss=1 / step, step_s=0.01)
                state.write()
            elif action == "checkpoint":
                checkpoint(values[0], "time")
            elif action == "image":
                path = f"validation/{values[0]}"
                (run.path / path).write_bytes(b"x")
                log.append("image_written", path=path, prompt="p", strength=1.0, seed=1)
            elif action == "slowly":
                while step < values[0] and not stopping:
                    step += 1
                    log.append("step", step=step, image_step=2 * step, epoch=1, loss=1 / step, step_s=values[1])
                    time.sleep(values[1])
                    checkpoint(step, "time")
            elif action == "print":
                print(values[0], flush=True)
            elif action == "fail":
                log.append(
                    "run_failed_with", exit_code=values[0], message=values[1], remedy=values[2], code="".join(values[3:])
                )
                return int(values[0])
            elif action == "another plan":
                log.append("memory_plan_failed", way=f"way {attempt}", plan="p", next=f"way {attempt + 1}", message="m")
                return 34
            elif action == "final":
                (run.output / "x.safetensors").write_bytes(b"x")
                log.append("output_written", step=step, epoch=1, path="output/x.safetensors", bytes=1, final=True)
            elif action == "kill":
                os.kill(os.getpid(), values[0])
                time.sleep(60)
            elif action == "promise":
                while not (commands := inbox.poll()):
                    time.sleep(0.01)
                inbox.acknowledge(commands[0], True, "It will be done.")
            elif action == "exit":
                return int(values[0])
            elif action == "crash":
                ctypes.string_at(0)
            elif action == "killed for memory":
                Path(os.environ["KILLS_FOR_MEMORY"]).write_text(str(attempt))
                os.kill(os.getpid(), signal.SIGKILL)
            elif action == "raise":
                raise RuntimeError("CUDA error: \x1b[31mdevice-side assert\x1b[0m")
            elif action == "beat":
                beat(log, values[0])
            elif action == "phase":
                log.append("phase_changed", phase=values[0], text="Doing it")
            elif action == "stuck":
                stuck(values[0])
            elif action == "hang":
                while True:
                    time.sleep(60)
            elif action == "serve":
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    if stopping:
                        checkpoint(step + 1, "stopping")
                        return 143
                    for command in inbox.poll():
                        if command.command == "pause":
                            checkpoint(step + 1, "stopping")
                        inbox.acknowledge(command, True, "done")
                        if command.command in ("pause", "stop"):
                            return 10 if command.command == "pause" else 143
                    time.sleep(0.01)
    return 99


if __name__ == "__main__":
    fence.join(Path(sys.argv[1]))
    try:
        sys.exit(main())
    except fence.LostError as lost:
        print(lost, flush=True)
        sys.exit(int(lost.exit_code))
