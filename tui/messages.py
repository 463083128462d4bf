"""What the workers tell the screens. Named for what has happened; workers touch no widget, they only post these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loratui.engine.dataset.scan import DatasetScan
    from loratui.engine.formats.base_parts import BaseFiles
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.machine.hub import DownloadPlan
    from loratui.engine.planning.bases import FoundBase
    from loratui.engine.planning.measured import Measurement
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.runs.directory import RunDirectory
    from loratui.engine.runs.events import EventBatch
    from loratui.engine.runs.lora_files import LoraFiles
    from loratui.engine.runs.probe import BaseRead
    from loratui.engine.runs.state import RunState
    from loratui.engine.runs.summary import RunSummary
    from loratui.tui.validation.check_images import Slot
    from loratui.tui.validation.exporting import Exported
    from loratui.tui.wizard.draft import Draft
    from loratui.tui.wizard.preflight_rows import Row


@dataclass
class RunsListed(Message):
    """The runs were looked at."""

    runs: tuple[RunSummary, ...]
    problem: str = ""
    """Why they could not be; empty if they could."""
    free_bytes: int | None = None
    """Free on the volume of the runs; None if that cannot be read."""


@dataclass
class DraftOpened(Message):
    """A draft was read from disk with its folder, or cannot be used."""

    id: str
    draft: Draft | None
    step: str
    problem: str = ""


@dataclass
class EventsRead(Message):
    """The log of a job went on."""

    job: str
    batch: EventBatch
    restarted: bool = False
    """Whether the log was begun anew, so that what was read before no longer counts."""
    keep_every: int = 1
    """Of the frequent events only each so many-th is in the batch: a glance at a long past."""
    state: RunState | None = None
    """The exact state after a glance, which gave an estimate of it."""


@dataclass
class LogEndReached(Message):
    """Everything that was in the log has been sent; what follows is new."""

    job: str


@dataclass
class StandingChanged(Message):
    """How the run stands has changed."""

    summary: RunSummary

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, StandingChanged)


@dataclass
class FolderScanned(Message):
    """A folder of images was read, or could not be."""

    folder: str
    scan: DatasetScan | None
    problem: str = ""
    remedy: str = ""


@dataclass
class BasesFound(Message):
    """Base models were looked for on this machine."""

    bases: tuple[FoundBase, ...]
    cut: bool
    """Whether the search ended early."""


@dataclass
class BaseLookedAt(Message):
    """The base that is chosen was looked at, or cannot be used."""

    model: str
    found: BaseFiles | None
    problem: str = ""
    remedy: str = ""


@dataclass
class OfferMade(Message):
    """The hub was asked what a download would fetch, or it refused."""

    model: str
    offer: DownloadPlan | None
    problem: str = ""
    remedy: str = ""


@dataclass
class DownloadWent(Message):
    """A download went on."""

    repo: str
    words: str

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, DownloadWent)


@dataclass
class DownloadEnded(Message):
    """A download is done, was cancelled, or failed."""

    repo: str
    problem: str = ""
    cancelled: bool = False


@dataclass
class SignedIn(Message):
    """The hub has confirmed a token, or refused it."""

    name: str
    problem: str = ""


@dataclass
class MachineKnown(Message):
    """The machine and earlier runs on it were looked at."""

    machine: Accelerator
    measurements: tuple[Measurement, ...]


@dataclass
class PreflightFinished(Message):
    """The checks are done, or could not be made."""

    prepared: Prepared | None
    problem: str = ""
    costs: str = ""
    """How long the run takes and what it costs, as far as is known."""


@dataclass
class ProbeWent(Message):
    """The real step before the start went on."""

    words: str


@dataclass
class ProbeEnded(Message):
    """The real step is made, failed or was cancelled; the row says which."""

    row: Row
    costs: str = ""
    """How long the run takes and what it costs, by what was measured; empty if nothing was."""
    base: BaseRead | None = None
    """What the base made of the images, where it was read."""


@dataclass
class RunStarted(Message):
    """A run was created and lives, or could not be started."""

    run: RunDirectory | None
    problem: str = ""


@dataclass
class JobLaunched(Message):
    """A job of an existing run was started, or could not be."""

    job: str
    problem: str = ""


@dataclass
class BoxSeen(Message):
    """The machine and the drafts were looked at, and something is new."""

    words: str
    drafts: int
    newest: str
    """What the newest draft is about; not yet cleaned."""


@dataclass
class RunLaunched(Message):
    """A run of the list was resumed, or could not be."""

    name: str
    problem: str = ""


@dataclass
class RunSized(Message):
    """It was added up what deleting a run frees."""

    name: str
    bytes: int


@dataclass
class ComparisonMade(Message):
    """The runs to compare were read."""

    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """(what, value of each run)."""
    samples: tuple[Path | None, ...]


@dataclass
class RunDeleted(Message):
    """A run is gone, or could not be deleted."""

    name: str
    problem: str = ""


@dataclass
class FactsGathered(Message):
    """What a bug report needs was looked up."""

    report: str


@dataclass
class GridListed(Message):
    """What the check shall show was read, with what else a screen of it needs from the run."""

    stamp: tuple[int, int]
    """Time of change and size of the list, by which another one is known."""
    slots: list[Slot]
    training: Mapping[str, Path]
    """Where each training image lies, by its path in the data set."""
    files: LoraFiles


@dataclass
class FileExported(Message):
    """A LoRA file was written under a name, or could not be."""

    exported: Exported | None
    problem: str = ""
