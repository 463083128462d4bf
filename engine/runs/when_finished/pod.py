"""Stops the rented pod on which a run has ended.

RunPod: `runpodctl stop pod ID` (docs.runpod.io/runpodctl/reference/runpodctl-stop-pod), else POST https://rest.runpod.io/v1/pods/ID/stop with
`Authorization: Bearer KEY` (docs.runpod.io/api-reference/pods/POST/pods/podId/stop). A pod with a network volume may be stopped too (since May
2026). Vast.ai: `vastai stop instance ID` (docs.vast.ai/cli/reference/stop-instance), else PUT https://console.vast.ai/api/v0/instances/ID/ with
`{"state": "stopped"}` (docs.vast.ai/api-reference/instances/manage-instance). A key is never an argument of a command, which everybody on
the machine can read: the clients have their own, and loratui's own goes into a header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from loratui.engine.machine import web
from loratui.engine.machine.pods import STILL_COSTS, Pod
from loratui.engine.planning.ending_rules import program
from loratui.engine.runs.when_finished import programs
from loratui.engine.runs.when_finished.result import Result, tried
from loratui.engine.runs.when_finished.stopping import Stopping

RUNPOD, VAST = "https://rest.runpod.io/v1", "https://console.vast.ai/api/v0"

CLIENTS: Mapping[str, tuple[str, ...]] = {"runpod": ("runpodctl", "stop", "pod"), "vast": ("vastai", "stop", "instance")}
_CLIENT_S = 60.0


def carry_out(pod: Pod, stopping: Stopping, log: Path) -> Result:
    """Asks the provider to stop the pod, tried again while that may help. This process ends with the pod."""
    result = tried(lambda: _by_key(pod), stopping) if pod.key else Result("failed", f"{pod.title}: there is no key.")
    words = [*CLIENTS[pod.provider], pod.id]
    if result.state == "failed" and program(words[0]) is not None:  # its own client may be signed in
        ran = programs.run(words, stopping, log, longest_s=_CLIENT_S, cwd=log.parent)
        if ran.code == 0:
            return _asked(pod, f"{words[0]} stops the pod.", result.attempts)
        return Result("failed", f"{result.message} {words[0]}: {ran.problem}", result.attempts)
    return result


def _by_key(pod: Pod) -> Result:
    headers = {"Authorization": f"Bearer {pod.key}", "Content-Type": "application/json", "User-Agent": "loratui"}
    if pod.provider == "runpod":
        answer = web.request("POST", f"{RUNPOD}/pods/{pod.id}/stop", b"", headers)
    else:
        answer = web.request("PUT", f"{VAST}/instances/{pod.id}/", json.dumps({"state": "stopped"}).encode(), headers)
    refused = pod.provider == "vast" and '"success": false' in answer.words.lower().replace('":false', '": false')
    if answer.good and not refused:
        return _asked(pod, f"{pod.title} stops the pod.")
    return Result("failed", f"{pod.title} does not stop the pod: {answer.problem}", passing=answer.passing)


def _asked(pod: Pod, words: str, attempts: int = 1) -> Result:
    return Result("done", f"{words} {STILL_COSTS[pod.provider]}.", attempts)
