"""The runs of a sweep as SkyPilot jobs, one file each, and what comes back of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from loratui.engine import durable
from loratui.engine.durable import MARKER
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.sweep import Variant
from loratui.engine.runs.directory import RunDirectory, open_run
from loratui.engine.runs.sweeps import Sweep
from loratui.engine.untrusted import read_text
from loratui.presets import schema
from loratui.presets.schema import SchemaError

TEMPLATE = Path(__file__).with_name("skypilot.yaml")
_DEEPEST = 6
"""Folders below the one that is looked through: a bucket has FOLDER/SWEEP/NUMBER/runs/RUN."""
_MOST_FOLDERS = 20_000


def write_jobs(folder: Path, sweep: Sweep, variants: Sequence[Variant]) -> list[Path]:
    """Writes a job file for each run into a new or empty folder. Raises `UsageError` for one that holds something, `DiskError`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder.", "Choose another one with --jobs.")
    durable.make_directory(folder)
    made = []
    for number, variant in enumerate(variants, 1):
        path = folder / f"{job_name(sweep, number)}.yaml"
        durable.write_new(path, job_file(sweep, number, variant).encode("utf-8"))
        made.append(path)
    return made


def job_name(sweep: Sweep, number: int) -> str:
    """`anafox-sweep-20261121-1-03`: SkyPilot's names have no capitals and no dots."""
    return f"{re.sub('[^a-z0-9-]+', '-', sweep.name.lower())}-{number:02d}"


def job_file(sweep: Sweep, number: int, variant: Variant) -> str:
    """The job of one run: the template with the run's recipe, and a folder of its own in the bucket."""
    settings = variant.recipe.settings
    text = read_text(TEMPLATE)
    changes = {
        "DATASET": settings.dataset.path,
        "BASE": settings.base.model,
        "LORATUI_HOME": f"/loratui/{sweep.name}/{number}",
        "VALIDATE": "yes",
    }
    text = text.replace("name: loratui\n", f"name: {job_name(sweep, number)}\n", 1)
    own = {key: json.dumps(value) for key, value in changes.items()}
    lines = [line for line in variant.recipe.to_toml().splitlines() if line and not line.startswith("#")]
    own["RECIPE"] = "|\n" + "\n".join(f"    {line}" for line in lines)
    return re.sub(
        r"^  ([A-Z_]+): .*$", lambda found: f"  {found[1]}: {own[found[1]]}" if found[1] in own else found[0], text, flags=re.M
    )


def collect(home: Path, sweep: Sweep, folder: Path) -> Sweep:
    """The sweep with the runs that are found below a folder: each by the values of its recipe, of several for one the newest.

    Raises `UsageError` if there is none.
    """
    found: dict[int, RunDirectory] = {}
    for path in _runs_below(folder):
        try:
            run = open_run(home, str(path), to_read=True)
            settings = read_recipe(run.recipe).settings
        except (LoratuiError, SchemaError):
            continue
        for at, member in enumerate(sweep.members):
            same = all(schema.get(settings, key) == value for key, value in member.values.items())
            if same and (at not in found or found[at].created() < run.created()):
                found[at] = run
    if not found:
        raise UsageError(
            f"There is no run of {sweep.name} below {folder}.", "Copy the bucket there first, such as with rclone."
        )
    # The name stays that of the job: every bucket's folder may have a run of the same name.
    places = [replace(member, path=str(found[at].path)) if at in found else member for at, member in enumerate(sweep.members)]
    return replace(sweep, members=tuple(places))


def _runs_below(folder: Path) -> Iterator[Path]:
    """Folders with the marker of a run; links are not followed."""
    waiting, looked_at = [(folder.absolute(), 0)], 0
    while waiting and looked_at < _MOST_FOLDERS:
        here, depth = waiting.pop()
        looked_at += 1
        if (here / MARKER).is_file():
            yield here
        elif depth < _DEEPEST:
            try:
                inner = sorted(one for one in here.iterdir() if one.is_dir() and not one.is_symlink())
            except OSError:
                continue
            waiting += [(one, depth + 1) for one in reversed(inner)]
