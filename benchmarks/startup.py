"""How long a person waits: `loratui --help`, and the first screen of the app with an empty home and with some runs.

    python benchmarks/startup.py [REPETITIONS]

Goals: --help within 0.15 s, first painted screen within 0.5 s (two cores, quiet machine). The time of a Textual app
with nothing in it is printed beside them: it says how fast, or how busy, this machine is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fake_run import finished_run
from pty_terminal import Terminal

LORATUI = str(Path(sys.executable).parent / "loratui")
EMPTY_APP = "from textual.app import App\nfrom textual.widgets import Static\nA = type('A', (App,), {'compose': lambda s: [Static('ready')]})\nA().run()"


def help_s() -> tuple[float, int]:
    """Seconds of `loratui --help`."""
    began = time.monotonic()
    subprocess.run([LORATUI, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, 0


def screen_s(command: list[str], home: Path, mark: bytes) -> tuple[float, int]:
    """Seconds until `mark` is on the screen, and the bytes of the first two seconds."""
    with Terminal.start(command, environ={"LORATUI_HOME": os.fspath(home)}) as terminal:
        assert terminal.read_for(20, lambda: mark in terminal.sent), terminal.sent[-500:]
        painted = terminal.chunks[-1][0]
        terminal.read_for(2.0)
        return painted, len(terminal.sent)


def main() -> None:
    """Prints best and median of each."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Path(folder, "empty"), Path(folder, "full")
        empty.mkdir()
        name = [finished_run(full).name for _ in range(3)][-1]
        rows: list[tuple[str, Callable[[], tuple[float, int]], str]] = [
            ("loratui --help", help_s, "goal 0.15 s"),
            ("an empty Textual app", lambda: screen_s([sys.executable, "-c", EMPTY_APP], empty, b"ready"), "for comparison"),
            ("first screen, no runs", lambda: screen_s([LORATUI], empty, b"new run"), "goal 0.5 s"),
            ("first screen, three runs", lambda: screen_s([LORATUI], full, b"new run"), "goal 0.5 s"),
            ("the runs listed in it", lambda: screen_s([LORATUI], full, name.encode()), ""),
            ("first screen of attach", lambda: screen_s([LORATUI, "attach", name], full, b"loss, smoothed"), "goal 0.5 s"),
            ("the whole run shown in it", lambda: screen_s([LORATUI, "attach", name], full, b"900 of 900"), ""),
        ]
        for what, measure, goal in rows:
            results = [measure() for _ in range(times)]
            seconds = sorted(result[0] for result in results)
            sent = f", {results[-1][1] / 1000:.0f} kB sent" if results[-1][1] else ""
            print(f"{what:<26} best {seconds[0]:.3f} s, median {statistics.median(seconds):.3f} s  {goal}{sent}", flush=True)


if __name__ == "__main__":
    main()
