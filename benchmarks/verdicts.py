"""Trains LoRAs whose verdict is known, validates them, and compares the verdicts.

    python benchmarks/verdicts.py [--out verdicts.jsonl] [--families flux sdxl sd15] [--seeds 1 2 3 4 5] [--kinds good tenth …]
        [--device auto] [--at-once 2] [--seconds 600] [--share 1] [--exhaustive 10] [--work DIR] [--done FILE …]
    python benchmarks/verdicts.py --judge verdicts.jsonl … [--keep] [--json]

On each family's embedded base and for each seed, another invented person and other draws: a good run, a tenth of its steps, ten times
its steps, one image 18 times, captions with another trigger, shuffled captions, and two people mixed. `loratui train` and `loratui validate`
make them as a person would. Each finished run adds a line to the file of `--out`, with all that was measured of it; runs with a line there
are not made again, and a run that `--seconds` cuts off is made again next time. The long runs come first, then the first seeds of all families.

Of runs where a file is to be kept, all files at all strengths are then judged by the reader of the drawings (likeness × variety × prompts
obeyed): the exhaustive best, against which the recommended file and strength are held. `--exhaustive N` looks at so many files of each.

`--judge` judges the lines of files again, without training, and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from machine_facts import facts
from product_run import LORATUI, end_processes, runs_in, sets
from verdict_cases import EXPECTED, Case, person_of, write_dataset
from verdict_tables import judge_again, read_lines

from loratui.presets.bases import DEMO_TRIGGER

RECIPES = {"sd15": ("demo", 100), "sdxl": ("demo:sdxl", 50), "flux": ("demo:flux", 50)}
"""Family -> preset and exposures of a good run: the demo's."""
KEEPABLE = ("good", "tenth", "tenfold")
"""Runs of which a file is to be kept."""
LONGEST_S = 7200.0


class OutOfTime(Exception):
    """The seconds are over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")) / "verdicts.jsonl")
    parser.add_argument("--families", nargs="+", default=["flux", "sdxl", "sd15"], choices=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--kinds", nargs="+", default=list(EXPECTED), choices=list(EXPECTED))
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="runs at the same time")
    parser.add_argument("--seconds", type=float, default=LONGEST_S, help="time after which nothing more is waited for")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of each run, to try the benchmark")
    parser.add_argument(
        "--exhaustive", type=int, default=10, metavar="FILES", help="files of a run that are all looked at; 0: none"
    )
    parser.add_argument("--work", type=Path, help="folder for the runs, kept; without it they are deleted")
    parser.add_argument(
        "--done", nargs="+", type=Path, default=[], metavar="FILE", help="files of earlier runs, which are not made again"
    )
    parser.add_argument("--judge", nargs="+", type=Path, metavar="FILE", help="judge what these files hold, and train nothing")
    parser.add_argument("--keep", action="store_true", help="with --judge: keep their axes in benchmarks/results/verdicts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.judge:
        return judge_again(args.judge, as_json=args.json, keep=args.keep)
    done = {line["name"] for line in read_lines([args.out, *args.done])}
    # The long runs begin first: begun later, they would be cut off. Then seeds first: what is cut off leaves whole rounds.
    cases = [
        case
        for seed in args.seeds
        for kind in args.kinds
        for family in args.families
        if (case := Case(family, seed, kind)).name not in done
    ]
    cases.sort(key=lambda case: case.kind != "tenfold")
    print(f"{len(cases)} runs to make, {len(done)} there", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        Maker(args, work).make_all(cases)
    print(f"{len(read_lines([args.out]))} runs in {args.out}", flush=True)
    return 0


class Maker:
    """Makes runs, some at once, and writes a line for each."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self._args, self._work = args, work
        self._until = time.monotonic() + args.seconds
        self._lock = threading.Lock()
        self._facts = facts()

    def make_all(self, cases: list[Case]) -> None:
        """All that the time allows."""
        with ThreadPoolExecutor(self._args.at_once) as pool:
            list(pool.map(self._try, cases))

    def _try(self, case: Case) -> None:
        began = time.monotonic()
        try:
            line = self._make(case)
        except OutOfTime:
            for run in runs_in(self._work / case.name / "home"):
                end_processes(run)
            print(f"{case.name}: cut off", flush=True)
            return
        except RuntimeError as error:  # told, and the others go on
            print(f"{case.name}: {error}", flush=True)
            return
        line |= {"seconds": round(time.monotonic() - began, 1), "machine": self._facts}
        with self._lock, self._args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        verdict = line["measures"].get("verdict", {})
        print(f"{case.name}: {verdict.get('kind')} ({verdict.get('confidence')}), {line['seconds']:.0f} s", flush=True)

    def _make(self, case: Case) -> dict[str, Any]:
        """Trains and validates a case."""
        args, place = self._args, self._work / case.name
        preset, exposures = RECIPES[case.family]
        home, images = place / "home", place / "images"
        if not images.is_dir():
            write_dataset(case, images)
        run = next(iter(runs_in(home)), None)
        if run is None or not any((run / "output").glob("*.safetensors")) or not (place / "trained").is_file():
            shutil.rmtree(home, ignore_errors=True)
            settings = case.settings(max(10, round(exposures * args.share)))
            if args.device == "cpu":
                settings |= {"memory.device": "cpu"}
            words = ("--preset", preset, "--trigger", DEMO_TRIGGER, "--class", person_of(case).sex, "--yes", "--wait")
            self._run([*LORATUI, "train", str(images), *words, *sets(settings), "--home", str(home)])
            (run,) = runs_in(home)
            (place / "trained").touch()
        self._run([*LORATUI, "validate", str(run), "--wait", "--home", str(home)])
        measures = json.loads((run / "validation" / "measures.json").read_text(encoding="utf-8"))
        for part in measures["parts"]:
            part["images"] = []
        line = {"name": case.name, "family": case.family, "seed": case.seed, "kind": case.kind, "share": args.share}
        line |= {"expected": EXPECTED[case.kind], "measures": measures}
        if args.exhaustive and case.kind in KEEPABLE:
            script = Path(__file__).with_name("verdict_exhaustive.py")
            words = (str(run), case.family, str(case.seed), "--files", str(args.exhaustive))
            line["exhaustive"] = json.loads(self._run([sys.executable, str(script), *words]).splitlines()[-1])
        if not args.work:
            shutil.rmtree(place)
        return line

    def _run(self, words: list[str]) -> str:
        """What a command writes. Raises `OutOfTime`, and `RuntimeError` for one that fails."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, env=environ)
            try:
                out, _ = child.communicate(timeout=left)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise OutOfTime from None
            if child.returncode:
                said.seek(0)
                raise RuntimeError(f"{' '.join(words[:6])} ended with {child.returncode}: {said.read()[-1500:].decode()}")
        return out.decode()


if __name__ == "__main__":
    sys.exit(main())
