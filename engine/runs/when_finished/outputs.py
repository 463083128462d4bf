"""The LoRA files of a run that has ended, each compared with the hash of its saving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import lora_paths
from loratui.engine.runs.lora_hashes import difference
from loratui.engine.runs.state import RunState
from loratui.engine.untrusted import sha256_of


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run leaves behind."""

    hashes: Mapping[Path, str]
    """SHA-256 of each LoRA file, as it is now."""
    problem: str
    """What is missing, or differs from its hash; empty where all is as it was saved."""


def outputs_of(run: RunDirectory, state: RunState) -> Outputs:
    """Reads every LoRA file. A finished run must have its finished file; another may have none yet."""
    hashes: dict[Path, str] = {}
    problem = ""
    for path in lora_paths(run):
        try:
            found = difference(path)
            hashes[path] = sha256_of(path)
        except (UsageError, OSError) as error:
            found = str(error)
        problem = problem or (f"output/{path.name}: {found}" if found else "")
    named = run.file(state.output)
    done = state.ending is not None and state.ending.status == "done"
    if done and (named is None or named not in hashes):
        problem = problem or f"The finished LoRA file {state.output or 'of this run'} is missing."
    return Outputs(hashes, problem)
