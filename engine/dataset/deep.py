"""The deep pass: every image decoded and measured once, in worker processes, with progress and cancel.

A worker is a process of its own so that numpy and hostile files stay out of the app: a decoder that crashes, hangs or
asks for too much memory costs one image, which is named.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.dataset.worker_limits import why_no_answer
from loratui.engine.jobs import Cancelled, JobDied, JobFailed, Process

MOST_WORKERS = 8

LARGE_PIXELS = 12_000_000
"""Larger images of formats that must be decoded whole all go to one worker, for the memory that they need."""
LARGE_JPEG_PIXELS = 36_000_000
"""The same for JPEG, which is decoded at a fraction of its size, but of which a decoder may keep the whole."""

_AHEAD = 4
"""Requests that a worker is sent before it has answered, so that it never waits."""


@dataclass(frozen=True)
class DeepPass:
    """What the deep pass found, by relative path."""

    facts: Mapping[str, ImageFacts]
    damaged: Mapping[str, str]
    """Images that cannot be decoded -> why, continuing the name to a sentence."""
    unchecked: tuple[str, ...]
    """Images that a cancelled pass did not come to."""
    failure: str = ""
    """Why no worker could begin, so that images are unchecked."""


def measure_all(
    images: Iterable[ImageEntry],
    resolution: int,
    *,
    workers: int | None = None,
    detector: str = "",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    found: Callable[[str, ImageFacts | str], None] | None = None,
) -> DeepPass:
    """Measures images at a training `resolution` (side of a square, px).

    `progress(done, total)` is called in this thread, at most ten times a second and at the end; `cancelled()` is asked as
    often. `found(relative, facts)` is called for each image as it comes, with the reason in place of facts if it is
    damaged. `detector` names a face detector as `module:factory`.
    """
    images = list(images)
    small: queue.SimpleQueue[ImageEntry] = queue.SimpleQueue()
    large: queue.SimpleQueue[ImageEntry] = queue.SimpleQueue()
    for image in images:
        (large if _is_large(image) else small).put(image)
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    stop = threading.Event()
    count = max(1, min(workers or usable_cores(), MOST_WORKERS, len(images)))
    options = {"resolution": resolution, "detector": detector}
    hands = [_Hand(options, (large, small) if not at else (small,), answers, stop) for at in range(count if images else 0)]
    threads = [threading.Thread(target=hand.serve, daemon=True) for hand in hands]
    for thread in threads:
        thread.start()
    facts: dict[str, ImageFacts] = {}
    damaged: dict[str, str] = {}
    told = 0.0
    try:
        while any(thread.is_alive() for thread in threads) or not answers.empty():
            try:
                relative, answer = answers.get(timeout=0.1)
            except queue.Empty:
                relative, answer = "", ""
            if isinstance(answer, ImageFacts):
                facts[relative] = answer
            elif relative:
                damaged[relative] = answer
            if relative and found:
                found(relative, answer)
            if time.monotonic() - told >= 0.1:
                told = time.monotonic()
                if progress:
                    progress(len(facts) + len(damaged), len(images))
                if cancelled and cancelled():
                    stop.set()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if progress:
        progress(len(facts) + len(damaged), len(images))
    unchecked = tuple(i.relative for i in images if i.relative not in facts and i.relative not in damaged)
    return DeepPass(facts, damaged, unchecked, next((hand.failure for hand in hands if hand.failure), "") if unchecked else "")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_Answer = tuple[str, ImageFacts | str]
"""Relative path, and the facts or why there are none."""


def _request(image: ImageEntry) -> dict[str, Any]:
    return {"path": str(image.path), "masks": {mask.kind: str(mask.path) for mask in image.masks if not mask.problem}}


def _is_large(image: ImageEntry) -> bool:
    return image.width * image.height > (LARGE_JPEG_PIXELS if image.format == "JPEG" else LARGE_PIXELS)


class _Hand:
    """One worker process, and the thread that feeds it and starts it anew when it died."""

    def __init__(
        self,
        options: Mapping[str, Any],
        sources: tuple[queue.SimpleQueue[ImageEntry], ...],
        answers: queue.SimpleQueue[_Answer],
        stop: threading.Event,
    ) -> None:
        self._sources, self._answers, self._stop = sources, answers, stop
        self._process = Process("measure", options, cancelled=stop.is_set)
        self.failure = ""
        """Why no process could begin; empty if one could."""
        self._sent: deque[ImageEntry] = deque()
        """Images that were asked for and not answered yet, in that order."""

    def serve(self) -> None:
        """Has images measured until there are none, or until it is to stop; the body of the thread."""
        try:
            while not self._stop.is_set() and not self.failure and self._next():
                pass
        finally:
            self._process.end()

    def _next(self) -> bool:
        """Sends what may be sent, and takes one answer; False if nothing is left to be answered."""
        while len(self._sent) < _AHEAD and (image := self._pending()) is not None:
            self._sent.append(image)
            if self._process.runs:
                self._process.ask(_request(image))
        if not self._sent:
            return False
        if not self._process.runs:
            self._begin()
            return True
        try:
            answer: ImageFacts | str = ImageFacts.from_json(self._process.answer().value)
        except Cancelled:
            return False
        except JobFailed as error:
            answer = error.message
        except JobDied as error:
            # Answers come in the order of the requests, so that the first without one is to blame.
            answer = why_no_answer(error)
            self._process.end()
        self._answers.put((self._sent.popleft().relative, answer))
        return True

    def _pending(self) -> ImageEntry | None:
        for source in self._sources:
            with suppress(queue.Empty):
                return source.get_nowait()
        return None

    def _begin(self) -> None:
        """Starts a process, and sends it what its forerunner did not answer."""
        try:
            self._process.begin()
            for image in self._sent:
                self._process.ask(_request(image))
        except (Cancelled, JobDied) as error:
            self.failure = error.why if isinstance(error, JobDied) else ""
            while self._sent:  # another process may be luckier
                self._sources[-1].put(self._sent.popleft())
