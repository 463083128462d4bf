"""The rented pod on which this program runs, as its environment tells, and what it costs while it is stopped.

RunPod sets RUNPOD_POD_ID and RUNPOD_API_KEY, a key for this pod alone (docs.runpod.io/pods/templates/environment-variables). Vast.ai
sets CONTAINER_ID and CONTAINER_API_KEY, a key for this instance alone, and VAST_CONTAINERLABEL, which is C.ID
(docs.vast.ai/guides/instances/docker-environment). On both, a session of ssh may lack them; the first process of the container has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.machine.addresses import address

_FIRST_PROCESS = Path("/proc/1/environ")
_NAMES = ("RUNPOD_POD_ID", "RUNPOD_API_KEY", "CONTAINER_ID", "VAST_CONTAINERLABEL", "CONTAINER_API_KEY")

STILL_COSTS: Mapping[str, str] = {
    # docs.runpod.io/pods/storage: the container disk is lost on stop; the volume disk costs $0.10 per GB and month while the pod runs
    # and $0.20 while it is stopped.
    "runpod": "RunPod erases the container disk of a stopped pod, and goes on billing its volume disk, at twice the price",
    # docs.vast.ai/sdk/python/reference/show-instances: "Disk charges continue; no GPU charges."
    "vast": "Vast.ai goes on billing the disk of a stopped instance; its GPU may go to somebody else",
}
"""Provider -> what goes on after a stop. Only terminating the pod ends it, which deletes the data; loratui never does that."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A rented container."""

    provider: Literal["runpod", "vast"]
    id: str
    key: str = field(repr=False)
    """With which its provider lets it be stopped; empty without one."""

    @property
    def title(self) -> str:
        """The provider's name."""
        return "RunPod" if self.provider == "runpod" else "Vast.ai"


def this_pod(environ: Mapping[str, str] | None = None) -> Pod | None:
    """The pod that this is; None on any other machine. Raises `UsageError` for a file of keys that others can read."""
    env = {**_first_environment(), **os.environ} if environ is None else environ
    if found := re.fullmatch(r"[\w-]{1,64}", env.get("RUNPOD_POD_ID", "")):
        return Pod("runpod", found[0], address("runpod_api_key", env))
    label = env.get("CONTAINER_ID", "") or env.get("VAST_CONTAINERLABEL", "").removeprefix("C.")
    if label.isdecimal() and ("VAST_CONTAINERLABEL" in env or "CONTAINER_API_KEY" in env):
        return Pod("vast", label, address("vast_api_key", env))
    return None


def erases(pod: Pod, folder: Path) -> bool:
    """Whether a stop of the pod erases `folder`: it is on the container disk of RunPod, and on no volume."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return pod.provider == "runpod" and existing.stat().st_dev == Path("/").stat().st_dev


def _first_environment() -> dict[str, str]:
    try:
        with _FIRST_PROCESS.open("rb", buffering=0) as file:
            data = file.read(TINY_FILE_BYTES)
    except OSError:
        return {}
    pairs = (entry.decode("utf-8", "replace").partition("=") for entry in data.split(b"\0"))
    return {name: value for name, _, value in pairs if name in _NAMES}
