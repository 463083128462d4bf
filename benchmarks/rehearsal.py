"""Rehearses what people do, with their files, on cards of their size: find the base, train, lose the box, resume, validate, export, open.

    python benchmarks/rehearsal.py flux|pony|sd15 [--part make,find,train@22,…] [--work DIR] [--out DIR] [--tiny]

`flux`: the guide's file set (fp8 transformer, clip_l, fp8 t5xxl, ae.sft) in FluxGym's folders under a cap of 22 GiB, and in ComfyUI's under
11 GiB, by `flux-identity-18img`. `pony`: one SDXL checkpoint in ComfyUI by `pony-realism` under 11 and 7.2 GiB. `sd15`: one checkpoint in
Automatic1111 by `sd15-portrait` under 5.2 GiB. The weights have the true size and layout and random values, so the base check is off.

Parts, in this order, each a call of its own if wanted: `make` the files; `find` them with `loratui bases`; for each cap `train@CAP`
until trainer and supervisor are killed with -9; `resume@CAP` to the end; `validate@CAP`; `export@CAP`, and diffusers opens the file. Parts find
what earlier ones left in the work folder. DIR gets `rehearsal-NAME.log` (every command with its output) and `rehearsal-NAME.json`.
`--tiny`: the embedded bases in the same layouts, on a CPU. Exit code 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from machine_facts import facts
from product_run import Done, environment, figures, kill_in_the_middle, loratui, noise_images, runs_in, sets

FORMAT = 1
STEPS, IMAGES = 40, 18
TRIGGER, CLASS = "anafox", "woman"


@dataclass(frozen=True)
class Case:
    """What one person has."""

    family: str
    preset: str
    px: int
    caps: Mapping[str, str]
    """GiB -> the home folder with the base's files."""


CASES = {
    "flux": Case("flux", "flux-identity-18img", 1024, {"22": "fluxgym-home", "11": "comfyui-home"}),
    "pony": Case("sdxl", "pony-realism", 1024, {"11": "pony-home", "7.2": "pony-home"}),
    "sd15": Case("sd15", "sd15-portrait", 512, {"5.2": "sd15-home"}),
}


class Failed(Exception):
    """Something is not as it should be."""


