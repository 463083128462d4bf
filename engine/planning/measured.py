"""What earlier runs on this machine took, kept in the person's cache, so that estimates rest on measurements."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loratui.engine import durable
from loratui.engine.machine.accelerator import cache_folder
from loratui.engine.untrusted import finite, read_json
from loratui.presets.schema import Settings

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
    work: str = ""
    """`work_of` its settings and memory plan."""
    compiled: bool = False
    """Whether the blocks were compiled."""
    peak_vram_gib: float | None = None
    peak_ram_gib: float | None = None

    @property
    def memory(self) -> str:
        """Of `work`, how the run lay in memory."""
        return _memory_in(self.work)


@dataclass(frozen=True)
class Recalled:
    """What earlier runs say of a planned one."""

    image_step_s: tuple[float, float]
    peak_vram_gib: float | None
    peak_ram_gib: float | None
    runs: int
    same: bool
    """Whether they had the same resolution, batch and work, or were scaled to it."""
    compiled: bool = False


def cache_file() -> Path:
    """Where measurements are kept; `LORATUI_CACHE` names another folder."""
    return cache_folder() / "measured.json"


def remember(measurement: Measurement) -> None:
    """Adds one run's figures to the cache; the newest few hundred are kept.

    A cache that cannot be written is no fault of the run, so nothing is raised.
    """
    kept = [*read_all(), measurement][-_KEPT:]
    durable.remember(cache_file(), {"format": FORMAT, "runs": [dataclasses.asdict(m) for m in kept]})


def read_all() -> list[Measurement]:
    """All that is remembered, oldest first; a cache that cannot be read is empty, and rows that cannot be used are left out."""
    try:
        table = read_json(cache_file())
        rows = table["runs"][-_KEPT:] if table["format"] == FORMAT else []
    except (OSError, KeyError, TypeError):
        return []
    return [found for row in rows if (found := _measurement(row)) is not None] if isinstance(rows, list) else []


def _measurement(row: object) -> Measurement | None:
    try:
        found = Measurement(**row)  # type: ignore[arg-type]  # what is no table of these names raises
    except TypeError:
        return None
    texts = all(isinstance(text, str) for text in (found.gpu, found.model, found.work)) and isinstance(found.compiled, bool)
    sizes = all(type(n) is int and 0 < n < 1 << 20 for n in (found.resolution, found.batch_size))
    peaks = all(peak is None or (finite(peak) or 0) > 0 for peak in (found.peak_vram_gib, found.peak_ram_gib))
    return found if texts and sizes and peaks and (finite(found.image_step_s) or 0) > 0 else None


def work_of(settings: Settings, memory_plan: str) -> str:
    """What else decides how much a step takes: adapter, optimizer, and at the end the name of the memory plan with its limit."""
    adapter, training, limit = settings.adapter, settings.training, settings.memory.limit_gib
    memory = f"{memory_plan}@{limit:g}" if limit else memory_plan
    parts = (
        *(adapter.kind, adapter.rank, adapter.conv_rank, adapter.targets, adapter.dora, adapter.drops),
        *(training.train_text_encoder, bool(training.ema_decay), settings.optimizer.name, memory),
    )
    return " ".join(map(str, parts))


def _memory_in(work: str) -> str:
    return work.rpartition(" ")[2]


def recall(
    measurements: Sequence[Measurement], *, gpu: str, model: str, resolution: int, batch_size: int, work: str = ""
) -> Recalled | None:
    """What runs of the same base on the same card with the same memory plan took, by the last five of them; None if there were none.

    Runs of another resolution, batch or work count with their time scaled by area, and a wider range. Those of another memory plan
    do not: a step whose blocks are swapped says nothing of one whose activations are kept.
    """
    alike = [m for m in measurements if (m.gpu, m.model, m.memory) == (gpu, model, _memory_in(work)) and m.image_step_s > 0]
    same = [m for m in alike if (m.resolution, m.batch_size, m.work) == (resolution, batch_size, work)]
    chosen = (same or alike)[-5:]
    if not chosen:
        return None
    chosen = [m for m in chosen if m.compiled == chosen[-1].compiled]  # the newest says how it is done now
    middle = statistics.median(m.image_step_s * (resolution / m.resolution) ** 2 for m in chosen)
    margin = 0.15 if same else 0.2
    vram = [m.peak_vram_gib for m in same if m.peak_vram_gib]
    ram = [m.peak_ram_gib for m in same if m.peak_ram_gib]
    return Recalled(
        image_step_s=(middle * (1 - margin), middle * (1 + margin)),
        peak_vram_gib=max(vram, default=None),
        peak_ram_gib=max(ram, default=None),
        runs=len(chosen),
        same=bool(same),
        compiled=chosen[-1].compiled,
    )
