"""`loratui doctor`: this machine as loratui sees it, its folders, and its problems."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loratui.engine import durable, families
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import VISIBLE
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.runs import lock, ownership
from loratui.engine.runs.directory import loratui_home
from loratui.engine.words import listed
from loratui.tui import text
from loratui.tui.commands import base_report, common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean, has_256_colours

PACKAGES = (
    "loratui",
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "bitsandbytes",
    "textual",
    "Pillow",
    "numpy",
    "nvidia-ml-py",
)
_OPTIONAL = ("bitsandbytes",)
LABEL = 13
"""Width of the labels."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--base`, a folder, `--json`."""
    del name
    parser.add_argument("--base", metavar="BASE", help="also test this base on images: prediction, sign, VAE, text")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="images for --base (default: the demo's drawings)")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the report; returns 0, or 1 if a problem prevents training.

    JSON: `ok problems[] python platform packages{} cpu{name allowed_cpus} ram{total_gib free_gib limited}
    gpus[]{index name total_gib free_gib driver utilisation_percent temperature_c power_w uuid pci capability
    held_by[]{pid name gib is_run} hidden}
    training_on{name total_gib capability uuid link_gb_s} training_in training_problem home config disk_free_gib
    write{ok fsync_ms locks message} embedded_base terminal{term colours}`, and with `--base`
    `base{model family images readings{} mistaken message remedy}`.
    """
    if args.folder and not args.base:
        raise UsageError(f"{args.folder}: a folder needs a base to test.", "Name one with --base.")
    report = examine()
    if args.base:
        report["base"] = base_report.report(args.base, args.folder or "")
        if report["base"]["mistaken"]:
            report["problems"].append(f"{report['base']['message']} {report['base']['remedy']}")
            report["ok"] = False
    if args.json:
        common.print_json(report)
    else:
        for line in describe(report):
            say(sys.stdout, clean(line), hang=LABEL)
    return int(ExitCode.DONE if report["ok"] else ExitCode.WARNINGS)


def examine() -> dict[str, Any]:
    """Everything that `--json` prints."""
    from loratui.engine.planning.bases import base_path
    from loratui.engine.planning.memory_need import Facts
    from loratui.engine.planning.memory_plan import MemoryPlan, decide
    from loratui.presets import load_preset, user_folder
    from loratui.presets.schema import Settings

    home = loratui_home(usable=False)
    here = common.this_machine()
    decided = decide(Facts.of(Settings(), here.card))
    packages = hardware.versions(PACKAGES)
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(terse=True),
        "packages": packages,
        "cpu": {"name": hardware.cpu_name(), "allowed_cpus": hardware.allowed_cpus()},
        "ram": _rounded(asdict(hardware.ram())),
        "gpus": [{**_rounded(asdict(gpu)), "hidden": gpu.index in here.hidden} for gpu in hardware.gpus()],
        "training_on": _rounded(asdict(here.card)) if here.card else None,
        "training_in": decided.precision if isinstance(decided, MemoryPlan) else "",
        "training_problem": here.problem,
        "home": str(home),
        "config": str(user_folder().parent),
        "disk_free_gib": _rounded({"free": hardware.disk_free_gib(home)})["free"],
        "write": try_writing(home),
        "embedded_base": str(base_path(load_preset(families.FAMILIES[0].demo_preset).settings.base.model) or "") or None,
        "terminal": {"term": os.environ.get("TERM"), "colours": colours()},
    }
    problems = [f"{name} is not installed." for name, found in packages.items() if found is None and name not in _OPTIONAL]
    if here.problem:
        problems.append(f"{here.problem} {here.remedy}")
    if not report["write"]["ok"]:
        problems.append(report["write"]["message"])
    elif not report["write"]["locks"]:
        problems.append(f"{home}: this file system has no locks; loratui may not notice that a run is started twice.")
    concern = ownership.concern_about(home)
    if concern is not None and not ownership.is_trusted(home):
        problems.append(f"{concern.message} {concern.remedy}")
    if report["embedded_base"] is None:
        problems.append("The embedded base is missing. Install loratui again.")
    return {"ok": not problems, "problems": problems, **report}


def colours() -> str | None:
    """The colours that the app would use in this environment: truecolor, 256 or standard; None without colour."""
    from rich.console import Console

    known = Console(force_terminal=True).color_system
    return "256" if known == "standard" and has_256_colours(os.environ) else known


def try_writing(home: Path) -> dict[str, Any]:
    """Writes and locks a small file in the folder of the runs, and removes it."""
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    probe = home / f".doctor-{os.getpid()}"
    try:
        durable.make_directory(home)
        started = time.monotonic()
        durable.write_file(probe, b"loratui doctor\n")
        fsync_ms = (time.monotonic() - started) * 1000
        return {"ok": True, "fsync_ms": round(fsync_ms, 1), "locks": lock.supported(probe), "message": ""}
    except LoratuiError as error:
        return {"ok": False, "fsync_ms": None, "locks": False, "message": str(error)}
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()


def describe(report: dict[str, Any]) -> list[str]:
    """The report as lines, label and value."""
    ram, write = report["ram"], report["write"]
    limit = " (limit of this container)" if ram["limited"] else ""
    free = report["disk_free_gib"]
    about_base = [row for row in base_report.describe(report["base"]) if row[0] != "problem"] if "base" in report else []
    rows = [
        ("system", report["platform"]),
        ("python", f"{report['python']}, {report['executable']}"),
        ("CPU", f"{report['cpu']['name']}, {text.count(report['cpu']['allowed_cpus'], 'core')} usable"),
        ("RAM", f"{ram['total_gib']} GiB{limit}, {ram['free_gib']} GiB free"),
        *(("GPU", _gpu_line(gpu)) for gpu in report["gpus"]),
        ("training on", _training_on(report)),
        ("runs", f"{report['home']}, {'–' if free is None else free} GiB free"),
        ("writing", f"works, {write['fsync_ms']} ms for a durable write" if write["ok"] else "does not work"),
        ("settings", report["config"]),
        ("terminal", _terminal_line(report["terminal"])),
        ("base", report["embedded_base"] or "missing"),
        *((name, version or "not installed") for name, version in report["packages"].items()),
        *about_base,
        *(("problem", problem) for problem in report["problems"]),
        *([] if report["problems"] else [("", "No problem was found.")]),
    ]
    return [f"{label:<{LABEL}}{value}" for label, value in rows]


def _terminal_line(terminal: dict[str, Any]) -> str:
    from loratui.tui.terminal.canvas import TO_TRUE_COLOUR

    known = {"truecolor": "all colours", "256": "256 colours", "standard": "16 colours"}
    words = f"TERM is {terminal['term'] or 'not set'}, {known.get(terminal['colours'], 'no colours')}"
    return words if terminal["colours"] in ("truecolor", None) else f"{words}; if it has more: {TO_TRUE_COLOUR}"


def _gpu_line(gpu: dict[str, Any]) -> str:
    busy = "" if gpu["utilisation_percent"] is None else f", {gpu['utilisation_percent']} % busy"
    warm = "" if gpu["temperature_c"] is None else f", {gpu['temperature_c']} °C"
    hidden = f", hidden by {VISIBLE}" if gpu["hidden"] else ""
    by = listed([Holder(**one).words for one in gpu["held_by"]])
    held = f", held by {by}" if by else ""
    return (
        f"{gpu['name']}, {gpu['total_gib']} GiB, {gpu['free_gib']} GiB free{held}{busy}{warm}, driver {gpu['driver']}{hidden}"
    )


def _training_on(report: dict[str, Any]) -> str:
    card = report["training_on"]
    if card is not None:
        link = f", {card['link_gb_s']:.0f} GB/s from main memory" if card["link_gb_s"] else ""
        return f"{card['name']}, compute capability {card['capability'][0]}.{card['capability'][1]}, in {report['training_in']}{link}"
    return "no GPU: see the problem below" if report["training_problem"] else "the CPU (no GPU): small bases only"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in values.items()}
