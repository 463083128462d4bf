"""`loratui pause | stop | sample | checkpoint`: asks a running trainer for something and waits for its answer."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass

from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.tail import POLL_S, Tail
from loratui.engine.runs.verdict import Verdict
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

ENDING = ("pause", "stop")
DEFAULT_TIMEOUT_S = 120.0
"""Samples on a CPU, or a checkpoint on a slow volume, may take this long."""
KILLED_WITHIN_S = 60.0
"""The supervisor must read why a trainer was killed before the reason is withdrawn."""


@dataclass(frozen=True)
class Answer:
    """The result of a command."""

    ok: bool | None
    """None: no answer in time."""
    message: str
    verdict: Verdict
    """How the run stands now."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--timeout --json`, and `--after-epoch` or `--kill` for stop."""
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=DEFAULT_TIMEOUT_S, help="seconds to wait for an answer (default: 120)"
    )
    if name == "stop":
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--after-epoch", action="store_true", help="let this epoch be completed first")
        how.add_argument(
            "--kill", action="store_true", help="kill the trainer if it does not answer in time; the last checkpoint stays"
        )


def run(args: argparse.Namespace) -> int:
    """Sends the command `args.command`, or the end after this epoch, and waits.

    Returns 0 if it was carried out, 2 if it was refused or the run is not alive, 1 if no answer came in time; the command
    then waits for the trainer. JSON: `run command id ok message status exit_code`.
    """
    if not args.timeout > 0:
        raise UsageError(f"--timeout {args.timeout:g}: expected seconds above 0.", "For example --timeout 30.")
    chosen = common.chosen_run(args)
    command = "stop_after_epoch" if getattr(args, "after_epoch", False) else args.command
    before = summarise(chosen, closely=True)
    if not lock.is_held(chosen.lock):
        hint = f"loratui resume {chosen.name}" if before.resumable else "loratui runs lists all runs."
        raise UsageError(f"{chosen.name} is not running; it {text.stands(before.status)}.", hint)
    common.refuse_while_finishing(before)
    if before.job == "validate" and command not in ENDING:
        raise UsageError(f"{chosen.name} is making validation images; {_words(command)} works only during training.")
    tail = Tail(chosen.events_of(before.job))
    tail.offset = _end(tail)
    identity = control.send(chosen, command)
    out = sys.stderr if args.json else sys.stdout
    answer = wait_for_answer(chosen, tail, identity, command, args.timeout)
    if answer.ok is None and getattr(args, "kill", False) and answer.verdict.active:
        answer = _kill(chosen, tail, identity, args.timeout)
    if args.json:
        told: dict[str, object] = {"ok": answer.ok, "message": answer.message}
        told |= {"status": answer.verdict.status, "exit_code": answer.verdict.exit_code}
        common.print_json({"run": chosen.name, "command": command, "id": identity, **told})
    say(out, clean(_sentence(chosen.name, command, answer)))
    if answer.ok is None:
        return int(ExitCode.WARNINGS)
    return int(ExitCode.DONE if answer.ok else ExitCode.USAGE)


def wait_for_answer(
    chosen: RunDirectory, tail: Tail, identity: str, command: str, timeout_s: float, poll_s: float = POLL_S / 2
) -> Answer:
    """Waits for the acknowledgement and, for a command that ends the run, for that end."""
    deadline = time.monotonic() + timeout_s
    heard: Event | None = None
    while True:
        alive = lock.is_held(chosen.lock)
        for batch in tail.drain():
            for event in batch.events:
                if event.type == "command_acknowledged" and event.get("id") == identity:
                    heard = event
        said = str(heard.get("message") or "") if heard is not None else ""
        if heard is not None and (not heard.get("ok") or command not in ENDING):
            return _answer(chosen, bool(heard.get("ok")), said)
        if not alive:
            # It may have ended by itself: the status tells how. The next start must not find this command.
            control.withdraw(chosen, identity)
            ok = command in ENDING
            return _answer(chosen, ok, said if ok else "The run ended before that.")
        if time.monotonic() >= deadline:
            return _answer(chosen, None, "No answer yet.")
        time.sleep(poll_s)


def _kill(chosen: RunDirectory, tail: Tail, identity: str, timeout_s: float) -> Answer:
    """Kills the trainer, never another process; the supervisor sees the pending `stop`, reports it and does not
    restart the trainer."""
    why = control.send(chosen, "stop", kill=True)
    owner = lock.read_owner(chosen.lock)
    if owner is None or not owner.trainer.send_signal(signal.SIGKILL):
        control.withdraw(chosen, why)
        message = f"The trainer of {chosen.name} cannot be found on this machine."
        raise LoratuiError(message, "loratui runs shows its status.", exit_code=ExitCode.CRASHED)
    answer = wait_for_answer(chosen, tail, identity, "stop", max(timeout_s, KILLED_WITHIN_S))
    if answer.ok is not None:
        control.withdraw(chosen, why)
    return answer


def _answer(chosen: RunDirectory, ok: bool | None, message: str) -> Answer:
    stands = summarise(chosen)
    return Answer(ok, message or (stands.reason if not stands.active else ""), stands)


def _sentence(name: str, command: str, answer: Answer) -> str:
    if answer.ok is None:
        return f"{name} has not answered yet; it will {_words(command)} later. To watch: loratui attach {name}"
    if not answer.ok:
        return f"{name}: {_words(command)} was refused. {answer.message}"
    if command in ENDING:
        come_back = f" To resume: loratui resume {name}" if answer.verdict.resumable else ""
        return f"{name} {text.stands(answer.verdict.status)}. {answer.message}".rstrip() + come_back
    return f"{name}: {_words(command)} done. {answer.message}".rstrip()


def _words(command: str) -> str:
    return command.replace("_", " ")


def _end(tail: Tail) -> int:
    try:
        return tail.path.stat().st_size
    except OSError:
        return 0
