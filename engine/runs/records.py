"""What single events of a run say: values without behaviour, read from the fields of an event whatever these hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from loratui.engine.limits import disk_is_low
from loratui.engine.runs.events import Event
from loratui.engine.words import GIB, size

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image; `path` is relative to the run."""

    step: int
    image_step: int
    index: int
    path: str
    prompt: str
    seed: int
    sha256: str = ""
    """Of the file; empty in runs of versions that kept none."""


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
class Epoch:
    """An epoch that is over."""

    epoch: int
    step: int
    """The optimizer step with which it ended."""
    loss: float | None
    """Mean over its images."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the validation; `path` is relative to the run."""

    path: str
    prompt: str
    strength: float
    seed: int
    grid: str = "strengths"
    """`strengths` of one file, or `checkpoints`: the files of the epochs."""
    file: str = ""
    """LoRA file, relative to the run; empty for the base alone."""
    nearest: str = ""
    """The most similar training image, by its path in the dataset; empty if not measured."""
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class LossMark:
    """Something about the loss to look at: a spike, a divergence, or a step that was left out."""

    kind: str
    step: int


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that a person should know."""

    code: str
    message: str
    remedy: str

    @property
    def sentence(self) -> str:
        """What is wrong and what to do."""
        return f"{self.message} {self.remedy}".strip()


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
    exit_code: int | None
    reason: str
    advice: str
    by_signal: bool = False
    """Whether the machine or its container stopped it by SIGTERM, and no person asked."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a trainer said before it ended with an error."""

    exit_code: int
    code: str
    """Which class of `machine.gpu_faults` it is of; empty for others."""
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class TrainerEnd:
    """How the supervisor saw a trainer end."""

    exit_code: int | None
    signal: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of something that was chosen for the end of the run."""

    action: str
    """`copy`, `command`, `notify` or `pod`."""
    state: str
    """`begun`, `waiting`, `done`, `failed`, `cancelled`, `interrupted` or `skipped`."""
    message: str
    attempts: int
    until: float | None
    """When it begins, by the writer's clock, where it waits."""

    @property
    def goes_on(self) -> bool:
        """Whether it has begun and not ended."""
        return self.state in ("begun", "waiting")


@dataclass(frozen=True, slots=True)
class Deletable:
    """Something on a run's volume that is not needed for it."""

    what: str
    bytes: int
    command: str
    """What deletes it."""


def in_words(found: Sequence[Deletable]) -> str:
    """What could be deleted, in a sentence; empty for nothing."""
    listed = ", ".join(f"{one.what} ({size(one.bytes)}: {one.command})" for one in found)
    return f"Not needed for it: {listed}." if listed else ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a run waits for its disk."""

    ts: float
    """Since when."""
    reason: str
    remedy: str
    error: str
    """The system's name of the error, such as `ENOSPC`."""
    place: str
    """The file that could not be written."""
    needed_bytes: int
    """What the write takes, as far as known."""
    free_bytes: int | None
    deletable: tuple[Deletable, ...] = ()

    @property
    def advice(self) -> str:
        """What to do about it."""
        return f"{self.remedy} {in_words(self.deletable)}".rstrip()


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
    disk_needed_gib: float | None
    """What the next checkpoint, LoRA file and samples take."""

    @property
    def disk_is_low(self) -> bool:
        """Whether the disk may not take these."""
        free, needed = self.disk_free_gib, self.disk_needed_gib
        return free is not None and needed is not None and disk_is_low(free * GIB, needed * GIB)

    @property
    def cpu_share(self) -> float | None:
        """Percent of the machine's CPUs that are at work; in runs of earlier versions what the trainer alone took of them."""
        if self.machine_cpu_percent is not None:
            return self.machine_cpu_percent
        return self.cpu_percent / self.cpus if self.cpu_percent is not None and self.cpus > 0 else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is that is not training."""

    phase: str
    done: int
    total: int
    text: str


def record(kind: type[Record], event: Event) -> Record:
    """The record that an event makes: each field is the event's of the same name, or what its type has for nothing."""
    return kind(**{field.name: _value(field, event) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]  # all are


def _value(field: dataclasses.Field[Any], event: Event) -> Any:
    if field.name == "ts":
        return event.ts
    read = Event.path if field.name in _PATHS else _BY_TYPE[str(field.type)]
    value = read(event, field.name)
    return field.default if value == "" and field.default is not dataclasses.MISSING else value


def _all_of(kind: type[Record], event: Event, name: str) -> tuple[Record, ...]:
    """The records in a list of objects."""
    listed = event.get(name)
    tables = [table for table in listed if isinstance(table, dict)] if isinstance(listed, list) else []
    return tuple(record(kind, Event(event.type, event.seq, event.ts, table)) for table in tables[:_MOST_LISTED])


_MOST_LISTED = 20
_PATHS = ("path", "file")
_BY_TYPE: dict[str, Callable[[Event, str], Any]] = {
    "str": Event.text,
    "int": Event.count,
    "int | None": lambda event, name: None if event.number(name) is None else event.count(name),
    "float": lambda event, name: math.nan if event.number(name) is None else event.number(name),
    "float | None": Event.number,
    "bool": lambda event, name: event.get(name) is True,
    "tuple[str, ...]": Event.texts,
    "tuple[Deletable, ...]": lambda event, name: _all_of(Deletable, event, name),
    "tuple[str, ...] | None": lambda event, name: event.texts(name) or None,
}
"""By the types of fields as they are written above."""
