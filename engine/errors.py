"""Errors that a person can do something about, each with the exit code of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command and of the trainer. They are an interface: numbers never change their meaning."""

    DONE = 0
    WARNINGS = 1
    USAGE = 2
    """Wrong arguments, paths or settings."""
    DATASET = 3
    PAUSED = 10
    DISK = 20
    NOT_FINITE = 30
    GPU_LOST = 33
    OUT_OF_MEMORY = 34
    UNAVAILABLE = 69
    """The hub cannot be reached, or refuses (sysexits EX_UNAVAILABLE)."""
    CRASHED = 70
    """A fault of the program itself (sysexits EX_SOFTWARE)."""
    TERMINATED = 143


class LoratuiError(ValueError):
    """What is wrong, where, and what to do, in the person's language; shown as it is, without a traceback."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, remedy: str = "", *, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class UsageError(LoratuiError):
    """Wrong arguments, paths or settings."""


class DatasetError(LoratuiError):
    """The images cannot be trained on."""

    exit_code = ExitCode.DATASET


class DiskError(LoratuiError):
    """No space, no permission, or a file system that fails."""

    exit_code = ExitCode.DISK

    def __init__(self, message: str, remedy: str = "", *, number: int = 0) -> None:
        super().__init__(message, remedy)
        self.number = number
        """The system's number of the error (errno); 0 for an error that the system does not know of."""


class NotFiniteError(LoratuiError):
    """A loss, gradient, latent or embedding is NaN or infinite."""

    exit_code = ExitCode.NOT_FINITE


class GpuLostError(LoratuiError):
    """The GPU no longer answers."""

    exit_code = ExitCode.GPU_LOST


class OutOfMemoryError(LoratuiError):
    """The GPU or the machine has too little memory."""

    exit_code = ExitCode.OUT_OF_MEMORY


class CannotPinError(OutOfMemoryError):
    """Main memory cannot be pinned for a base's blocks."""


class MemoryPlanFailedError(OutOfMemoryError):
    """GPU memory ran out with the memory plan that a run took."""

    def __init__(self, message: str, remedy: str, failed: frozenset[str], told: Mapping[str, str]) -> None:
        super().__init__(message, remedy)
        self.failed = failed
        """`MemoryPlan.way` of all plans with which it ran out in this run."""
        self.told = told
        """The fields of the event `memory_plan_failed`."""

    @property
    def another(self) -> bool:
        """Whether another plan is left."""
        return bool(self.told["next"])
