"""How long a person waits: `loratui --help`, and the first screen of the app with an empty home and with some runs.

    python benchmarks/startup.py [REPETITIONS]

Goals: --help within 0.15 s, first painted screen within 0.5 s (two cores, quiet machine). The time of a Textual app
with nothing in it is printed beside them: it says how fast, or how busy, this machine is. The processor time up to then
is printed too, since it hardly depends on who else is at work. Everything runs from compiled bytecode, as after pip install.
"""

from __future__ import annotations

import os
import resource
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


def help_s() -> tuple[float, float, int]:
    """Seconds of `loratui --help`, by the clock and of the processor."""
    began, used = time.monotonic(), _children_s()
    subprocess.run([LORATUI, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, _children_s() - used, 0


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def screen_s(command: list[str], home: Path, mark: str) -> tuple[float, float, int]:
    """Seconds until `mark` is on the screen, those of the processor, and the bytes up to two seconds later."""
    used: list[float] = []
    with Terminal.start(command, environ={"LORATUI_HOME": os.fspath(home)}) as terminal:

        def note() -> bool:
            used.extend([terminal.cpu_s()] * (len(terminal.chunks) - len(used)))
            return False

        shown = None
        while shown is None:
            terminal.read_for(4.0, note)
            shown = terminal.chunk_that_shows(mark)
            assert shown is not None or time.monotonic() - terminal.started < 20, terminal.sent[-500:]
        painted = terminal.chunks[shown][0]
        return painted, used[shown], sum(len(part) for at, part in terminal.chunks if at < painted + 2.0)


def main() -> None:
    """Prints best and median of each."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Path(folder, "empty"), Path(folder, "full")
        empty.mkdir()
        name = [finished_run(full).name for _ in range(3)][-1]
        rows: list[tuple[str, Callable[[], tuple[float, float, int]], str]] = [
            ("loratui --help", help_s, "goal 0.15 s"),
            ("an empty Textual app", lambda: screen_s([sys.executable, "-c", EMPTY_APP], empty, "ready"), "for comparison"),
            ("first screen, no runs", lambda: screen_s([LORATUI], empty, "new run"), "goal 0.5 s"),
            ("first screen, three runs", lambda: screen_s([LORATUI], full, "new run"), "goal 0.5 s"),
            ("the runs listed in it", lambda: screen_s([LORATUI], full, name), ""),
            ("first screen of attach", lambda: screen_s([LORATUI, "attach", name], full, "loss, smoothed"), "goal 0.5 s"),
            ("the whole run shown in it", lambda: screen_s([LORATUI, "attach", name], full, "900 of 900"), ""),
        ]
        for what, measure, goal in rows:
            results = [measure() for _ in range(times + 1)][1:]  # the first one compiles
            seconds = sorted(result[0] for result in results)
            used = min(result[1] for result in results)
            sent = f", {results[-1][2] / 1000:.0f} kB sent" if results[-1][2] else ""
            waited = f"best {seconds[0]:.3f} s, median {statistics.median(seconds):.3f} s, processor {used:.2f} s"
            print(f"{what:<26} {waited}  {goal}{sent}", flush=True)


if __name__ == "__main__":
    main()
