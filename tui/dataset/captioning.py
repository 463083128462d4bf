"""A captioner at work for the dataset step, and what it proposes; it goes on while the person reviews, and ends with the step."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

from loratui.engine.errors import LoratuiError
from loratui.engine.untrusted import sha256_of
from loratui.tui import text

if TYPE_CHECKING:
    from loratui.engine.captioning.asking import Progress
    from loratui.engine.captioning.captioners import Captioner
    from loratui.engine.captioning.proposals import Proposal, Proposals
    from loratui.engine.dataset.scan import ImageEntry
    from loratui.engine.machine.hub import Progress as Downloaded
    from loratui.presets.schema import Settings
    from loratui.tui.dataset.edits import DatasetEdits
    from loratui.tui.dataset.proposals import By

_TELL_EVERY_S = 0.7
"""Least time between two reports: each makes the screen say something new."""
Tell = Callable[[Message], object]


@dataclass(frozen=True)
class Order:
    """What a person asks of a captioner."""

    captioner: Captioner
    images: tuple[str, ...]
    hint: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: int = 1
    """Captions of each image, of different lengths."""
    again: bool = False
    """Whether images that it has answered are asked for again."""

    @property
    def named(self) -> str:
        """Who answers: a captioner, or a server's model."""
        return str(self.options.get("model") or self.captioner.title)


@dataclass
class ProposalsRead(Message):
    """The proposals of a folder, or why they cannot be read."""

    root: Path
    by: By
    problem: str = ""


@dataclass
class CaptionerWent(Message):
    """How far the captioner is."""

    root: Path
    words: str
    by: By | None = None
    """The proposals so far; None where they are as before."""


@dataclass
class CaptionerEnded(Message):
    """The captioner has ended."""

    root: Path
    by: By | None
    words: str
    problem: bool = False


@dataclass
class NotKept(Message):
    """What became of proposals could not be written."""

    words: str


class Captioning:
    """What the model of the dataset step knows of captioners. `start` begins a thread of the step's screen."""

    def __init__(self, home: Callable[[], Path], start: Callable[[str, str, Callable[[], Message | None]], None]) -> None:
        self._home, self._start = home, start
        self.by: By = {}
        self.words = ""
        """How far the captioner is; empty while none works."""
        self.came = 0
        """How often proposals came from a captioner or from the disk."""
        self.last: Order | None = None
        """What was asked last, for the next question."""
        self._read_of: Path | None = None
        self._stop = threading.Event()
        self._to_write: list[Proposal] = []
        """What became of proposals, to be written once no captioner writes too."""
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called after each change; calling what is returned ends that."""
        self._watchers.append(changed)
        return partial(self._watchers.remove, changed)

    def _changed(self) -> None:
        for changed in list(self._watchers):
            changed()

    @property
    def works(self) -> bool:
        """Whether a captioner is at work."""
        return bool(self.words)

    def folder(self, root: Path) -> None:
        """The step is at a folder: a captioner of another one stops, and its proposals are not those of this one."""
        if self._read_of not in (None, root):
            self.stop()
            self.words = ""
            self._write()
            self._read_of, self.by = None, {}
            self._changed()

    def read(self, edits: DatasetEdits) -> None:
        """Has the proposals of a folder read, once for each folder."""
        if self._read_of != edits.root and not self.works:
            self._read_of, self.by = edits.root, {}
            self._start("proposals", "read the proposals", partial(read_proposals, edits, self._home()))

    def taken(self, message: ProposalsRead) -> None:
        """The proposals were read."""
        if message.root == self._read_of and not self.works:
            self.by, self.came = message.by, self.came + 1
            self._changed()

    def begin(self, order: Order, edits: DatasetEdits, settings: Settings, tell: Tell) -> None:
        """Asks a captioner. The person has agreed to what it downloads or sends."""
        self.last, self.words, self._stop = order, "starting", threading.Event()
        self._read_of = edits.root
        job = partial(ask, order, edits, settings, self._home(), tell, self._stop.is_set)
        self._start("captioner", "ask the captioner", job)
        self._changed()

    def stop(self) -> None:
        """What was proposed stays."""
        self._stop.set()

    def went(self, message: CaptionerWent) -> None:
        """It came further."""
        if self.works and message.root == self._read_of:
            self.words = message.words
            self._take(message.by)
            self._changed()

    def ended(self, message: CaptionerEnded) -> None:
        """It is done, or was stopped."""
        if message.root != self._read_of:
            return
        self.words = ""
        self._take(message.by)
        self._write()
        self._changed()

    def become(self, changed: Mapping[str, Proposal]) -> None:
        """Proposals of images are others now: taken, put aside, or with the person's own words."""
        self._to_write += changed.values()
        self.by = _with(self.by, changed)
        self._write()
        self._changed()

    def _take(self, by: By | None) -> None:
        """What the captioner's process knows; what is not written yet counts more."""
        if by is not None:
            own = {one.key: one for one in self._to_write}
            self.came += 1
            self.by = {name: tuple(own.get(one.key, one) for one in every) for name, every in by.items()} if own else by

    def _write(self) -> None:
        if self._to_write and not self.works and self._read_of is not None:
            rows, self._to_write = self._to_write, []
            self._start("mark proposals", "keep what became of proposals", partial(write, rows, self._read_of, self._home()))


