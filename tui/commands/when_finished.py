"""`loratui when-finished`: what is done when a run has ended: shows it, changes it, tests it, cancels it, carries it out."""

from __future__ import annotations

import argparse
import getpass
import shlex
import sys
import time
from dataclasses import asdict
from typing import Any, get_args

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.machine.addresses import VARIABLES, keep
from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.tail import POLL_S, Tail
from loratui.engine.runs.when_finished import choice, notify
from loratui.engine.runs.when_finished.carry_out import left
from loratui.engine.runs.when_finished.stopping import CANCEL
from loratui.presets.schema import KEYS
from loratui.tui.commands import common
from loratui.tui.plain.follow import follow_to_the_end, say
from loratui.tui.terminal import clean

ANSWER_S = 10.0


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN; what to choose; or one of `--test --cancel --now --again --address`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    yes_no = ("yes", "no")
    chosen = parser.add_argument_group("to choose")
    chosen.add_argument("--nothing", action="store_true", help="do nothing when the run has ended")
    chosen.add_argument(
        "--copy-to", metavar="PLACE", help="rsync:HOST:FOLDER, rclone:REMOTE:FOLDER, hub:OWNER/NAME, or nowhere"
    )
    chosen.add_argument(
        "--run-command", metavar="WORDS", help="a command in one argument, which no shell reads; none: no command"
    )
    chosen.add_argument("--notify", choices=get_args(KEYS["when_finished.notify"].type), help="who is told")
    chosen.add_argument("--pod", choices=get_args(KEYS["when_finished.pod"].type), help="stop the rented pod, or keep it")
    chosen.add_argument("--countdown", metavar="S", type=int, help="seconds before the pod is stopped")
    chosen.add_argument("--after-failure", choices=yes_no, help="do it after a failure too")
    chosen.add_argument("--after-pause", choices=yes_no, help="do it after a pause or a stop too")
    done = parser.add_argument_group("to do now").add_mutually_exclusive_group()
    done.add_argument("--test", action="store_true", help="send a test message")
    done.add_argument("--cancel", action="store_true", help="cancel what is not done yet, such as the countdown")
    done.add_argument("--now", action="store_true", help="carry out what is not done for the run's last ending")
    done.add_argument("--again", action="store_true", help="carry out all of it again")
    done.add_argument(
        "--address", metavar="NAME", choices=list(VARIABLES), help=f"keep one of {', '.join(VARIABLES)}; asks for it"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0, 1 if an action or test failed, 2 if it cannot be. JSON: `run path chosen{copy_to command notify pod countdown_s
    after_failure after_pause} actions[]{action state message attempts until} left[]`, with `--test` also `tests[]{channel ok message}`.
    """
    out = sys.stderr if args.json else sys.stdout
    if args.address:
        return _keep_address(args, out)
    chosen_run = common.chosen_run(args)
    if changes := _changes(args):
        choice.change(chosen_run, changes)
    more: dict[str, Any] = {}
    code = ExitCode.DONE
    if args.test:
        more["tests"] = _test(chosen_run, out)
        code = ExitCode.DONE if all(one["ok"] for one in more["tests"]) else ExitCode.WARNINGS
    elif args.cancel:
        _cancel(chosen_run, out)
    elif args.now or args.again:
        code = _carry_out(chosen_run, "again" if args.again else "now", out)
    state = read_state(chosen_run)
    if args.json:
        chosen = {**asdict(choice.read(chosen_run)), "command": list(choice.read(chosen_run).command)}
        actions = [asdict(action) for action in state.actions]
        found = {"run": chosen_run.name, "path": str(chosen_run.path), "chosen": chosen, "actions": actions}
        common.print_json({**found, "left": list(left(chosen_run, state)), **more})
    else:
        for line in _lines(chosen_run):
            say(out, clean(line))
    return int(code)


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """The chosen values, by their names without section. Raises `UsageError`."""
    nothing: dict[str, Any] = {"copy_to": "", "command": (), "notify": "off", "pod": "keep"}
    found: dict[str, Any] = nothing if args.nothing else {}
    if args.copy_to is not None:
        found["copy_to"] = "" if args.copy_to == "nowhere" else args.copy_to
    if args.run_command is not None:
        found["command"] = words_of(args.run_command)
    for name, value in (("notify", args.notify), ("pod", args.pod), ("countdown_s", args.countdown)):
        if value is not None:
            found[name] = value
    for name in ("after_failure", "after_pause"):
        if (value := getattr(args, name)) is not None:
            found[name] = value == "yes"
    return found


def words_of(typed: str) -> tuple[str, ...]:
    """A command as its words; none for an empty text and `none`. Raises `UsageError` for a quotation mark without its partner."""
    try:
        words = tuple(shlex.split(typed))
    except ValueError as error:
        raise UsageError(f"{typed}: {error}.", "Close the quotation mark.") from None
    return () if words == ("none",) else words


def _keep_address(args: argparse.Namespace, out: Any) -> int:
    """Keeps an address that is typed unseen, or piped in: a command line could be read by others."""
    prompt = f"{args.address} (not shown; empty forgets it): "
    value = getpass.getpass(prompt) if common.can_ask() else sys.stdin.readline()
    keep(args.address, value.strip())
    say(out, f"{args.address} is {'kept' if value.strip() else 'forgotten'}.")
    return int(ExitCode.DONE)


def _test(run: RunDirectory, out: Any) -> list[dict[str, Any]]:
    channels = choice.channels(choice.read(run))
    if not channels:
        raise UsageError("Nobody is notified.", "Choose it: loratui when-finished --notify ntfy")
    tests = []
    for channel in channels:
        result = notify.test(channel, run.name)
        say(out, clean(f"{channel}: {result.message}"))
        tests.append({"channel": channel, "ok": result.state == "done", "message": result.message})
    return tests


def _cancel(run: RunDirectory, out: Any) -> None:
    """Asks the process of the actions, and waits for its answer."""
    if not lock.is_held(run.lock) or read_state(run).ending is None:
        raise UsageError(f"Nothing is being done after the end of {run.name}.", "To choose nothing: --nothing.")
    tail = Tail(run.events)
    for _ in tail.drain():
        pass
    identity = control.send(run, CANCEL)
    end = time.monotonic() + ANSWER_S
    while time.monotonic() < end and lock.is_held(run.lock):
        for event in (event for batch in tail.drain() for event in batch.events):
            if event.type == "command_acknowledged" and event.get("id") == identity:
                say(out, clean(event.text("message")))
                return
        time.sleep(POLL_S)
    if lock.is_held(run.lock):
        raise UsageError("There is no answer yet; what is asked for stays.", f"See: loratui status {run.name}")
    control.withdraw(run, identity)


def _carry_out(run: RunDirectory, which: Any, out: Any) -> ExitCode:
    if not left(run, read_state(run), which):
        raise UsageError(f"Nothing is left to do for the end of {run.name}.", "To do all of it again: --again.")
    launch(run, actions=which)
    follow_to_the_end(run, "train", out)
    failed = any(action.state == "failed" for action in read_state(run).actions)
    return ExitCode.WARNINGS if failed else ExitCode.DONE


def _lines(run: RunDirectory) -> list[str]:
    chosen, state = choice.read(run), read_state(run)
    phrases = choice.in_words(chosen)
    lines = [f"When {run.name} has ended: {'; '.join(phrases) if phrases else 'nothing is done'}."]
    also = [words for words, is_on in (("a failure", chosen.after_failure), ("a pause or a stop", chosen.after_pause)) if is_on]
    if phrases and also:
        lines.append(f"Also after {' and '.join(also)}.")
    lines += [f"{one.action}: {one.state}. {one.message}".rstrip() for one in state.actions]
    if names := left(run, state):
        lines.append(f"Not done yet: {', '.join(names)}. To do it: loratui when-finished {run.name} --now")
    return lines
