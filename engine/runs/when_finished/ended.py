"""What the actions are told of the run that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.machine.addresses import blotted
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.records import Ending
from loratui.engine.runs.state import RunState
from loratui.engine.runs.when_finished.outputs import Outputs


@dataclass(frozen=True, slots=True)
class Ended:
    """A run at its end."""

    run: RunDirectory
    ending: Ending
    state: RunState
    outputs: Outputs

    @property
    def output(self) -> Path | None:
        """The finished LoRA file, else the newest; None without one that is there."""
        path = self.run.file(self.state.output)
        return path if path in self.outputs.hashes else None

    @property
    def sentence(self) -> str:
        """How the run ended, in a sentence or two."""
        return blotted(f"{self.run.name}: {self.ending.status}. {self.ending.reason}".strip())

    def told(self) -> dict[str, Any]:
        """The plain values of a message."""
        return {
            "run": self.run.name,
            "path": str(self.run.path),
            "status": self.ending.status,
            "exit_code": self.ending.exit_code,
            "reason": blotted(self.ending.reason),
            "step": self.state.step,
            "planned_steps": self.state.optimizer_steps,
            "loss": self.state.loss_smoothed,
            "output": str(self.output) if self.output else None,
            "output_sha256": self.outputs.hashes[self.output] if self.output else None,
        }

    def environment(self) -> Mapping[str, str]:
        """What a command finds in its environment."""
        told = self.told()
        names = ("run", "path", "status", "exit_code", "reason", "step", "output", "output_sha256")
        return {f"LORATUI_{name.upper()}": "" if told[name] is None else str(told[name]).replace("\0", "") for name in names}
