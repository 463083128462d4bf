"""Measures all figures of docs/reliability.md, one after another, and makes the page: python benchmarks/reliability.py [--short] [--workers 2]"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "results" / "reliability"
COMMANDS = {
    "kills": (("--kills", "5000"), ("--kills", "500")),
    "power_losses": (("--states", "100000"), ("--states", "10000")),
    "sigterms": (("--times", "100"), ("--times", "20", "--slow", "2")),
    "dropped_lines": (("--drops", "100"), ("--drops", "10")),
    "mutants": ((), ()),
}
"""Benchmark -> its options, in full and in short."""
ALONE = ("sigterms", "dropped_lines")
"""They measure times, so nothing runs beside them."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--workers", default="1")
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    failed = []
    for name, options in COMMANDS.items():
        workers = [] if name in ALONE else ["--workers", args.workers]
        out = ["--out", str(OUT / f"{name}.json")]
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options[args.short], *workers, *out], check=False)
        failed += [name] * bool(done.returncode)
    subprocess.run([sys.executable, str(HERE.parent / "docs" / "make_reliability.py")], check=True)
    print("failed:", ", ".join(failed) or "none")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