class Rehearsal:
    """One case with its folders, its log, and what its parts found."""

    def __init__(self, name: str, work: Path, out: Path, tiny: bool) -> None:
        self.name, self.case, self.work, self.out, self.tiny = name, CASES[name], work, out, tiny
        self.stored = work / f"rehearsal-{name}.json"
        for folder in (work, out):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = (work / f"rehearsal-{name}.log").open("a")
        here = {"format": FORMAT, "benchmark": "rehearsal", "name": name, "tiny": tiny, **facts()}
        known = json.loads(self.stored.read_text()) if self.stored.is_file() else {"parts": {}}
        self.report: dict[str, Any] = {**here, "commands": known.get("commands", []), "parts": known["parts"]}
        self.report["commands"].append(" ".join(["python", "benchmarks/rehearsal.py", *sys.argv[1:]]))

    @property
    def parts(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Every part by its name, in order."""
        by_cap = {"train": self.train, "resume": self.resume, "validate": self.validate, "export": self.export}
        capped = {f"{part}@{cap}": (lambda do=do, cap=cap: do(cap)) for cap in self.case.caps for part, do in by_cap.items()}
        return {"make": self.make, "find": self.find, **capped}

    def play(self, names: list[str]) -> bool:
        """Plays parts one after the other; stops at the first that fails."""
        for name in names:
            began = time.monotonic()
            self._say(f"\n## {self.name} {name}")
            try:
                found: dict[str, Any] = {"ok": True, **self.parts[name]()}
            except (Failed, subprocess.SubprocessError, KeyError, IndexError) as error:
                found = {"ok": False, "failed": f"{type(error).__name__}: {error}"[-1500:]}
            found |= {"seconds": round(time.monotonic() - began, 1), "source": self.report["source"]["digest"]}
            self.report["parts"][name] = found
            self._say(f"{name}: {json.dumps(found)}")
            self.stored.write_text(json.dumps(self.report, indent=1) + "\n")
            for file in (self.stored, self.stored.with_suffix(".log")):
                if self.out.resolve() != self.work.resolve():
                    (self.out / file.name).write_bytes(file.read_bytes())
            if not found["ok"]:
                return False
        return True

    # ---- parts

    def make(self) -> dict[str, Any]:
        """The files as other programs keep them."""
        homes = [str(self.work / home) for home in dict.fromkeys(self.case.caps.values())]
        made: dict[str, Any] = self._torch("make", self.case.family, *homes)
        return made

    def find(self) -> dict[str, Any]:
        """What the base step lists in each home, and where each part of the base comes from."""
        found = {}
        for home in dict.fromkeys(self.case.caps.values()):
            where = self.work / home
            listed = self._bases(where)
            missing = listed["missing"]
            if "tokenizer_2" in missing:
                self._say(
                    "T5's tokenizer is missing, as in FluxGym; put where this brings it: loratui download google-t5/t5-base/tokenizer.json"
                )
                self._torch("tokenizer", str(where))
                listed = self._bases(where)
            whole = json.loads(self._loratui(where, "bases", listed["model"], "--json").out)
            if whole["missing"] or not (listed["usable"] or self.tiny):  # the list measures toys by full size
                raise Failed(f"{listed['model']} is not complete: {listed['missing']}, {whole['missing']}, {listed['problem']}")
            found[home] = {
                "model": listed["model"],
                "title": whole["title"],
                "missing_at_first": missing,
                "parts": {part: [_below(place["path"], where), place["dtype"]] for part, place in whole["parts"].items()},
            }
        return {"homes": found}

    def train(self, cap: str) -> dict[str, Any]:
        """Begins the run and kills it, with its supervisor, two steps after a checkpoint."""
        home = self._home(cap)
        before = runs_in(home / "loratui")
        killed: list[int | None] = []
        done = self._loratui(
            home,
            *("train", str(self._images()), "--preset", self.case.preset, "--base", self._base(home)),
            *("--trigger", TRIGGER, "--class", CLASS, "--yes", "--wait", "--plain", *sets(self._settings(cap))),
            fails=True,
            meanwhile=lambda alive: killed.append(kill_in_the_middle(home / "loratui", before, alive, supervisor=True)),
        )
        if not killed[0] or not done.code:
            raise Failed(f"the run was not killed: it ended with {done.code}; {(done.out + done.said)[-1200:]}")
        (run,) = runs_in(home / "loratui") - before
        return {"run": run.name, "killed_at_step": killed[0], "exit": done.code}

    def resume(self, cap: str) -> dict[str, Any]:
        """Resumes the run after a killed box, and checks all that it had to make."""
        run = self._run(cap)
        self._loratui(self._home(cap), "resume", run.name, "--wait", "--plain")
        found = figures(run)
        killed, (first, *later) = self.report["parts"][f"train@{cap}"]["killed_at_step"], found["starts"]
        self._require(found["steps"] == STEPS, f"{found['steps']} steps instead of {STEPS}")
        self._require(
            first == 0 and bool(later) and 0 < later[-1] <= killed,
            f"starts from the steps {found['starts']}, killed at {killed}",
        )
        self._require(found["samples"] >= 6, f"only {found['samples']} samples")
        self._require(
            found["reserved_gib"] is None or found["reserved_gib"] <= float(cap), f"{found['reserved_gib']} GiB under {cap}"
        )
        files = sorted(path.name for path in (run / "output").glob("*.safetensors"))
        self._require(f"{TRIGGER}.safetensors" in files, f"files {files}")
        return {**found, "cap_gib": float(cap), "files": files}

    def validate(self, cap: str) -> dict[str, Any]:
        """Validation images without and with the LoRA."""
        prompt, run = "a portrait photo of {subject}", self._run(cap)
        words = ("--strengths", "0,1", "--prompt", prompt, "--grid", "strengths", "--wait", "--json")
        made = json.loads(self._loratui(self._home(cap), "validate", run.name, *words).out)
        images = [Path(one["path"]).read_bytes() for one in made["pictures"]]
        self._require(len(set(images)) == 2, f"{len(images)} images, {len(set(images))} different")
        return {"images": len(images), "s": made["seconds"]}

    def export(self, cap: str) -> dict[str, Any]:
        """Exports the LoRA, and has diffusers open it."""
        made = json.loads(self._loratui(self._home(cap), "export", self._run(cap).name, "--json").out)
        opened = self._torch("open", self.case.family, made["path"])
        matched = opened["matched"] == made["layers"] and not opened["unmatched"]
        self._require(matched, f"{made['layers']} layers, of which diffusers opens {opened}")
        return {"file": Path(made["path"]).name, "names": made["format"], "bytes": made["bytes"], **opened}

    # ---- what they need

    def _settings(self, cap: str) -> dict[str, str]:
        tiny = {
            "dataset.resolution": "128",
            "adapter.rank": "4",
            "samples.steps": "2",
            "samples.width": "128",
            "samples.height": "128",
        }
        return {
            "base.check": "off",  # nothing can be read in random weights, and toys have factors of their own
            "schedule.folder_repeats": "false",
            "schedule.repeats": "1",
            "schedule.epochs": "5",
            "schedule.image_steps": str(2 * STEPS),  # the presets have batches of 2
            "samples.every_image_steps": str(STEPS),
            "output.checkpoint_every_s": "1" if self.tiny else "5",
            "memory.limit_gib": cap,
            **(tiny if self.tiny else {}),
        }

    def _images(self) -> Path:
        if self.tiny:
            from loratui.presets.bases import demo_dataset

            return demo_dataset()
        return noise_images(self.work / f"images-{self.case.px}", IMAGES, self.case.px, f"a photo of {TRIGGER} {CLASS}")

    def _home(self, cap: str) -> Path:
        return self.work / self.case.caps[cap]

    def _base(self, home: Path) -> str:
        found: str = self.report["parts"]["find"]["homes"][home.name]["model"]
        return found

    def _run(self, cap: str) -> Path:
        return self._home(cap) / "loratui" / "runs" / str(self.report["parts"][f"train@{cap}"]["run"])

    def _bases(self, home: Path) -> dict[str, Any]:
        """The base of the family in what `loratui bases` lists by itself."""
        listed = json.loads(self._loratui(home, "bases", "--json").out)["bases"]
        (own,) = [one for one in listed if one["family"] == self.case.family and one["path"].startswith(str(home))]
        return dict(own)

    def _loratui(
        self, home: Path, *words: str, fails: bool = False, meanwhile: Callable[[Callable[[], bool]], None] = lambda _: None
    ) -> Done:
        """A command of loratui as the person whose home folder is `home` gives it."""
        self._say(f"$ HOME={home} loratui {shlex.join(words)}")
        done = loratui(*words, environ={**environment(home), "LORATUI_HOME": str(home / "loratui")}, meanwhile=meanwhile)
        self._say(f"{done.out}{done.said}[exit {done.code}]")
        if done.code and not fails:
            raise Failed(f"loratui {words[0]} ended with {done.code}: {(done.out + done.said)[-1200:]}")
        return done

    def _torch(self, *words: str) -> dict[str, Any]:
        """A job with torch in a process of its own, so that the GPU is empty afterwards."""
        script = Path(__file__).with_name("rehearsal_jobs.py")
        command = [sys.executable, str(script), *words, *(["--tiny"] if self.tiny else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
        if done.returncode:
            raise Failed(done.stderr[-3000:])
        made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return made

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise Failed(otherwise)

    def _say(self, words: str) -> None:
        print(words, file=self.log, flush=True)
        print(words, flush=True)


def _below(path: str, home: Path) -> str:
    return str(Path(path).relative_to(home)) if Path(path).is_relative_to(home) else Path(path).name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(CASES))
    parser.add_argument("--part", default="", help="parts, separated by commas (default: all)")
    parser.add_argument("--work", type=Path, default=Path("/tmp/rehearsal"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    rehearsal = Rehearsal(args.name, args.work.resolve(), args.out.resolve(), args.tiny)
    wanted = args.part.split(",") if args.part else list(rehearsal.parts)
    if unknown := set(wanted) - rehearsal.parts.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; the parts are {', '.join(rehearsal.parts)}")
    sys.exit(0 if rehearsal.play(wanted) else 1)


if __name__ == "__main__":
    main()
