"""The machine, the versions and the sources of a measurement, so that its figures say where they come from."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loratui.engine.machine import hardware

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "bitsandbytes", "torchao", "triton")


def facts() -> dict[str, Any]:
    """`date machine versions source`."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: v for name in PACKAGES if (v := _version(name))}},
        "source": source(),
    }


def command() -> str:
    """The command that measures, without the place of its report."""
    words = list(sys.argv[1:])
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def machine() -> dict[str, Any]:
    """GPU, driver, CPU and memory."""
    ram = hardware.ram()
    gpu = _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits").split(", ")
    name, driver, mib = gpu if len(gpu) == 3 else ("none", "", "0")
    return {
        "gpu": name,
        "driver": driver,
        "gpu_gib": round(int(mib) / 1024, 1),
        "cpu": _cpu(),
        "cpus": hardware.allowed_cpus(),
        "ram_gib": round(ram.total_gib) if ram.total_gib else None,
    }


def source() -> dict[str, str]:
    """The commit, where git says one, and a digest of the code that was measured."""
    digest = hashlib.sha256()
    for room in ("engine", "presets"):
        for path in sorted((ROOT / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return {"commit": _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"), "digest": digest.hexdigest()[:12]}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    """The first line that a command prints; empty where it does not work."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else ""
