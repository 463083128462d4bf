"""Work in a process of its own: the table of all jobs, and how one is started, asked, cancelled and believed.

Both sides write JSON, one object a line: `{"type": …, "is": …}`. To the job go `begin` with its options, `ask` with a request, and `cancel`;
the end of its input says that nobody waits any more. From the job come `ready`, then for each request any number of `progress` and one
`done` or `failed`. A `done` that names a number of `bytes` is followed by so many, on the same pipe: the pixels of an image that
fills a screen took 118 ms as base64 in JSON, and 6 ms so. The other side is `job_child`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from loratui.engine import children, words
from loratui.engine.cleaning import clean
from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.job_child import Content
from loratui.engine.limits import IMAGE_ANSWER_S, LIST_FILE_BYTES, SMALL_FILE_BYTES
from loratui.engine.untrusted import Unreadable, parse_json

Needs = Literal["", "torch", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the table."""

    module: str
    """Where its `begin(parent, **options)` is; see `job_child`. Of a supervised job: what is run."""
    title: str
    """What its process is called when it fails."""
    needs: Needs = ""
    supervised: bool = False
    """Whether it is carried out by the supervisor of a run and reports into the run's event log, not to whoever started it."""
    begin_s: float = 60.0
    """Seconds until it must be ready; a cold Python on a network volume takes several."""
    answer_s: float | None = None
    """Seconds of silence after which no answer is waited for any more; None: as long as it takes."""
    line_bytes: int = SMALL_FILE_BYTES
    """The longest line that is read."""
    content_bytes: int = 0
    """The most bytes that may follow an answer."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Added to what it inherits."""


_TRAINS: dict[str, Any] = {"module": "loratui.engine.training.__main__", "title": "The trainer", "needs": "gpu"}
_NO_TALK = dict.fromkeys(("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK"), "1")

