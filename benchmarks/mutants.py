"""Puts faults into the code of checkpoints, locks and verdicts, one at a time, and looks whether the tests notice.

    python benchmarks/mutants.py [--workers 2] [--only WORDS] [--out FILE.json]

`tests/faults/mutants.toml` lists them: the file, what is replaced by what, and the tests that must fail. Each is tried in a copy of the sources, by
pytest in a fork of a process that has loaded the libraries. Before that, the named tests must pass in the copy as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import diffusers  # noqa: F401 - loaded once for all
import peft  # noqa: F401 - the same
import pytest
from fork_trainers import in_workers, ready, wait
from machine_facts import ROOT, command, facts

LIST = ROOT / "tests" / "faults" / "mutants.toml"
COPIED = ("engine", "tui", "presets", "tests", "benchmarks", "pyproject.toml", ".namespace")

Mutant = dict[str, str]


def tried(copy: Path, mutants: Sequence[Mutant]) -> list[dict[str, Any]]:
    """Each of them with the tests that failed."""
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(place, copy / name)
    broken = failed_tests(copy, sorted({test for mutant in mutants for test in mutant["tests"].split()}))
    if broken:
        raise RuntimeError(f"fail without a mutant: {broken}")
    return [{**mutant, "caught_by": caught(copy, mutant)} for mutant in mutants]


def caught(copy: Path, mutant: Mutant) -> list[str]:
    """The tests that failed with a mutant."""
    file = copy / mutant["file"]
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace(mutant["old"], mutant["new"]), encoding="utf-8")
    try:
        return failed_tests(copy, mutant["tests"].split())
    finally:
        file.write_text(sound, encoding="utf-8")


def failed_tests(copy: Path, tests: Sequence[str]) -> list[str]:
    """Those of some tests that fail, in a process of their own; the first alone where several do."""
    log = copy / "log"
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            os.chdir(copy)
            for name in [
                name for name in sys.modules if name.partition(".")[0] == "loratui" or "tests/support" in _place(name)
            ]:
                del sys.modules[name]
            places = [str(copy / ".namespace"), str(copy / "tests" / "support")]
            sys.path[:0] = places
            os.environ["PYTHONPATH"] = places[0]
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
            options = ["-x", "-q", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={copy}"]
            code = pytest.main([*options, f"--basetemp={copy}/temporary", *tests])
        finally:
            os._exit(code)
    code = wait(pid, 600.0)
    if code == 0:
        return []
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.M) or [
        log.read_text(errors="replace")[-2000:]
    ]


def _place(name: str) -> str:
    return str(getattr(sys.modules[name], "__file__", ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default="", help="those with these words in their names")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ready()
    began = time.monotonic()
    mutants = [mutant for mutant in tomllib.loads(LIST.read_text())["mutant"] if args.only in mutant["name"]]
    with tempfile.TemporaryDirectory(prefix="loratui-mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(args.workers)]
        for copy in copies:
            copy.mkdir()
        shares = [partial(tried, copy, mutants[number :: args.workers]) for number, copy in enumerate(copies)]
        found = [one for report in in_workers(Path(folder), shares) for one in report]
    missed = [one["name"] for one in found if not one["caught_by"]]
    figures = {
        "mutants": len(found),
        "caught": len(found) - len(missed),
        "list": sorted(found, key=lambda one: (one["file"], one["name"])),
        "failures": missed,
        "seconds": round(time.monotonic() - began, 1),
    }
    report = {"format": 1, "benchmark": "mutants", "name": "all", **facts(), "commands": [command()], **figures}
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{figures['caught']} of {figures['mutants']} mutants caught in {figures['seconds']} s")
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
