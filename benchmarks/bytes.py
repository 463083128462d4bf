"""What a watched training sends over the line, and what watching costs this machine.

    python benchmarks/bytes.py [SECONDS] [COLUMNSxROWS …]

A made-up trainer writes two optimizer steps a second (and ten) and a sample each 20 seconds.
Goals at 120×40: at most 8 KiB/s steady, 150 KB to the first screen, 2 % of one core, nothing at all while nothing happens.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fake_run import FakeTrainer, make_run
from pty_terminal import Terminal

LORATUI = str(Path(sys.executable).parent / "loratui")
SETTLE_S = 4.0


def watch(home: Path, seconds: float, columns: int, rows: int, steps_per_s: float, samples: bool) -> str:
    """One measurement, as a line."""
    run = make_run(home, "bytes")
    with FakeTrainer(run, step_s=1 / steps_per_s) as trainer:
        trainer.start()
        trainer.sample()
        trainer.steps(200)
        environ = {"LORATUI_HOME": str(home)}
        with Terminal.start([LORATUI, "attach", run.name], columns=columns, rows=rows, environ=environ) as terminal:
            began = time.monotonic()
            burst = used = 0.0
            settled = False
            next_sample = SETTLE_S + 5.0
            while (now := time.monotonic() - began) < SETTLE_S + seconds:
                if not settled and now >= SETTLE_S:
                    burst, used, settled = len(terminal.sent), terminal.cpu_s(), True
                if steps_per_s:
                    trainer.steps(1)
                if samples and now >= next_sample:
                    next_sample += 20.0
                    trainer.sample(index=trainer.step % 4)
                terminal.read_for(1 / steps_per_s - 0.002)
            sent, cpu = len(terminal.sent) - burst, terminal.cpu_s() - used
            memory = terminal.rss_mib()
    what = f"{columns}×{rows}, {steps_per_s:g} steps/s{', samples' if samples else ''}"
    return (
        f"{what:<34} first {burst / 1000:5.0f} kB, steady {sent / 1024 / seconds:5.2f} KiB/s, "
        f"processor {100 * cpu / seconds:4.1f} %, memory {memory:.0f} MiB"
    )


def idle(home: Path, seconds: float) -> str:
    """A list of runs that nothing happens to."""
    with Terminal.start([LORATUI], environ={"LORATUI_HOME": str(home)}) as terminal:
        terminal.read_for(SETTLE_S)
        began, sent, used = time.monotonic(), len(terminal.sent), terminal.cpu_s()
        terminal.read_for(seconds)
        took = time.monotonic() - began
        return f"{'idle list of runs':<34} {len(terminal.sent) - sent} bytes, processor {100 * (terminal.cpu_s() - used) / max(took, seconds):.1f} %"


def main() -> None:
    """Prints every measurement."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    sizes = [tuple(map(int, size.split("x"))) for size in sys.argv[2:]] or [(120, 40), (80, 24)]
    with tempfile.TemporaryDirectory() as folder:
        for columns, rows in sizes:
            for steps_per_s, samples in ((2.0, False), (2.0, True), (10.0, False)):
                print(watch(Path(folder), seconds, columns, rows, steps_per_s, samples), flush=True)
        print(idle(Path(folder), seconds), flush=True)


if __name__ == "__main__":
    main()
