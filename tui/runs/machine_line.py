"""GPU, memory and disk in a line for the list of runs, which changes only when a figure moves noticeably."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loratui.engine.machine import hardware
from loratui.tui.runs import figures

_NOTICEABLE = 0.03
"""Share of the whole by which a figure must move before the line changes: a list at rest sends nothing."""
_NOTICEABLE_C = 4
_NOTICEABLE_PERCENT = 10


@dataclass
class Box:
    """Remembers the figures shown, so small changes are not."""

    _told: dict[str, float] = field(default_factory=dict)

    def words(self, home: Path, price_per_hour: float = 0.0) -> str:
        """The line. Takes up to a second if a driver hangs: call it in a thread."""
        gpus = hardware.gpus()
        none = "GPU: driver does not answer" if hardware.has_device_file() else "no GPU"
        parts = [self._gpu(gpu) for gpu in gpus[:2]] or [none]
        memory = hardware.ram()
        if memory.total_gib:
            used = self._steady("ram", memory.total_gib - memory.free_gib, memory.total_gib * _NOTICEABLE)
            parts.append(f"RAM {used:.{0 if used >= 1 else 1}f} of {memory.total_gib:.0f} GiB")
        free = hardware.disk_free_gib(home)
        if free is not None:
            parts.append(f"disk {self._steady('disk', free, max(1.0, free * _NOTICEABLE)):.0f} GiB free")
        if price_per_hour:
            parts.append(f"{price_per_hour:.2f} an hour")
        elif gpus:
            parts.append("price: f2")
        return "  ·  ".join(parts)

    def _gpu(self, gpu: hardware.Gpu) -> str:
        used = self._steady(f"vram{gpu.index}", gpu.total_gib - gpu.free_gib, gpu.total_gib * _NOTICEABLE)
        words = [f"{gpu.name.removeprefix('NVIDIA ')} {figures.of_gib(used, gpu.total_gib)}"]
        if gpu.utilisation_percent is not None:
            words.append(f"{self._steady(f'use{gpu.index}', gpu.utilisation_percent, _NOTICEABLE_PERCENT):.0f} %")
        if gpu.temperature_c is not None:
            words.append(f"{self._steady(f'heat{gpu.index}', gpu.temperature_c, _NOTICEABLE_C):.0f} °C")
        return " ".join(words)

    def _steady(self, name: str, value: float, noticeable: float) -> float:
        told = self._told.get(name)
        if told is None or abs(value - told) >= noticeable:
            self._told[name] = told = value
        return told


def folder_bytes(folder: Path, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Bytes that deleting a folder frees: the disk blocks of its files, each hard link once. Links are not followed."""
    import os

    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, names in os.walk(folder):
        if cancelled():
            break
        for name in names:
            try:
                info = os.lstat(os.path.join(root, name))  # noqa: PTH118 - a run may hold thousands of files
            except OSError:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total
