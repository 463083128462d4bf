"""Commands to a running trainer: one small file each, renamed into place and deleted when acknowledged."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loratui.engine import durable, sealed
from loratui.engine.disk_errors import PASSING
from loratui.engine.errors import DiskError
from loratui.engine.runs import aside
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog

FORMAT = 1

COMMANDS: dict[str, str] = {
    "pause": "save a checkpoint, free the GPU and end; it can be resumed",
    "stop": "save a checkpoint and the LoRA file and end",
    "sample": "make the sample images after this step",
    "checkpoint": "save a checkpoint after this step",
    "stop_after_epoch": "stop when this epoch is complete; the argument `cancel` withdraws it",
    "cancel_when_finished": "cancel what is left of the actions that follow the end of the run",
    "set_samples": "use other `prompts` or another interval `every_image_steps` for the next samples",
}

_FILE = re.compile(r"([0-9a-f]{16})-([a-z_]{1,32})\.json")


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks of the trainer."""

    id: str
    command: str
    args: Mapping[str, Any] = field(default_factory=dict)


def send(run: RunDirectory, command: str, **args: Any) -> str:
    """Puts a command where the trainer looks and returns the id that its acknowledgement will have. Raises `DiskError`."""
    assert command in COMMANDS, command
    # The trainer takes commands in the order of their ids. Microseconds in 13 hexadecimal digits last until the year 2112.
    identity = f"{time.time_ns() // 1000 & 0xF_FFFF_FFFF_FFFF:013x}{secrets.token_hex(2)[:3]}"
    value = {"v": FORMAT, "id": identity, "command": command, "args": args}
    try:
        durable.make_directory(run.control)
        sealed.write(run.control / f"{identity}-{command}.json", value, run.path, lasting=False)
    except DiskError as error:  # a run that waits for its disk must still take commands
        others = [asdict(other) for other in _aside(run.control)]
        if error.number not in PASSING or not aside.keep(run.control, {"commands": [*others, value]}):
            raise
    return identity


class Inbox:
    """The trainer's side: finds commands and acknowledges them."""

    def __init__(self, run: RunDirectory, log: EventLog) -> None:
        self._folder = run.control
        self._log = log
        self._taken: set[str] = set()

    def poll(self) -> list[Command]:
        """Commands that came since the last call, oldest first. It removes other files, with a warning in the log."""
        commands = []
        for name in waiting(self._folder):
            if name in self._taken:
                continue
            command = _read(self._folder / name)
            if command is None:
                message = f"loratui removed {ascii(name[:80])[1:-1]} from control/: it is not a command."
                self._log.append("warning", code="bad_command_file", message=message, remedy="Send commands with loratui.")
                if not durable.remove(self._folder / name):
                    self._taken.add(name)
                continue
            self._taken.add(name)
            commands.append(command)
        for command in _aside(self._folder):
            if command.id not in self._taken:
                self._taken.add(command.id)
                commands.append(command)
        return commands

    def acknowledge(self, command: Command, ok: bool, message: str = "") -> None:
        """Logs the result of a command, then deletes its file, so a crash between the two repeats the command."""
        self._log.append("command_acknowledged", id=command.id, command=command.command, ok=ok, message=message)
        durable.remove(self._folder / f"{command.id}-{command.command}.json")
        _forget(self._folder, command.id)


def waiting(folder: Path) -> list[str]:
    """Names of the complete files in the control folder, oldest command first."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - called once a step; only names are needed
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def pending(run: RunDirectory) -> list[Command]:
    """Commands that nobody has acknowledged yet."""
    found = [_read(run.control / name) for name in waiting(run.control)]
    return [*(command for command in found if command is not None), *_aside(run.control)]


def clear(run: RunDirectory) -> None:
    """Removes all commands: they were meant for an earlier trainer."""
    for name in waiting(run.control):
        durable.remove(run.control / name)
    aside.drop(run.control)
    durable.sweep_leftovers(run.control)


def withdraw(run: RunDirectory, identity: str) -> bool:
    """Removes a command that nobody has acknowledged; False if it is gone already."""
    there = _forget(run.control, identity)
    return any(durable.remove(run.control / name) for name in waiting(run.control) if name.startswith(f"{identity}-")) or there


def _aside(folder: Path) -> list[Command]:
    """The commands that the disk did not take, oldest first."""
    body = aside.kept(folder)
    listed = body.get("commands") if body else None
    tables = [table for table in listed if isinstance(table, dict)] if isinstance(listed, list) else []
    return [command for table in tables if (command := _command(table, str(table.get("id")), str(table.get("command"))))]


def _forget(folder: Path, identity: str) -> bool:
    """Removes a command that the disk did not take; whether there was one."""
    found = _aside(folder)
    left = [asdict(command) for command in found if command.id != identity]
    if len(left) == len(found):
        return False
    if left:
        aside.keep(folder, {"commands": left})
    else:
        aside.drop(folder)
    return True


def _read(path: Path) -> Command | None:
    found = _FILE.fullmatch(path.name)
    if found is None:
        return None
    try:
        body = sealed.read(path, path.parent.parent)
    except OSError:
        return None
    return _command(body, *found.groups()) if body.get("v") == FORMAT else None


def _command(body: Mapping[str, Any], identity: str, command: str) -> Command | None:
    args = body.get("args", {})
    known = command in COMMANDS and (body.get("id"), body.get("command")) == (identity, command)
    return Command(identity, command, args) if known and isinstance(args, dict) else None
