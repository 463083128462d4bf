"""What a run's events say, a type for each kind: values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "good", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image; `path` is relative to the run."""

    step: int
    image_step: int
    index: int
    path: str
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state that training can go on from."""

    step: int
    image_step: int
    path: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Output:
    """A LoRA file; `path` is relative to the run."""

    step: int
    epoch: int
    path: str
    bytes: int
    final: bool


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the check; `path` is relative to the run."""

    path: str
    prompt: str
    strength: float
    seed: int
    grid: str = "strengths"
    """`strengths` of one file, or `checkpoints`: the files of the epochs."""
    file: str = ""
    """LoRA file, relative to the run; empty for the base alone."""
    nearest: str = ""
    """The training image that it is most like, by its path in the data set; empty if that was not measured."""
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that a person should know."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a command."""

    command: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The last word on a run."""

    status: str
    exit_code: int
    reason: str
    advice: str
    step: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for the person; the text is not yet cleaned for the terminal."""

    ts: float
    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine did when it was looked at last; None is what it does not tell."""

    ts: float
    gpu: str
    gpu_percent: float | None
    gpu_memory_gib: float | None
    gpu_memory_total_gib: float | None
    gpu_c: float | None
    gpu_w: float | None
    gpu_limit_w: float | None
    throttle: tuple[str, ...]
    cpu_percent: float | None
    """Of the trainer; 100 is one CPU in full."""
    machine_cpu_percent: float | None
    """Of the machine, all programs together; 100 is all CPUs in full."""
    cpus: int
    ram_gib: float | None
    ram_total_gib: float | None
    disk_free_gib: float | None

    @property
    def cpu_share(self) -> float | None:
        """Percent of the machine's CPUs that are at work; in runs of earlier versions what the trainer alone took of them."""
        if self.machine_cpu_percent is not None:
            return self.machine_cpu_percent
        return self.cpu_percent / self.cpus if self.cpu_percent is not None and self.cpus > 0 else None


@dataclass(frozen=True, slots=True)
class InForce:
    """What a person changed while the run trains; None where the recipe still holds."""

    prompts: tuple[str, ...] | None = None
    every_image_steps: int | None = None
    stop_after_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is that is not training."""

    phase: str
    done: int
    total: int
    text: str
