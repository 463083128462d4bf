"""What earlier runs on this machine took, kept in the person's cache, so that estimates rest on measurements."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1
_KEPT = 200


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Figures of one finished run."""

    gpu: str
    """The driver's name of the card; `cpu` without one."""
    model: str
    """`base.model` of the recipe."""
    resolution: int
    batch_size: int
    image_step_s: float
    """Median seconds of training for one image-step, without samples and saving."""
    peak_vram_gib: float | None = None
    peak_ram_gib: float | None = None


@dataclass(frozen=True)
class Recalled:
    """What earlier runs say of a planned one."""

    image_step_s: tuple[float, float]
    peak_vram_gib: float | None
    peak_ram_gib: float | None
    runs: int
    same: bool
    """Whether they had the same resolution and batch, or were scaled to it."""


def cache_file() -> Path:
    """Where measurements are kept; `LORATUI_CACHE` names another folder."""
    configured = os.environ.get("LORATUI_CACHE")
    if configured:
        return Path(configured) / "measured.json"
    from platformdirs import user_cache_path

    return user_cache_path("loratui") / "measured.json"


def remember(measurement: Measurement) -> None:
    """Adds one run's figures to the cache; the newest few hundred are kept.

    A cache that cannot be written is no fault of the run, so nothing is raised.
    """
    kept = [*read_all(), measurement][-_KEPT:]
    text = json.dumps({"format": FORMAT, "runs": [dataclasses.asdict(m) for m in kept]})
    path = cache_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)


def read_all() -> list[Measurement]:
    """All that is remembered, oldest first; a cache that cannot be read is empty."""
    try:
        table = json.loads(cache_file().read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            return []
        return [Measurement(**row) for row in table["runs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def recall(measurements: Sequence[Measurement], *, gpu: str, model: str, resolution: int, batch_size: int) -> Recalled | None:
    """What runs of the same base on the same card took, by the last five of them; None if there were none.

    Runs of another resolution or batch count with their time scaled by area, and a wider range.
    """
    alike = [m for m in measurements if (m.gpu, m.model) == (gpu, model) and m.image_step_s > 0]
    same = [m for m in alike if (m.resolution, m.batch_size) == (resolution, batch_size)]
    chosen = (same or alike)[-5:]
    if not chosen:
        return None
    middle = statistics.median(m.image_step_s * (resolution / m.resolution) ** 2 for m in chosen)
    margin = 0.15 if same else 0.4
    vram = [m.peak_vram_gib for m in same if m.peak_vram_gib]
    ram = [m.peak_ram_gib for m in same if m.peak_ram_gib]
    return Recalled(
        image_step_s=(middle * (1 - margin), middle * (1 + margin)),
        peak_vram_gib=max(vram, default=None),
        peak_ram_gib=max(ram, default=None),
        runs=len(chosen),
        same=bool(same),
    )
