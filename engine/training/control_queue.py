"""Signals and commands for a running trainer, and when they are served."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from loratui.engine.errors import ExitCode
from loratui.engine.runs.control import Command, Inbox

PATIENCE_S = 1.0
"""After SIGTERM, what may be cut off is, unless it ends by itself within this time: RunPod kills after 5 s."""
_AGAIN_S = 0.2


class Interrupted(BaseException):
    """The job was asked to end here; no `except Exception` may catch it."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(exit_code.name)
        self.exit_code = exit_code


class ControlQueue:
    """SIGTERM and the control folder, as flags that the trainer reads where it can act."""

    def __init__(self) -> None:
        self._terminate = False
        self._at_once = False
        self._may_cut: Callable[[], bool] | None = None
        """Whether what is done now may be cut off at this moment; None: it may not."""
        self._struck = False
        """Whether SIGTERM has raised `Interrupted`."""
        self._complete = False
        self._inbox: Inbox | None = None
        self._ending: Command | None = None
        self._asked: list[Command] = []

    def install(self) -> None:
        """Handles SIGTERM and ignores SIGHUP and SIGINT, which a terminal sends to its processes."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow(self, *, started_here: bool) -> None:
        """For a process that ends when the writer says so: the process that started it ends it by SIGTERM, where torchrun
        passes on the SIGTERM that the writer acts on."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL if started_here else signal.SIG_IGN)

    def open(self, inbox: Inbox) -> None:
        """From now on, commands are read too."""
        self._inbox = inbox

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block nothing is worth saving: SIGTERM raises `Interrupted` at once. Elsewhere it only sets a flag."""
        self._at_once = True
        try:
            self.stop_if_asked()
            yield
        except Exception as error:
            # Libraries turn what strikes within them into errors of their own, such as a file that cannot be read.
            if self._struck:
                raise Interrupted(ExitCode.TERMINATED) from error
            raise
        finally:
            self._at_once = False

    @contextmanager
    def cut_off(self, may: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Within the block nothing is worth saving, and what came before is: SIGTERM raises `Interrupted` where the block does not end
        within a second, as soon as `may` allows. A usual step ends, and a compilation does not delay the checkpoint."""
        self._may_cut = may
        if self._terminate:
            self._wake_in(PATIENCE_S)
        try:
            yield
        finally:
            self._may_cut = None
            if self._terminate:  # no signal comes outside of the block, nor while the process ends
                self._wake_in(0.0)

    @staticmethod
    def _wake_in(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def poll(self) -> None:
        if self._inbox is None:
            return
        for command in self._inbox.poll():
            if command.command in ("pause", "stop"):
                if self._ending is not None:
                    self._inbox.acknowledge(self._ending, True, "asked again")
                self._ending = command
            else:
                self._asked.append(command)

    def ends(self) -> bool:
        """Whether the run is to end; for whoever waits, in any thread. Commands are read by the main thread alone."""
        if threading.current_thread() is threading.main_thread():
            self.poll()
        return self.ending is not None

    @property
    def ending(self) -> ExitCode | None:
        """The exit code of the requested end; None without one."""
        if self._terminate:
            return ExitCode.TERMINATED
        if self._ending is not None:
            return ExitCode.PAUSED if self._ending.command == "pause" else ExitCode.TERMINATED
        return None

    def stop_if_asked(self) -> None:
        """Raises `Interrupted` if an end was requested; for work that can be discarded, such as a half-made sample."""
        self.poll()
        if self.ending is not None:
            raise Interrupted(self.ending)

    def end_here(self) -> None:
        """Ends the run as if it were stopped now: the epoch after which it was to stop is complete."""
        self._terminate = self._complete = True

    @property
    def stopped_as_wished(self) -> bool:
        """Whether a person ends the run: by `stop`, or after the epoch that they chose. A pause or a SIGTERM (a box that
        shuts down) only interrupts it."""
        return self._complete or (self._ending is not None and self._ending.command == "stop")

    def next(self) -> Command | None:
        """The oldest command that does not end the run. It stays the next until `done`, so none is lost."""
        self.poll()
        return self._asked[0] if self._asked else None

    def done(self, command: Command, ok: bool, message: str) -> None:
        """Reports the result of a command from `next`."""
        self._asked.remove(command)
        if self._inbox is not None:
            self._inbox.acknowledge(command, ok, message)

    def acknowledge_ending(self, message: str) -> None:
        """Reports that the run ends and everything is saved; refuses other commands."""
        self.poll()
        if self._inbox is not None and self._ending is not None:
            self._inbox.acknowledge(self._ending, True, message)
        self._ending = None
        for command in list(self._asked):
            self.done(command, False, "The run is ending.")

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._terminate:
            return  # a second signal: the first one's saving goes on
        self._terminate = True
        if self._at_once:
            self._struck = True
            raise Interrupted(ExitCode.TERMINATED)
        if self._may_cut is not None:
            self._wake_in(PATIENCE_S)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._may_cut is None:
            return
        if self._may_cut():
            raise Interrupted(ExitCode.TERMINATED)
        self._wake_in(_AGAIN_S)
