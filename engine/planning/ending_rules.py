"""What a person should know before the start about what was chosen for the end of the run (`[when_finished]`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from loratui.engine import children
from loratui.engine.errors import UsageError
from loratui.engine.findings import Finding
from loratui.engine.machine import hub
from loratui.engine.machine.addresses import address
from loratui.engine.machine.pods import STILL_COSTS, erases, this_pod
from loratui.engine.secrecy import hidden
from loratui.presets.schema import WhenFinished


def check_ending(chosen: WhenFinished, home: Path) -> Iterator[Finding]:
    """Whether what was chosen can be done on this machine, by what can be known before."""
    if named := secrets_in(chosen):
        yield Finding.of("ending_secret", keys=named)
    try:
        yield from _command(chosen)
        yield from _copy(chosen)
        yield from _notify(chosen)
        yield from _pod(chosen, home)
    except UsageError as error:  # a file of addresses that others can read
        yield Finding.of("ending_addresses", problem=error.message, remedy=error.remedy)


def secrets_in(chosen: WhenFinished) -> tuple[str, ...]:
    """The settings that hold what looks like a secret; a run's files and logs must not."""
    texts = {"copy_to": chosen.copy_to, "command": "\n".join(chosen.command)}
    return tuple(f"when_finished.{name}" for name, text in texts.items() if hidden(text) != text)


def program(name: str) -> str | None:
    """Where a program lies that would be found at the end of a run; None if it is not here."""
    return shutil.which(name, path=children.environment().get("PATH", os.defpath))


def _command(chosen: WhenFinished) -> Iterator[Finding]:
    if chosen.command and program(chosen.command[0]) is None:
        yield Finding.of("ending_no_program", program=chosen.command[0], setting="when_finished.command")


def _copy(chosen: WhenFinished) -> Iterator[Finding]:
    kind = chosen.copy_to.partition(":")[0]
    if kind in ("rsync", "rclone") and program(kind) is None:
        yield Finding.of("ending_no_program", program=kind, setting="when_finished.copy_to")
    if kind == "hub" and not hub.has_token():
        yield Finding.of("ending_no_token")


def _notify(chosen: WhenFinished) -> Iterator[Finding]:
    for channel, variable in (("webhook", "LORATUI_WEBHOOK_URL"), ("ntfy", "LORATUI_NTFY_URL")):
        if chosen.notify in (channel, "both") and not address(f"{channel}_url"):
            yield Finding.of("ending_no_address", channel=channel, variable=variable)


def _pod(chosen: WhenFinished, home: Path) -> Iterator[Finding]:
    if chosen.pod != "stop":
        return
    pod = this_pod()
    if pod is None:
        yield Finding.of("ending_pod.none")
        return
    if not pod.key:
        variable = "RUNPOD_API_KEY" if pod.provider == "runpod" else "CONTAINER_API_KEY"
        yield Finding.of("ending_pod", title=pod.title, variable=variable)
    if erases(pod, home):
        copied = ".copied" if chosen.copy_to else ""
        yield Finding.of(f"ending_pod_erases{copied}", home=str(home))
    yield Finding.of("ending_pod_costs", costs=STILL_COSTS[pod.provider])
