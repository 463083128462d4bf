"""How long a person waits: `loratui --help`, and the first screen of the app with an empty home and with some runs.

    python benchmarks/startup.py [REPETITIONS]

Goals: --help within 0.15 s, first painted screen within 0.5 s (two cores, quiet machine).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fake_run import finished_run
from pty_terminal import Terminal

LORATUI = str(Path(sys.executable).parent / "loratui")


def help_s() -> float:
    """Seconds of `loratui --help`."""
    began = time.monotonic()
    subprocess.run([LORATUI, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def first_screen_s(home: Path, mark: bytes, *arguments: str) -> tuple[float, int]:
    """Seconds until `mark` is on the screen, and the bytes sent by then."""
    terminal = Terminal.start([LORATUI, *arguments], environ={"LORATUI_HOME": os.fspath(home)})
    try:
        got = terminal.read_for(10, until=mark)
        assert mark in got, got[-500:]
        painted = terminal.chunks[-1][0]
        terminal.read_for(1.0)
        return painted, sum(len(part) for _, part in terminal.chunks)
    finally:
        terminal.close()


def main() -> None:
    """Prints best and median."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Path(folder, "empty"), Path(folder, "full")
        empty.mkdir()
        name = ""
        for _ in range(3):
            name = finished_run(full).name
        rows = [
            ("loratui --help", [(help_s(), 0) for _ in range(times)], 0.15),
            ("first screen, no runs", [first_screen_s(empty, b"No runs yet") for _ in range(times)], 0.5),
            ("first screen, three runs", [first_screen_s(full, name.encode()) for _ in range(times)], 0.5),
            ("loratui attach", [first_screen_s(full, b"loss, smoothed", "attach", name) for _ in range(times)], 0.5),
        ]
    for what, results, goal in rows:
        seconds = [s for s, _ in results]
        best, median = min(seconds), statistics.median(seconds)
        sent = f", {results[-1][1] / 1000:.0f} kB sent" if results[-1][1] else ""
        print(f"{what:<26} best {best:.3f} s, median {median:.3f} s (goal {goal} s){sent}")


if __name__ == "__main__":
    main()
