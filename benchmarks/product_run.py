"""Runs `loratui` for the benchmarks, and reads what a run's own event log says of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.runs.events import Event, read_events

LORATUI = (sys.executable, "-m", "loratui.tui.cli")
INSIDE = Path(__file__).with_name("inside")
LEFT_OUT = 10
"""First steps, not measured: they choose kernels and fill the allocator."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    """What it wrote to standard output,"""
    said: str
    """and to standard error."""


def loratui(
    *words: str,
    timeout: float = 590,
    meanwhile: Callable[[Callable[[], bool]], None] = lambda _: None,
    environ: Mapping[str, str] | None = None,
) -> Done:
    """Carries out a command of loratui; `meanwhile` is called once while it works, with a function that says whether it does."""
    process = subprocess.Popen(
        [*LORATUI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environ
    )
    meanwhile(lambda: process.poll() is None)
    out, said = process.communicate(timeout=timeout)
    return Done(process.returncode, out, said)


def inside(**changes: str) -> dict[str, str]:
    """The surroundings of a command whose trainers have `changes` of `inside/sitecustomize.py`."""
    places = [str(INSIDE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), **changes}


def sets(settings: Mapping[str, str]) -> list[str]:
    """Settings as options."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def runs_in(home: Path) -> set[Path]:
    """The run directories of a home."""
    return {path for path in (home / "runs").glob("*") if (path / "effective.toml").is_file()}


def events_of(run: Path) -> Sequence[Event]:
    """The log of a run; empty before its first event."""
    log = run / "events.jsonl"
    return read_events(log, max_bytes=1 << 26).events if log.is_file() else ()


def kill_in_the_middle(
    home: Path, before: set[Path], alive: Callable[[], bool], *, supervisor: bool = False, patience_s: float = 500
) -> int | None:
    """Kills the trainer of the new run in `home` two steps after its first checkpoint, and its supervisor first if asked.

    Returns the step; None if the run ended earlier, or the command that follows it.
    """
    end = time.monotonic() + patience_s
    while alive() and time.monotonic() < end:
        time.sleep(0.02)
        for run in runs_in(home) - before:
            events = events_of(run)
            saved = max((e.fields["step"] for e in events if e.type == "checkpoint_written"), default=None)
            last = max((e.fields["step"] for e in events if e.type == "step"), default=0)
            if saved is not None and last >= saved + 2:
                _kill(run, supervisor)
                return int(last)
    return None


def end_processes(run: Path) -> None:
    """Kills what works on a run, if anything does."""
    from loratui.engine.runs.lock import read_owner

    if read_owner(run / "run.lock") is not None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            _kill(run, supervisor=True)


def _kill(run: Path, supervisor: bool) -> None:
    from loratui.engine.runs.lock import read_owner

    owner = read_owner(run / "run.lock")
    assert owner is not None
    for process in ([owner.supervisor] if supervisor else []) + [owner.trainer]:
        process.send_signal(signal.SIGKILL)