JOBS: dict[str, Job] = {
    "measure": Job(module="loratui.engine.dataset.worker", title="The process that measures images", answer_s=IMAGE_ANSWER_S),
    "display": Job(
        module="loratui.engine.dataset.display_worker",
        title="The process that reads images",
        answer_s=IMAGE_ANSWER_S,
        content_bytes=1 << 27,
    ),
    "masks": Job(
        module="loratui.engine.captioning.mask_worker",
        title="The process that makes masks",
        begin_s=240.0,
        answer_s=2 * IMAGE_ANSWER_S,
        content_bytes=1 << 20,
    ),
    "hub": Job(
        module="loratui.engine.machine.hub_worker",
        title="The hub's process",
        answer_s=240.0,  # a few tries to ask, of 20 s with answers that may take 60, or a patience of 60
        line_bytes=LIST_FILE_BYTES,
        environ=_NO_TALK,
    ),
    "torch": Job(
        module="loratui.engine.training.torch_facts", title="The process that loads torch", needs="torch", answer_s=120.0
    ),
    "export": Job(module="loratui.engine.training.export", title="The exporter", needs="torch"),
    "preview": Job(
        module="loratui.engine.handover.preview", title="The process that makes an image small", answer_s=IMAGE_ANSWER_S
    ),
    "report": Job(module="loratui.engine.handover.report", title="The process that writes the report"),
    "compile": Job(module="loratui.engine.training.compile_ahead", title="The process that compiles", needs="gpu"),
    "samples": Job(
        module="loratui.engine.training.live.worker",
        title="The process that measures samples",
        begin_s=600.0,  # it takes only what the training leaves of the CPUs
        answer_s=600.0,
        environ={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    ),
    "caption": Job(
        module="loratui.engine.captioning.worker",
        title="The captioner",
        begin_s=900.0,  # 17 GB of weights from a network volume
        answer_s=1800.0,  # a batch of a large model on a CPU
        line_bytes=LIST_FILE_BYTES,
        environ={"HF_HUB_OFFLINE": "1", "PYTHONFAULTHANDLER": "1", **_NO_TALK},
    ),
    "probe": Job(**_TRAINS),
    "base": Job(**_TRAINS),
    "train": Job(**_TRAINS, supervised=True),
    "validate": Job(**_TRAINS, supervised=True),
}

SUPERVISED = tuple(name for name, job in JOBS.items() if job.supervised)

_LEAVES_S = 5.0
"""How long a job that was asked to end may take before it is killed."""
_LOOK_EVERY_S = 0.1
_PIPE_BYTES = 1 << 16
_STORY_BYTES = 1 << 14
"""Kept of what a job and its libraries print."""


_DEATHS: dict[int, str] = {
    signal.SIGKILL: "was killed by signal 9, most often for lack of main memory",
    signal.SIGXCPU: "used up its processor time",
}


class Surroundings(TypedDict, total=False):
    """What a job finds around it, where that is not what this process has."""

    environ: Mapping[str, str] | None
    """In place of this process's environment; it gets no more of it than `children.environment` lets through."""
    compiled: Path
    """The folder for what torch compiles."""
    cwd: Path
    pass_fds: Sequence[int]


class JobFailed(LoratuiError):
    """What a job says of its failure; `code` is its stable name of the reason, if it has one."""

    def __init__(self, message: str, remedy: str, exit_code: ExitCode, code: str = "") -> None:
        super().__init__(message, remedy, exit_code=exit_code)
        self.code = code


class JobDied(LoratuiError):
    """A job ended without an answer, or was ended since there was none in time."""

    exit_code = ExitCode.CRASHED

    def __init__(self, title: str, why: str, remedy: str = "", *, number: int = 0, late_s: float = 0.0) -> None:
        super().__init__(f"{title} {why}.", remedy)
        self.why = why
        """The message without its subject."""
        self.signal = number
        """What ended it; 0 if it ended by itself."""
        self.late_s = late_s
        """The time that it had; 0 if it had not run out."""
        if number == signal.SIGKILL:
            self.exit_code = ExitCode.OUT_OF_MEMORY


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


def run(
    name: str,
    request: Any,
    *,
    progress: Callable[[Any], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    **surroundings: Unpack[Surroundings],
) -> Any:
    """Has a job answer one request; None if it was cancelled.

    `progress` is given what it tells on the way, in this thread; `cancelled` is asked ten times a second, and more. Raises `JobFailed`
    with what it says, and `JobDied`.
    """
    process = Process(name, cancelled=cancelled, **surroundings)
    try:
        process.begin()
        process.ask(request)
        return process.answer(progress).value
    except Cancelled:
        process.cancel()
        return None
    finally:
        process.end()


class Process:
    """The process of a job: begun, asked as often as is wanted, ended, and begun again if wanted. One thread at a time may use it."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        **surroundings: Unpack[Surroundings],
    ) -> None:
        self._name, self._options, self._cancelled, self._surroundings = name, dict(options or {}), cancelled, surroundings
        self._process: subprocess.Popen[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._heard, self._story = bytearray(), bytearray()
        self._searched = 0
        """Bytes of `_heard` in which no line ends."""
        self._limit_s: float | None = None
        self._since = 0.0
        """Since when nothing was told, and how long that may be."""

    @property
    def job(self) -> Job:
        """Its row of the table."""
        return JOBS[self._name]

    @property
    def runs(self) -> bool:
        """Whether it was begun, and not ended since."""
        return self._process is not None

    def begin(self) -> None:
        """Starts it and waits until it is ready. Raises `JobFailed`, `JobDied` or `Cancelled`; it has ended then."""
        job, around = self.job, self._surroundings
        more = {**job.environ, **({"PYTHONFAULTHANDLER": "1"} if job.needs else {})}
        try:
            process = children.start(
                children.command("loratui.engine.job_child", job.module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=children.environment(around.get("environ"), compiled=around.get("compiled"), **more),
                cwd=around.get("cwd"),
                pass_fds=around.get("pass_fds", ()),
            )
        except OSError as error:
            raise JobDied(
                job.title, f"cannot be started: {error.strerror}", "Check that Python and loratui are intact."
            ) from error
        self._process, self._selector = process, selectors.DefaultSelector()
        for pipe, taken in ((process.stdout, self._hear), (process.stderr, self._overhear)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, taken)
        try:
            self._say("begin", self._options)
            self._until("ready", job.begin_s)
        except BaseException:
            self.end()
            raise

    def ask(self, request: Any) -> None:
        """Sends a request. One that died meanwhile is told of by the answer that does not come."""
        self._say("ask", request)

    def answer(self, progress: Callable[[Any], None] = lambda _: None) -> Content:
        """The answer to the oldest request that has none. Raises `JobFailed`, `JobDied` or `Cancelled`."""
        return self._until("done", self.job.answer_s, progress)

    def cancel(self) -> None:
        """Asks it to end, and waits for that a while. `end` comes next."""
        self._cancelled = lambda: False
        self._say("cancel", None)
        with contextlib.suppress(JobDied, JobFailed):
            self._until("", _LEAVES_S)

    def end(self) -> None:
        """Ends it at once: what it has to say is said, and what it has to keep is on the disk. It can be begun again."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        self._selector.close()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what it did not take
                pipe.close()
        self._heard.clear()
        self._story.clear()
        self._searched = 0

    def _until(self, wanted: str, limit_s: float | None, progress: Callable[[Any], None] = lambda _: None) -> Content:
        """The first message of a type, and what follows it."""
        self._limit_s, self._since = limit_s, time.monotonic()
        while True:
            message = self._message()
            match message["type"]:
                case "progress":
                    self._since = time.monotonic()
                    progress(message["is"])
                case "failed":
                    raise _failure(message["is"])
                case kind if kind == wanted:
                    return Content(message["is"], self._content(message.get("bytes", 0)))

    def _message(self) -> dict[str, Any]:
        while (at := self._heard.find(b"\n", self._searched)) < 0:
            self._searched = len(self._heard)
            if self._searched > self.job.line_bytes:
                raise JobDied(self.job.title, f"sends a line longer than {words.count(self.job.line_bytes, 'byte')}")
            self._move()
        line = bytes(self._heard[:at])
        del self._heard[: at + 1]
        self._searched = 0
        try:
            message = parse_json(line)
        except Unreadable as error:
            raise JobDied(self.job.title, f"gave an answer that {error}") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str) or "is" not in message:
            raise JobDied(self.job.title, "gave an answer that is none")
        return message

    def _content(self, count: object) -> bytes:
        if not isinstance(count, int) or not 0 <= count <= self.job.content_bytes:
            raise JobDied(self.job.title, f"announces an answer larger than {words.count(self.job.content_bytes, 'byte')}")
        while len(self._heard) < count:
            self._move()
        content = bytes(self._heard[:count])
        del self._heard[:count]
        return content

    def _move(self) -> None:
        """Takes what comes within a tenth of a second."""
        if self._cancelled():
            raise Cancelled
        if self._limit_s is not None and time.monotonic() - self._since > self._limit_s:
            raise JobDied(self.job.title, f"said nothing for {self._limit_s:.0f} s", late_s=self._limit_s)
        for key, _ in self._selector.select(_LOOK_EVERY_S):
            key.data()

    def _say(self, type: str, value: Any) -> None:
        """One line for it, which a thread of its own reads there whatever it is busy with."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the end of its output says why
            self._process.stdin.write(json.dumps({"type": type, "is": value}).encode("ascii") + b"\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        part = os.read(self._process.stdout.fileno(), _PIPE_BYTES)
        if not part:
            raise self._death()
        self._heard += part

    def _overhear(self) -> None:
        """Keeps the end of what it and its libraries print."""
        assert self._process is not None
        assert self._process.stderr is not None
        part = os.read(self._process.stderr.fileno(), _PIPE_BYTES)
        if not part:
            self._selector.unregister(self._process.stderr)
        self._story += part
        del self._story[:-_STORY_BYTES]

    def _death(self) -> JobDied:
        """Why its output ended."""
        assert self._process is not None
        title = self.job.title
        try:
            code = self._process.wait(_LEAVES_S)
        except subprocess.TimeoutExpired:
            return JobDied(title, "no longer speaks")
        with contextlib.suppress(OSError, KeyError):  # nothing more of it is there
            while self._process.stderr in self._selector.get_map():
                self._overhear()
        if code < 0:
            remedy = "Use a machine or container with more RAM, or a smaller base." if -code == signal.SIGKILL else ""
            return JobDied(title, _DEATHS.get(-code, f"crashed (signal {-code})"), remedy, number=-code)
        last = self._story.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return JobDied(title, f"ended without an answer ({code}){f': {clean(last, 400)}' if last else ''}")


def _failure(told: object) -> JobFailed:
    table = told if isinstance(told, dict) else {}
    message, remedy, code = (str(table.get(name) or "") for name in ("message", "remedy", "code"))
    number = table.get("exit_code")
    exit_code = ExitCode(number) if isinstance(number, int) and number in set(ExitCode) else ExitCode.CRASHED
    return JobFailed(message, remedy, exit_code, code)
