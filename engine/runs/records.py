"""What single events of a run say: values without behaviour, read from the fields of an event whatever these hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loratui.engine.runs.events import Event


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image; `path` is relative to the run."""

    step: int
    image_step: int
    index: int
    path: str
    prompt: str
    seed: int

    @classmethod
    def of(cls, event: Event) -> Sample:
        """From `sample_written`."""
        step, image_step, index, seed = (event.count(name) for name in ("step", "image_step", "index", "seed"))
        return cls(step, image_step, index, event.path("path"), event.text("prompt"), seed)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state that training can go on from."""

    step: int
    image_step: int
    path: str
    bytes: int
    reason: str

    @classmethod
    def of(cls, event: Event) -> Checkpoint:
        """From `checkpoint_written`."""
        step, image_step, size = (event.count(name) for name in ("step", "image_step", "bytes"))
        return cls(step, image_step, event.path("path"), size, event.text("reason"))


@dataclass(frozen=True, slots=True)
class Output:
    """A LoRA file; `path` is relative to the run."""

    step: int
    epoch: int
    path: str
    bytes: int
    final: bool

    @classmethod
    def of(cls, event: Event) -> Output:
        """From `output_written`."""
        step, epoch, size = (event.count(name) for name in ("step", "epoch", "bytes"))
        return cls(step, epoch, event.path("path"), size, bool(event.get("final")))


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch that is over."""

    epoch: int
    step: int
    """The optimizer step with which it ended."""
    loss: float | None
    """Mean over its images."""

    @classmethod
    def of(cls, event: Event) -> Epoch:
        """From `epoch_finished`."""
        return cls(event.count("epoch"), event.count("step"), event.number("loss"))


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
    """The training image that it is most like, by its path in the data set; empty if that was not measured."""
    similarity: float | None = None

    @classmethod
    def of(cls, event: Event) -> Image:
        """From `image_written`."""
        strength = event.number("strength")
        return cls(
            path=event.path("path"),
            prompt=event.text("prompt"),
            strength=math.nan if strength is None else strength,
            seed=event.count("seed"),
            grid=event.text("grid") or "strengths",
            file=event.path("file"),
            nearest=event.text("nearest"),
            similarity=event.number("similarity"),
        )


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that a person should know."""

    code: str
    message: str
    remedy: str

    @classmethod
    def of(cls, event: Event) -> Warning:
        """From `warning`, or from `run_failed_with`, which has no code."""
        return cls(event.text("code"), event.text("message"), event.text("remedy"))

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

    @classmethod
    def of(cls, event: Event) -> Acknowledgement:
        """From `command_acknowledged`."""
        return cls(event.text("command"), bool(event.get("ok")), event.text("message"))


@dataclass(frozen=True, slots=True)
class Ending:
    """The last word on a run."""

    status: str
    exit_code: int | None
    """None where the event names none that a process can have."""
    reason: str
    advice: str

    @classmethod
    def of(cls, event: Event) -> Ending:
        """From `run_finished`."""
        code = event.get("exit_code")
        known = code if type(code) is int and 0 <= code < 256 else None
        return cls(event.text("status"), known, event.text("reason"), event.text("advice"))


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

    @classmethod
    def of(cls, event: Event) -> Machine:
        """From `telemetry`."""
        return cls(
            gpu=event.text("gpu"),
            throttle=event.texts("throttle"),
            cpus=event.count("cpus"),
            ts=event.ts,
            **{name: event.number(name) for name in _MACHINE_NUMBERS},
        )

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

    @classmethod
    def of(cls, event: Event) -> InForce:
        """From `changes_in_force`."""
        every = event.number("every_image_steps")
        return cls(
            event.texts("prompts") or None, None if every is None else int(every), event.count("stop_after_epoch") or None
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is that is not training."""

    phase: str
    done: int
    total: int
    text: str

    @classmethod
    def of(cls, event: Event) -> Progress:
        """From `progress`."""
        return cls(event.text("phase"), event.count("done"), event.count("total"), event.text("text"))


_MACHINE_NUMBERS = (
    "gpu_percent",
    "gpu_memory_gib",
    "gpu_memory_total_gib",
    "gpu_c",
    "gpu_w",
    "gpu_limit_w",
    "cpu_percent",
    "machine_cpu_percent",
    "ram_gib",
    "ram_total_gib",
    "disk_free_gib",
)