def figures(run: Path, asked_at: float | None = None) -> dict[str, Any]:
    """Step time, memory and products of a run, from its event log; `asked_at`: when its command was given, s since 1970."""
    events = events_of(run)
    steps = [event for event in events if event.type == "step"]
    started = [event.fields for event in events if event.type == "run_started"]
    late = [event for event in steps if event.fields["step"] > LEFT_OUT]
    step_s = [event.fields["step_s"] for event in late]
    processes = started[0].get("processes", 1)
    images = started[0]["batch_size"] * started[0]["accumulation"] * processes
    phases = [(e.fields["text"] or e.fields["phase"], e.ts) for e in events if e.type == "phase_changed"]
    spent = [(name, after - at) for (name, at), (_, after) in itertools.pairwise(phases)]
    return {
        "plan": started[-1]["memory_plan"],
        "fit": _said(run, "memory: "),
        "compiling": _said(run, "compiled "),
        "waiting": _said(run, "waited "),
        "recording": _said(run, "recorded a step in "),
        "plans_failed": sum(event.type == "memory_plan_failed" for event in events),
        "processes": processes,
        "steps": max(event.fields["step"] for event in steps),
        "step_ms": spread(step_s),
        "wall_ms": _wall_ms(late, events),
        "images_s": round(images / statistics.median(step_s), 3),
        "allocated_gib": _most(steps, "allocated_gib"),
        "reserved_gib": _most(steps, "memory_gib"),
        "card_gib": _most([event for event in events if event.type == "telemetry"], "gpu_memory_gib"),
        "compile_s": round(sum(s for name, s in spent if name.startswith("Compiling")), 1),
        "first_step_s": round(steps[0].ts - events[0].ts, 1),
        "first_step_from_command_s": None if asked_at is None else round(steps[0].ts - asked_at, 1),
        "start_s": _start(phases, events[0].ts, steps[0].ts),
        "phases_s": [[name, round(s, 1)] for name, s in spent if s >= 0.5],
        "loss": [round(event.fields["loss"], 5) for event in (steps[0], steps[-1])],
        "grad_norm": [round(event.fields["grad_norm"], 5) for event in (steps[0], steps[-1])],
        "starts": [fields["resumed_step"] for fields in started],
        "samples": len({event.fields["path"] for event in events if event.type == "sample_written"}),
        "checkpoint_s": [round(event.fields["seconds"], 2) for event in events if event.type == "checkpoint_written"],
        "stalled_s": [event.fields["stalled_s"] for event in events if event.type == "checkpoint_written"],
        "lora_bytes": max((event.fields["bytes"] for event in events if event.type == "output_written"), default=0),
        "warnings": [event.fields["code"] for event in events if event.type == "warning"],
        "ended": [[event.fields["signal"], event.fields["exit_code"]] for event in events if event.type == "trainer_ended"],
    }


def spread(seconds: Sequence[float]) -> list[float]:
    """Median, least and most, in ms."""
    return [round(1000 * value, 1) for value in (statistics.median(seconds), min(seconds), max(seconds))]


def trainer_log(run: Path) -> str:
    """The end of what a trainer said."""
    log = run / "log" / "trainer.log"
    return log.read_text(errors="replace")[-3000:] if log.is_file() else ""


def noise_images(folder: Path, count: int, px: int, caption: str) -> Path:
    """A dataset of `count` squares of noise, made if it is not there."""
    if not folder.is_dir():
        from PIL import Image

        folder.mkdir(parents=True)
        for number in range(count):
            Image.effect_noise((px, px), 40 + number).convert("RGB").save(folder / f"{number:02}.png")
            (folder / f"{number:02}.txt").write_text(f"{caption}, number {number}")
    return folder


def _start(phases: Sequence[tuple[str, float]], asked: float, first_step: float) -> list[list[Any]]:
    """What the time up to the end of the first step went to: [phase, s], by the moments at which the phases began."""
    before = [("The process", asked), *((name, at) for name, at in phases if at < first_step)]
    ends = [*(at for _, at in before[1:]), first_step]
    named = [("The first step" if name == "training" else name, end - at) for (name, at), end in zip(before, ends, strict=True)]
    return [[name, round(seconds, 1)] for name, seconds in named if seconds >= 0.05]


def _said(run: Path, beginning: str) -> str:
    """The rest of the last line of the trainer's log that begins so: what it decided by its first step, or how long something took."""
    log = run / "log" / "trainer.log"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return next((line.removeprefix(beginning) for line in reversed(lines) if line.startswith(beginning)), "")


def _wall_ms(steps: Sequence[Event], between: Sequence[Event]) -> float | None:
    """Time from step to step by the clock, with all that lies between; None where something else was done in between."""
    first, last = steps[0], steps[-1]
    made = last.fields["step"] - first.fields["step"]
    others = ("run_started", "checkpoint_written", "sample_written")
    if made < 1 or any(event.type in others and first.seq < event.seq < last.seq for event in between):
        return None
    return round(1000 * (last.ts - first.ts) / made, 1)


def _most(events: Sequence[Event], field: str) -> float | None:
    found = [event.fields[field] for event in events if event.fields.get(field) is not None]
    return round(max(found), 2) if found else None


def environment(home: Path) -> dict[str, str]:
    """The surroundings of a person whose home folder is `home`: nothing is found that lies elsewhere."""
    import site

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "LORATUI", "COMFYUI", "INVOKEAI"))}
    return {**kept, "HOME": str(home), "PYTHONUSERBASE": site.getuserbase()}
