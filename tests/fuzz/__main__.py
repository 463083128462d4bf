"""Fuzzing of the readers: `python -m tests.fuzz --runs 200000 --target header` from the root of the project.

Coverage-guided where atheris is installed (`pip install -e .[fuzz]`), else by mutations of the seeds. Inputs that a reader could
not deal with are written to a folder, one of each kind. The exit code is 1 if there were any.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("header", "json", "toml", "zip", "image", "events", "hub", "lora", "lists", "settings")
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Runs each target in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each target (default: %(default)s)")
    parser.add_argument("--target", choices=NAMES, action="append", help="a reader; again for more (default: all)")
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz-faults"), help="folder for inputs that failed (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="mutations alone, even where atheris is installed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        return one(args)
    command = [sys.executable, "-m", "tests.fuzz", "--here", f"--runs={args.runs}", f"--out={args.out}", f"--seed={args.seed}"]
    command += ["--plain"] if args.plain else []
    args.out.mkdir(parents=True, exist_ok=True)
    ended = []
    for name in args.target or NAMES:
        with (args.out / f"{name}.log").open("wb") as log:  # what the fuzzer and the decoders say
            ended.append(subprocess.run([*command, "--target", name], stderr=log, check=False).returncode)
    for name, code in zip(args.target or NAMES, ended, strict=True):
        if code not in (0, 1):
            print(f"{name}: the process died with {code}; see {args.out}/{name}.log and {last_input(args.out, name)}")
    return int(any(ended))


def last_input(out: Path, name: str) -> Path:
    """Where the input that is tried just now is kept, for decoders that end the process."""
    return out / f"{name}-last"


def one(args: argparse.Namespace) -> int:
    """Runs one target here."""
    sys.path.insert(0, str(HERE.parent / "support"))
    guided = importlib.util.find_spec("atheris") is not None and not args.plain
    args.out.mkdir(parents=True, exist_ok=True)
    if guided:
        import atheris

        with atheris.instrument_imports(include=["loratui", "fuzz_targets"]):
            import fuzz_targets
    else:
        import fuzz_targets
    name = args.target[0]
    work = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    session = Session(name, fuzz_targets, args, work)
    if not guided:
        return session.by_mutations()
    corpus = work / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(session.target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-max_len={session.target.most_bytes}",
        "-timeout=60",
        "-rss_limit_mb=4096",
        f"-seed={args.seed}",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *limits], session.guided)
    atheris.Fuzz()
    return 0


class Session:
    """Counts what was tried and keeps what failed."""

    def __init__(self, name: str, module: Any, args: argparse.Namespace, work: Path) -> None:
        self.name, self.module, self.args = name, module, args
        self.target = module.TARGETS[name]
        self.folder = work / "folder"
        self.folder.mkdir()
        self.count = 0
        self.faults: dict[str, int] = {}
        self.began = time.monotonic()
        self.begun_mib = module.memory_mib()
        self.last = last_input(args.out, name)

    def tried(self, data: bytes) -> None:
        """One input."""
        self.count += 1
        if self.name in ("image", "zip"):
            self.last.write_bytes(data)
        fault = self.module.tried(self.target, data, self.folder)
        peak = self.module.memory_mib() - self.begun_mib
        if fault is None and peak > self.module.MOST_MIB:
            fault = self.module.Fault("memory", data)
            self.begun_mib += peak
        if fault is not None:
            self.faults[fault.kind] = self.faults.get(fault.kind, 0) + 1
            if self.faults[fault.kind] == 1:
                digest = hashlib.sha256(data).hexdigest()[:8]
                (self.args.out / f"{self.name}-{fault.kind}-{digest}"[:200]).write_bytes(data)
                print(f"{self.name}: {fault.kind}: {data[:80]!r}", flush=True)

    def guided(self, data: bytes) -> None:
        """As atheris calls it; the process ends when enough was tried."""
        self.tried(data)
        if self.count >= self.args.runs:
            code = self.told("coverage-guided")
            sys.stdout.flush()
            os._exit(code)

    def by_mutations(self) -> int:
        """Mutations of the seeds by a fixed source."""
        source, pool = random.Random(self.args.seed), self.target.seeds()
        for seed in pool:
            self.tried(seed)
        while self.count < self.args.runs:
            self.tried(self.module.mutated(source.choice(pool), source, pool))
        return self.told("by mutations")

    def told(self, how: str) -> int:
        """Prints the figures and returns the exit code."""
        self.last.unlink(missing_ok=True)
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        took = time.monotonic() - self.began
        kinds = f" of {len(self.faults)} kinds" if self.faults else ""
        peak = self.module.memory_mib()
        print(
            f"{self.name}: {self.count} inputs {how}, {sum(self.faults.values())} faults{kinds}, {took:.0f} s, "
            f"{self.count / max(took, 1e-9):.0f} a second, at most {peak:.0f} MiB",
            flush=True,
        )
        return int(bool(self.faults))


if __name__ == "__main__":
    sys.exit(main())
