"""The first process of a PID namespace: `in_a_container.py RUN HOW`. It starts a run, and then ends at SIGTERM (`bare`), or follows the run
as a command does (`follows`)."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
from loratui.tui.plain.follow import follow_to_the_end

if __name__ == "__main__":
    assert os.getpid() == 1
    run = RunDirectory(Path(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    launch(run)
    if sys.argv[2] == "follows":
        ended = follow_to_the_end(run, "train", sys.stdout)
        sys.exit(ended.exit_code if ended else 1)
    while True:
        time.sleep(60)
