"""The deep pass: every picture decoded and measured once, in worker processes, with progress and cancel.

A worker is a process of its own so that numpy and hostile files stay out of the app: a decoder that crashes, hangs or
asks for too much memory costs one picture, which is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

from loratui.engine.dataset.facts import PictureFacts
from loratui.engine.dataset.scan import DatasetScan, ImageEntry, without

MOST_WORKERS = 8
SECONDS_A_PICTURE = 60.0
"""A picture that takes longer is given up."""

LARGE_PIXELS = 12_000_000
"""Larger pictures of formats that must be decoded whole are taken one at a time, for the memory that they need."""


@dataclass(frozen=True)
class DeepPass:
    """What the deep pass found, by relative path."""

    facts: Mapping[str, PictureFacts]
    damaged: Mapping[str, str]
    """Pictures that cannot be decoded -> why, continuing the name to a sentence."""
    unchecked: tuple[str, ...]
    """Pictures that a cancelled pass did not come to."""

    def applied_to(self, scan: DatasetScan) -> DatasetScan:
        """`scan` with the damaged pictures left out."""
        return without(scan, dict(self.damaged))


def measure_all(
    images: Iterable[ImageEntry],
    resolution: int,
    *,
    workers: int | None = None,
    detector: str = "",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    found: Callable[[str, PictureFacts | str], None] | None = None,
) -> DeepPass:
    """Measures pictures at a training `resolution` (side of a square, px).

    `progress(done, total)` is called in this thread, at most ten times a second and at the end; `cancelled()` is asked as
    often. `found(relative, facts)` is called for each picture as it comes, with the reason in place of facts if it is
    damaged. `detector` names a face detector as `module:factory`.
    """
    images = list(images)
    pending: queue.SimpleQueue[ImageEntry] = queue.SimpleQueue()
    for image in images:
        pending.put(image)
    answers: queue.SimpleQueue[tuple[str, PictureFacts | str]] = queue.SimpleQueue()
    stop = threading.Event()
    one_at_a_time = threading.Lock()
    count = max(1, min(workers or usable_cores(), MOST_WORKERS, len(images)))
    threads = [
        threading.Thread(target=_serve, args=(pending, answers, stop, one_at_a_time, resolution, detector), daemon=True)
        for _ in range(count if images else 0)
    ]
    for thread in threads:
        thread.start()
    facts: dict[str, PictureFacts] = {}
    damaged: dict[str, str] = {}
    told = 0.0
    try:
        while any(thread.is_alive() for thread in threads) or not answers.empty():
            try:
                relative, answer = answers.get(timeout=0.1)
            except queue.Empty:
                relative, answer = "", ""
            if isinstance(answer, PictureFacts):
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
    return DeepPass(facts, damaged, unchecked)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(
    pending: queue.SimpleQueue[ImageEntry],
    answers: queue.SimpleQueue[tuple[str, PictureFacts | str]],
    stop: threading.Event,
    one_at_a_time: threading.Lock,
    resolution: int,
    detector: str,
) -> None:
    """Feeds one worker process until nothing is pending; the body of a thread."""
    with _Worker(resolution, detector, stop) as worker:
        while not stop.is_set():
            try:
                image = pending.get_nowait()
            except queue.Empty:
                return
            if image.format != "JPEG" and image.width * image.height > LARGE_PIXELS:
                with one_at_a_time:
                    answer = worker.measure(image)
            else:
                answer = worker.measure(image)
            if answer is not None:
                answers.put((image.relative, answer))


class _Worker:
    """One worker process, started anew when it died."""

    def __init__(self, resolution: int, detector: str, stop: threading.Event) -> None:
        self._command = [sys.executable, "-P", "-m", "loratui.engine.dataset.worker", f"--resolution={resolution}"]
        if detector:
            self._command.append(f"--detector={detector}")
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None
        self._proven = False
        """Whether a worker ever answered, so that a death is the picture's fault."""

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def measure(self, image: ImageEntry) -> PictureFacts | str | None:
        """The facts, or why there are none; None if the pass was cancelled meanwhile."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(str(image.path)).encode("ascii") + b"\n")
            process.stdin.flush()
            line = self._answer(process)
        except BrokenPipeError:
            line = b""
        if line is None:
            self._end()
            return None if self._stop.is_set() else f"takes more than {SECONDS_A_PICTURE:.0f} s to decode"
        if not line.endswith(b"\n"):
            self._end()
            return "makes its decoder crash" if self._proven else "could not be checked: the worker does not start"
        self._proven = True
        answer = json.loads(line)
        return PictureFacts.from_json(answer["facts"]) if "facts" in answer else str(answer["error"])

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """One line; b"" or a part of a line if the worker died, None if it took too long or the pass was cancelled."""
        assert process.stdout is not None
        end = time.monotonic() + SECONDS_A_PICTURE
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            # A worker writes its answer at once, so that a line follows as soon as anything does.
            while not selector.select(timeout=0.1):
                if self._stop.is_set() or time.monotonic() > end:
                    return None
        return process.stdout.readline()

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()  # it holds nothing that could be lost
        process.wait()
        with contextlib.suppress(BrokenPipeError):  # what it did not read any more
            process.stdin.close()
        process.stdout.close()
