"""What the machine does while it trains, read every few seconds: GPU, memory, disk. Cheap, and never in the way of a step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import VISIBLE, shown_gpus
from loratui.engine.machine.processor import CpuMeter
from loratui.engine.words import GIB

_THROTTLES = ((0x04, "power limit"), (0x20 | 0x40, "heat"), (0x80, "power brake"), (0x08, "hardware slowdown"))
"""NVML's reasons why clocks are lowered (nvmlClocksThrottleReason*), with our words; idling is none."""

_NOTICEABLE: Mapping[str, float] = {
    "gpu_percent": 5.0,
    "gpu_memory_gib": 0.1,
    "gpu_c": 2.0,
    "gpu_w": 10.0,
    "cpu_percent": 25.0,
    "machine_cpu_percent": 10.0,
    "ram_gib": 0.1,
    "disk_free_gib": 0.2,
}
"""By how much a figure must have changed to be told again before `TOLD_AT_LEAST_S` is over."""

TOLD_AT_LEAST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySample:
    """One look at the machine; None is what it does not tell. The fields are those of the event `telemetry`."""

    gpu: str | None = None
    """Name of the GPU that this process uses."""
    gpu_percent: int | None = None
    """Share of the last moments in which the GPU computed."""
    gpu_memory_gib: float | None = None
    """Used by all processes together."""
    gpu_memory_total_gib: float | None = None
    gpu_c: int | None = None
    gpu_w: float | None = None
    gpu_limit_w: float | None = None
    throttle: tuple[str, ...] = ()
    """Why the GPU runs slower than it could."""
    cpu_percent: float | None = None
    """Of this process; 100 is one CPU in full."""
    machine_cpu_percent: float | None = None
    """Of this machine or container, all its programs together; 100 is all CPUs in full."""
    cpus: int | None = None
    """CPUs that this process may use."""
    ram_gib: float | None = None
    """Used in this machine or container."""
    ram_total_gib: float | None = None
    disk_free_gib: float | None = None
    """Free where the run lies."""

    def to_fields(self) -> dict[str, Any]:
        """The fields of the event; what is unknown is left out, floats are rounded to what is meant."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value is not None and value != ()}
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in known.items()}


class MachineMonitor:
    """Reads the machine again and again. May hang in a broken driver: call it from a thread that nobody waits for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nvml: Any = None
        self._handle: Any = None
        self._name = ""
        self._looked = False
        self._uuid = ""
        self._processor = CpuMeter()
        self._cpu_before: tuple[float, float] | None = None

    def read(self) -> TelemetrySample:
        """One look. Never raises."""
        ram = hardware.ram()
        return TelemetrySample(
            **self._gpu(),
            cpu_percent=self._cpu_percent(),
            machine_cpu_percent=self._processor.percent(),
            cpus=hardware.allowed_cpus(),
            ram_gib=max(0.0, ram.total_gib - ram.free_gib) if ram.total_gib else None,
            ram_total_gib=ram.total_gib or None,
            disk_free_gib=hardware.disk_free_gib(self._folder),
        )

    def watch(self, uuid: str) -> None:
        """From the next look on the card with this UUID is read; until then, and for an empty one, the first that CUDA shows."""
        self._uuid, self._looked = uuid, False

    def close(self) -> None:
        """Lets go of the driver."""
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                self._nvml.nvmlShutdown()
            self._nvml = self._handle = None

    def _cpu_percent(self) -> float | None:
        times = os.times()
        now = time.monotonic(), times.user + times.system
        before, self._cpu_before = self._cpu_before, now
        if before is None or now[0] - before[0] < 0.1:
            return None
        return 100.0 * (now[1] - before[1]) / (now[0] - before[0])

    def _gpu(self) -> dict[str, Any]:
        if not self._looked:
            self._looked = True
            self.close()
            self._open()
        if self._handle is None:
            return {}
        nvml, handle = self._nvml, self._handle

        def ask(question: Any, *args: Any) -> Any:
            # Laptops, virtual GPUs and slices of a GPU do not answer every question, and a lost GPU answers none.
            with contextlib.suppress(Exception):
                return question(handle, *args)
            return None

        memory, rates = ask(nvml.nvmlDeviceGetMemoryInfo), ask(nvml.nvmlDeviceGetUtilizationRates)
        power, limit = ask(nvml.nvmlDeviceGetPowerUsage), ask(nvml.nvmlDeviceGetEnforcedPowerLimit)
        reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return {
            "gpu": self._name,
            "gpu_percent": None if rates is None else int(rates.gpu),
            "gpu_memory_gib": None if memory is None else memory.used / GIB,
            "gpu_memory_total_gib": None if memory is None else memory.total / GIB,
            "gpu_c": ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            "gpu_w": None if power is None else power / 1000,
            "gpu_limit_w": None if limit is None else limit / 1000,
            "throttle": throttle_words(reasons or 0),
        }

    def _open(self) -> None:
        try:
            import pynvml as nvml

            nvml.nvmlInit()
            self._nvml = nvml
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            uuids = [_text(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
            # CUDA's numbers and the driver's differ where cards do, so what torch said is surer than the environment.
            places = [uuids.index(self._uuid)] if self._uuid in uuids else shown_gpus(os.environ.get(VISIBLE), uuids)
            if places:
                self._handle, self._name = handles[places[0]], _text(nvml.nvmlDeviceGetName(handles[places[0]]))
        except Exception:  # a missing or broken driver shows itself in many ways; without it there is no GPU to tell of
            self._handle = None


def throttle_words(reasons: int) -> tuple[str, ...]:
    """NVML's bits for lowered clocks, in words."""
    return tuple(word for bits, word in _THROTTLES if reasons & bits)


def worth_telling(before: TelemetrySample | None, now: TelemetrySample, age_s: float) -> bool:
    """Whether a reading says something new, `age_s` seconds after the one that was told last."""
    if before is None or age_s >= TOLD_AT_LEAST_S or now.throttle != before.throttle:
        return True
    for name, noticeable in _NOTICEABLE.items():
        old, new = getattr(before, name), getattr(now, name)
        if (old is None) != (new is None) or (new is not None and abs(new - old) >= noticeable):
            return True
    return False


def _text(value: str | bytes) -> str:
    """Old bindings answer with bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
