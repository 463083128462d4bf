"""Runs that have ended, with real small LoRA files whose hashes their log tells, and servers on this machine that keep what they are sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, read_checked
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.lora_hashes import hashes_of
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.when_finished.carry_out import Actions
from loratui.engine.runs.when_finished.choice import change
from loratui.engine.runs.when_finished.stopping import Stopping


def make(home: Path, **chosen: Any) -> RunDirectory:
    """A run without an ending."""
    run = create_run(home, "anafox", recipe_toml="# a recipe\n", effective_toml="", ledger={}, today="20261121")
    change(run, chosen)
    return run


def write_output(run: RunDirectory, log: EventLog, name: str = "anafox.safetensors", *, final: bool = True) -> Path:
    """A LoRA file, and the event that tells its hashes."""
    path = run.output / name
    save_file({"a.lora_down.weight": np.arange(12, dtype=np.float32).reshape(3, 4)}, path)
    log.append(
        "output_written",
        step=40,
        epoch=2,
        path=f"output/{name}",
        final=final,
        **hashes_of(*read_checked(path, MOST_LORA_BYTES)),
    )
    return path


def end(run: RunDirectory, status: str = "done", *, output: bool = True) -> None:
    """Writes what a trainer and a supervisor write at the end."""
    codes = {"done": 0, "failed": 34, "paused": 10, "stopped": 143}
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=1)
        log.append("run_started", name=run.name, optimizer_steps=40)
        if output:
            write_output(run, log, final=status == "done")
        log.append("run_finished", status=status, exit_code=codes[status], reason="All steps are done.", advice="")


def ended(home: Path, status: str = "done", *, output: bool = True, **chosen: Any) -> RunDirectory:
    """A run that has ended, with its actions chosen."""
    run = make(home, **chosen)
    end(run, status, output=output)
    return run


class Never(Stopping):
    """Stops when `ask` says so: "cancelled" or "interrupted"."""

    def __init__(self, ask: Callable[[], str] = str) -> None:
        self._ask = ask

    @property
    def why(self) -> Any:
        return self._ask()


def act(run: RunDirectory, which: Any = "left", stopping: Stopping | None = None) -> RunState:
    """Carries out the actions in this process, and returns the state of the run then."""
    with EventLog.open(run.events) as log:
        Actions(run, log, stopping or Never()).carry_out(which)
    return read_state(run)


def states(run: RunDirectory) -> dict[str, str]:
    return {action.action: action.state for action in read_state(run).actions}


def events(run: RunDirectory) -> list[Event]:
    return list(read_events(run.events, 0, 1 << 24).events)


@dataclass
class Received:
    """A server, and what it was sent."""

    address: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    """Method, path, headers and body of each."""
    statuses: list[int] = field(default_factory=list)
    """Answers for the next requests; then 200."""
    body: bytes = b"{}"


@contextmanager
def server() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            received.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(received.statuses.pop(0) if received.statuses else 200)
            self.send_header("Content-Length", str(len(received.body)))
            self.end_headers()
            self.wfile.write(received.body)

        do_POST = do_PUT = _take

        def log_message(self, *_: object) -> None:
            """Keeps the tests' output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    received.address = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield received
    finally:
        http.shutdown()
        http.server_close()
