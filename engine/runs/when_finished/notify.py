"""Tells somebody that a run has ended: JSON to a webhook, a message to a topic of ntfy.

The JSON has `text` (Slack) and `content` (Discord) beside the figures. ntfy takes the message as the body of a POST to the topic's address,
with the headers Title, Tags and Authorization (docs.ntfy.sh/publish).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.machine import web
from loratui.engine.machine.addresses import VARIABLES, address
from loratui.engine.runs.when_finished.result import Result, tried
from loratui.engine.runs.when_finished.stopping import Stopping

_TAGS = {"done": "white_check_mark", "failed": "x"}


def carry_out(channels: Sequence[str], message: str, told: Mapping[str, Any], stopping: Stopping) -> Result:
    """Sends one message by each channel; what failed for a while is tried again."""
    results = {channel: tried(lambda channel=channel: send(channel, message, told), stopping) for channel in channels}  # type: ignore[misc]  # mypy takes the bound name for an argument without a type
    worst = next((one for one in results.values() if one.state != "done"), None)
    words = " ".join(f"{channel}: {one.message}" for channel, one in results.items())
    return Result(worst.state if worst else "done", words, max(one.attempts for one in results.values()))


def send(channel: str, message: str, told: Mapping[str, Any]) -> Result:
    """Sends one message once; `message` is for people, `told` for programs."""
    try:
        url, token = address(f"{channel}_url"), address("ntfy_token") if channel == "ntfy" else ""
    except UsageError as error:
        return Result("failed", str(error))
    if not url:
        variable = VARIABLES[f"{channel}_url"][0]
        return Result("failed", f"There is no address. Set {variable}, or: loratui when-finished --address {channel}_url")
    if channel == "ntfy":
        headers = {"Title": f"loratui: {told['run']}", "Content-Type": "text/plain; charset=utf-8"}
        if tag := _TAGS.get(str(told.get("status"))):
            headers["Tags"] = tag
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = message.encode("utf-8", "replace")
    else:
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"text": message, "content": message, **told}, allow_nan=False).encode()
    answer = web.request("POST", url, body, {"User-Agent": "loratui", **headers})
    if answer.good:
        return Result("done", "Sent.")
    return Result("failed", f"Not sent: {answer.problem}", passing=answer.passing)


def test(channel: str, run: str) -> Result:
    """Sends a test message."""
    return send(channel, f"A test message of loratui, about {run}.", {"run": run, "status": "test"})