def _with(by: By, changed: Mapping[str, Proposal]) -> By:
    keys = {name: one.key for name, one in changed.items()}
    others = {name: tuple(changed[name] if one.key == keys[name] else one for one in by.get(name, ())) for name in changed}
    return {**by, **others}


def write(rows: Sequence[Proposal], root: Path, home: Path) -> Message | None:
    """Keeps what became of proposals."""
    from loratui.engine.captioning.proposals import Proposals

    try:
        Proposals(home, root).put(dataclasses.replace(one, at=time.time()) for one in rows)
    except LoratuiError as error:
        return NotKept(f"What became of proposals is not kept: {error}")
    return None


def read_proposals(edits: DatasetEdits, home: Path) -> ProposalsRead:
    """Reads the proposals of a folder."""
    from loratui.engine.captioning.proposals import Proposals

    try:
        kept = Proposals(home, edits.root)
    except LoratuiError as error:
        return ProposalsRead(edits.root, {}, str(error))
    return ProposalsRead(edits.root, by_image(kept, edits.scan.images) if any(True for _ in kept) else {})


def by_image(kept: Proposals, images: Iterable[ImageEntry]) -> By:
    """The proposals for the images of a folder, by what their files hold: a file may have got another name."""
    of: dict[str, list[Proposal]] = {}
    for one in kept:
        of.setdefault(one.image, []).insert(0, one)
    contents = {image.relative: _content(image.path, image.bytes, image.modified_ns) for image in images}
    return {name: tuple(of[content]) for name, content in contents.items() if content in of}


@lru_cache(maxsize=20_000)
def _content(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - part of the cache's key
    try:
        return sha256_of(path.resolve())
    except OSError:
        return ""


def ask(
    order: Order, edits: DatasetEdits, settings: Settings, home: Path, tell: Tell, cancelled: Callable[[], bool]
) -> CaptionerEnded:
    """Downloads the captioner if it is not here, and asks it for each image. Meant for a thread."""
    from loratui.engine.captioning.asking import Asking
    from loratui.engine.captioning.proposals import Proposals
    from loratui.engine.captioning.wish import Wish
    from loratui.engine.planning.preflight import token_counter

    by: By | None = None
    try:
        folder = _files(order.captioner, home, lambda words: tell(CaptionerWent(edits.root, words)), cancelled)
        if cancelled():
            return CaptionerEnded(edits.root, None, "No captioner was started.")
        kept = Proposals(home, edits.root)
        asking = Asking(
            captioner=order.captioner,
            wish=Wish.of(settings, hint=order.hint, variants=order.variants),
            kept=kept,
            counter=token_counter(settings),
            folder=folder,
            options=order.options,
        )
        told = 0.0

        def progress(now: Progress) -> None:
            nonlocal told
            if time.monotonic() - told < _TELL_EVERY_S and now.done < now.total:
                return
            told = time.monotonic()
            how = f", {now.said}" if now.said else ", starting"
            words = f"{order.named}: {text.number(now.done)} of {text.count(now.total, 'image')}{how}"
            tell(CaptionerWent(edits.root, words, by_image(kept, edits.scan.images)))

        outcome = asking.ask_folder(
            edits.scan, only=frozenset(order.images), again=order.again, progress=progress, cancelled=cancelled
        )
        by = by_image(kept, edits.scan.images)
    except LoratuiError as error:
        return CaptionerEnded(edits.root, by, str(error), problem=True)
    if outcome.error is not None:
        return CaptionerEnded(edits.root, by, f"{outcome.error} What was proposed is kept.", problem=True)
    words = f"{text.count(len(outcome.proposals), 'caption')} proposed by {order.named}."
    if outcome.cancelled:
        return CaptionerEnded(edits.root, by, f"Stopped. {words}")
    if outcome.failed:
        first = outcome.failed[0]
        words += f" {text.count(len(outcome.failed), 'image')} without: {first.message} {first.remedy}".rstrip()
    return CaptionerEnded(edits.root, by, words, problem=bool(outcome.failed))


def _files(row: Captioner, home: Path, say: Callable[[str], object], cancelled: Callable[[], bool]) -> Path | None:
    """The folder of the captioner's files, downloaded if they are not here; None for one without, or after a cancel."""
    from loratui.engine.captioning import fetching

    here = fetching.find(row, home) if row.repo else None
    if here is not None or not row.repo:
        return here
    say(f"{row.title}: asking the hub")

    def progress(now: Downloaded) -> None:
        say(f"{row.title}: {text.size(now.done_bytes)} of {text.size(now.total_bytes)} downloaded")

    return fetching.fetch(row, fetching.look_up(row), progress=progress, cancelled=cancelled)
