"""This machine as training sees it: GPUs, CPUs, memory, disk and installed versions, without loading torch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.machine import cgroup
from loratui.engine.machine.gpu_holders import Holder, holders
from loratui.engine.words import GIB

_DEV = Path("/dev")
_WSL_LIBRARIES = Path("/usr/lib/wsl/lib")
_NVML_PATIENCE_S = 1.0
NVML_COLD_S = 15.0
"""A driver that nothing keeps loaded takes 1 to 2 s for each card of the machine before it answers."""
_nvml_busy = threading.Lock()


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU. What the driver does not tell is None."""

    index: int
    name: str
    total_gib: float
    free_gib: float
    driver: str
    utilisation_percent: int | None
    temperature_c: int | None
    power_w: float | None
    uuid: str = ""
    """`GPU-` and 32 hexadecimal digits in groups."""
    pci: str = ""
    """Its place on the bus, `00000000:17:00.0`."""
    capability: tuple[int, int] | None = None
    """Compute capability."""
    held_by: tuple[Holder, ...] = ()
    """The other programs on it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the driver answers."""

    gpus: tuple[Gpu, ...]
    problem: str = ""
    """Why it lists none, or not all, although this machine was given some; empty where there is none to list."""


@dataclass(frozen=True, slots=True)
class Ram:
    """Main memory, within what the container allows."""

    total_gib: float
    free_gib: float
    limited: bool
    """Whether the container, and not the machine, sets `total_gib`."""


def gpus(timeout_s: float = _NVML_PATIENCE_S) -> tuple[Gpu, ...]:
    """The GPUs that the driver lists; none if there is no driver, or if it does not answer in time. Never raises."""
    return listing(timeout_s).gpus


def listing(timeout_s: float = _NVML_PATIENCE_S) -> Listing:
    """As `gpus`, with the reason where the machine has a GPU that the driver does not list. Never raises."""
    found: list[Listing] = []

    def ask() -> None:
        # A broken driver can hang for minutes: one thread at a time asks it, and none waits longer than its caller.
        if _nvml_busy.acquire(timeout=timeout_s):
            try:
                found.append(_ask_nvml())
            finally:
                _nvml_busy.release()

    worker = threading.Thread(target=ask, name="nvml", daemon=True)
    worker.start()
    worker.join(timeout_s)
    answer = found[0] if found else Listing((), "it does not answer")
    if answer.gpus:
        return answer
    return Listing((), answer.problem or "it lists none") if has_device_file() else Listing(())


def has_device_file() -> bool:
    """Whether the kernel, or the container, gives this machine an NVIDIA GPU, whatever its driver says."""
    boards = ("nvhost-gpu", "nvgpu")  # whose GPU shares the main memory
    if any(_DEV.glob("nvidia[0-9]*")) or any((_DEV / name).exists() for name in boards):
        return True
    # Windows' subsystem has this device for the GPUs of all makers; NVIDIA's driver brings a library.
    return (_DEV / "dxg").exists() and any(_WSL_LIBRARIES.glob("libcuda.so*"))


def allowed_cpus() -> int:
    """CPUs that this process may keep busy: its affinity and its container's quota, at least 1.

    More threads than that only make each other wait.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup.cpu_quota()
    return max(1, affinity if quota is None else min(affinity, round(quota)))


def cpu_name() -> str:
    """The processor's name, or its architecture where there is no /proc/cpuinfo."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def ram() -> Ram:
    """Memory of this machine or container; zeros where the system does not tell."""
    total, free = _meminfo()
    limit = cgroup.memory_limit_bytes()
    if limit is None or (total and limit >= total):
        return Ram(total / GIB, free / GIB, False)
    used = cgroup.memory_used_bytes() or 0
    return Ram(limit / GIB, min(max(0, limit - used), free or limit) / GIB, True)


def disk_free_gib(path: Path) -> float | None:
    """Free space for this user where `path` is or would be made; None if that cannot be read."""
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free / GIB
    return None


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Installed versions by package name, None where it is not installed. Imports none of them."""
    from importlib import metadata  # with all it imports it takes 20 ms, which the first screen does not need to wait for

    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _ask_nvml() -> Listing:
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception as error:  # a missing or broken driver shows itself in many ways, and none may stop the caller
        return Listing((), _reason(error))
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return _each_gpu(nvml, driver, nvml.nvmlDeviceGetCount())
    except Exception as error:  # as above
        return Listing((), _reason(error))
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


def _each_gpu(nvml: Any, driver: str, number: int) -> Listing:
    """A card that is lost takes none of the others with it."""
    found: list[Gpu] = []
    problem = ""
    for index in range(number):
        try:
            found.append(_gpu(nvml, index, driver))
        except Exception as error:  # as in `_ask_nvml`
            problem = _reason(error)
    return Listing(tuple(found), problem)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _gpu(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)

    def ask(question: Callable[[], Any]) -> Any:
        # Laptops, virtual GPUs and old bindings do not answer every question.
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            return question()
        return None

    rates = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    place = ask(lambda: nvml.nvmlDeviceGetPciInfo(handle).busId)
    capability = ask(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_gib=memory.total / GIB,
        free_gib=memory.free / GIB,
        driver=driver,
        utilisation_percent=None if rates is None else int(rates.gpu),
        temperature_c=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power_w=None if power is None else power / 1000,
        uuid=_text(ask(lambda: nvml.nvmlDeviceGetUUID(handle)) or ""),
        pci=_text(place or ""),
        capability=None if capability is None else (int(capability[0]), int(capability[1])),
        held_by=_held_by(nvml, handle),
    )


def _held_by(nvml: Any, handle: Any) -> tuple[Holder, ...]:
    with contextlib.suppress(Exception):  # whatever goes wrong with the names, the card is there
        return holders(nvml, handle)
    return ()


def _text(value: str | bytes) -> str:
    """Old bindings answer with bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _meminfo() -> tuple[int, int]:
    """Total and available bytes."""
    values: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) * 1024
    if "MemTotal" in values:
        return values["MemTotal"], values.get("MemAvailable", 0)
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 0
    return 0, 0
