"""The card that training uses here: what the driver lists compared with what torch can use, for all who ask, in one place."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loratui.engine import durable, jobs, untrusted
from loratui.engine.errors import ExitCode, GpuLostError, LoratuiError, UsageError
from loratui.engine.machine import hardware
from loratui.engine.machine.cuda_builds import Capability, driver_words, has_kernels, install_words, is_served
from loratui.engine.machine.gpu_faults import fault_of
from loratui.engine.machine.hardware import Gpu, Listing

VISIBLE = "CUDA_VISIBLE_DEVICES"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """A card as torch has it."""

    name: str
    capability: Capability
    total_gib: float
    uuid: str = ""
    pci: str = ""
    """`00000000:17:00`: domain, bus and device."""
    link_gb_s: float | None = None
    """Rate of copies from pinned main memory, as measured; None: not measured."""


@dataclass(frozen=True, slots=True)
class TorchFacts:
    """What torch says of itself and of the cards that it can use, in its own order."""

    version: str = ""
    cuda: str = ""
    """The CUDA that it is built for; empty for a build for CPUs or AMD cards."""
    hip: str = ""
    """The ROCm that it is built for."""
    arches: tuple[str, ...] = ()
    """What it has kernels for."""
    devices: tuple[TorchDevice, ...] = ()
    problem: str = ""
    """What went wrong when it looked for cards, or computed something small on the first of them."""
    broken: str = ""
    """Why it cannot be loaded at all."""
    late: bool = False
    """It did not answer in time, and was ended."""


@dataclass(frozen=True, slots=True)
class Card:
    """The card that training uses."""

    name: str
    total_gib: float
    capability: Capability
    uuid: str = ""
    link_gb_s: float | None = None
    """As `TorchDevice` has it."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Where training happens on this machine, unless a person chooses the CPU."""

    card: Card | None = None
    """None: the CPU, or nothing at all where there is a `problem`."""
    problem: str = ""
    """Why a card that is here cannot be used; training is refused then, unless it is on the CPU by name."""
    remedy: str = ""
    code: ExitCode = ExitCode.USAGE
    """Of the refusal: `USAGE` for what must be installed or set, `GPU_LOST` for a card that does not work now."""
    together: tuple[str, ...] = ()
    """UUIDs of the cards that can train one run together: those like `card`, itself first."""
    host_gib: float = math.inf
    """Main memory that is free beside the card, where that is known."""
    listed: tuple[Gpu, ...] = ()
    """The driver's answer for the cards of `together` in their order: what is free and who holds the rest at this moment. Empty for
    slices of a card, of which it knows too little."""
    hidden: tuple[int, ...] = ()
    """Numbers of the driver's cards that torch is not shown, because of CUDA_VISIBLE_DEVICES."""

    @property
    def vram_gib(self) -> float | None:
        """GPU memory; None without a card."""
        return self.card.total_gib if self.card else None

    def refusal(self) -> LoratuiError:
        """The `problem` as an error with its exit code."""
        kind = GpuLostError if self.code == ExitCode.GPU_LOST else UsageError
        return kind(self.problem, self.remedy)


NO_GPU = Accelerator()
_SLICE = 0.9
"""Share of the driver's card that torch must have, or it has a slice."""
_asking = threading.Lock()


def accelerator() -> Accelerator:
    """Asks the driver and, where there is a GPU, torch in a process of its own, which takes seconds at the first time."""
    listed = hardware.listing(hardware.NVML_COLD_S)
    found = judge(listed, torch_facts(listed) if has_gpu(listed) else None, os.environ.get(VISIBLE))
    return replace(found, host_gib=hardware.ram().free_gib or math.inf) if found.card else found


def has_gpu(listed: Listing) -> bool:
    """Whether there is anything to ask torch about: a GPU, or a torch that would take another maker's."""
    return bool(listed.gpus) or hardware.has_device_file() or "+rocm" in (_torch_version() or "")


def judge(listed: Listing, facts: TorchFacts | None, visible: str | None) -> Accelerator:
    """What follows from the driver's answer, torch's answer and CUDA_VISIBLE_DEVICES. `facts` None: there is no GPU to ask for."""
    if facts is None:
        return Accelerator()
    driver = next((gpu.driver for gpu in listed.gpus), "")
    shown = [listed.gpus[place] for place in shown_gpus(visible, [gpu.uuid for gpu in listed.gpus])]
    chosen = shown[0] if shown else next(iter(listed.gpus), None)
    install = install_words(driver, chosen.capability if chosen else None)
    if facts.late:
        here = f" ({chosen.name})" if chosen else ""
        message = (
            f"torch did not answer within {jobs.JOBS['torch'].answer_s:.0f} s: its disk is very slow, or the GPU{here} hangs."
        )
        return _refused(message, "Try again. If nvidia-smi hangs too, restart the machine or rent another.", ExitCode.GPU_LOST)
    if facts.broken:
        return _refused(f"torch cannot be loaded: {facts.broken}", install)
    if facts.hip:
        return _refused(f"torch {facts.version} is a build for AMD cards, which loratui does not train on.", install)
    if not facts.devices:
        if not listed.gpus and not listed.problem:
            return NO_GPU
        return _without_devices(listed, facts, visible, shown, install)
    return _with_devices(listed, facts, visible, driver)


def _with_devices(listed: Listing, facts: TorchFacts, visible: str | None, driver: str) -> Accelerator:
    first = facts.devices[0]
    here = match(listed.gpus, first)
    name, capability = first.name, first.capability
    if not has_kernels(capability, facts.arches):
        message = f"torch {facts.version} has no kernels for {name}, compute capability {_dotted(capability)}."
        other = next((one for one in facts.devices if has_kernels(one.capability, facts.arches)), None)
        card = match(listed.gpus, other) if other else None
        instead = f"Set {VISIBLE}={card.uuid} to train on {card.name}, or: " if card and card.uuid else ""
        return _refused(message, f"{instead}{install_words(driver, capability)}")
    fault = fault_of(facts.problem) if facts.problem else None
    if facts.problem and (fault is None or fault.id != "gpu_memory"):  # a card that is full now works all the same
        sentence = fault.sentence if fault else "torch cannot compute on it."
        advice = fault.advice.format(install=install_words(driver, capability)) if fault else install_words(driver, capability)
        code = fault.code if fault else ExitCode.USAGE
        return _refused(f"{name}: {sentence} (torch {facts.version}: {facts.problem})", advice, code)
    matched = [match(listed.gpus, device) for device in facts.devices]
    used = {gpu.index for gpu in matched if gpu is not None}
    hidden = tuple(gpu.index for gpu in listed.gpus if gpu.index not in used) if visible is not None and all(matched) else ()
    alike = [
        gpu
        for gpu, device in zip(matched, facts.devices, strict=True)
        if (device.name, device.capability) == (name, capability)
    ]
    together = tuple(dict.fromkeys(gpu.uuid for gpu in alike if gpu is not None and gpu.uuid))
    whole = {gpu.index: gpu for gpu in alike if gpu is not None and first.total_gib > _SLICE * gpu.total_gib}
    # Of a slice of a card (MIG) torch alone knows name and size.
    return Accelerator(
        Card(name, first.total_gib, capability, here.uuid if here else first.uuid, first.link_gb_s),
        together=together,
        listed=tuple(whole.values()),
        hidden=hidden,
    )


def _without_devices(
    listed: Listing, facts: TorchFacts, visible: str | None, shown: Sequence[Gpu], install: str
) -> Accelerator:
    if not listed.gpus:
        lost = fault_of(listed.problem)
        message = f"This machine has an NVIDIA GPU, but its driver cannot be used: {listed.problem}."
        code = lost.code if lost else ExitCode.USAGE
        return _refused(message, "Restart the machine; where that does not help, rent another.", code)
    card = (shown or listed.gpus)[0]
    driver = card.driver
    if not facts.cuda:
        return _refused(f"{card.name} is here, but torch {facts.version} is a build for CPUs.", install)
    if is_served(driver, facts.cuda) is False:
        message = (
            f"{card.name} is here, but its driver {driver} is too old for torch {facts.version}, which is built for CUDA "
            f"{facts.cuda} and needs driver {driver_words(facts.cuda)}."
        )
        return _refused(message, install)
    fault = fault_of(facts.problem) or fault_of(listed.problem)
    if visible is not None and not shown and (fault is None or fault.id == "gpu_lost"):  # no device is all that is left to find
        message = f'{VISIBLE} is "{visible[:80]}", which hides every GPU of this machine from torch ({card.name}).'
        return _refused(message, f"Take it back with unset {VISIBLE}, or set it to 0.")
    said = f" (torch {facts.version}: {facts.problem})" if facts.problem else ""
    if fault is not None:
        return _refused(f"{card.name}: {fault.sentence}{said}", fault.advice.format(install=install), fault.code)
    return _refused(f"{card.name} is here, but torch {facts.version} cannot use it.{said}", install)


def _refused(problem: str, remedy: str, code: ExitCode = ExitCode.USAGE) -> Accelerator:
    return Accelerator(None, problem, remedy, code)


def match(gpus: Sequence[Gpu], device: TorchDevice) -> Gpu | None:
    """The driver's card that a device of torch is. Their orders differ: the driver goes by the place on the bus, CUDA puts the fastest
    first."""
    for gpu in gpus:
        if device.uuid and _bare(gpu.uuid) == _bare(device.uuid):
            return gpu
    for gpu in gpus:
        if device.pci and gpu.pci.lower().split(".")[0].endswith(device.pci.lower()):
            return gpu
    alike = [gpu for gpu in gpus if gpu.name == device.name]
    if len(alike) == 1:
        return alike[0]
    return gpus[0] if len(gpus) == 1 else None


def shown_gpus(visible: str | None, uuids: Sequence[str]) -> tuple[int, ...]:
    """Places of the cards that CUDA_VISIBLE_DEVICES names, up to the first name that means none, as CUDA reads it.

    `visible` has numbers or (beginnings of) UUIDs; None: the variable is not set, which means all.
    """
    if visible is None:
        return tuple(range(len(uuids)))
    found: list[int] = []
    for word in (part.strip() for part in visible.split(",")):
        if word.isdecimal() and len(word) < 6:
            named = [int(word)] if int(word) < len(uuids) else []
        elif word.startswith("GPU-"):
            named = [place for place, uuid in enumerate(uuids) if uuid.startswith(word)]
        else:
            # A slice (MIG-…) belongs to a card that cannot be told from its name; with one card there is no doubt.
            named = [0] if word.startswith("MIG-") and len(uuids) == 1 else []
        if len(named) != 1:
            break
        if named[0] in found:  # CUDA shows nothing at all then
            return ()
        found += named
    return tuple(found)


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-")


def _dotted(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


# ---- torch's answer, and keeping it


def facts_of(table: Mapping[str, Any]) -> TorchFacts:
    """Torch's answer from its JSON. Raises `ValueError`, `KeyError` or `TypeError` for what is none."""
    devices = tuple(
        TorchDevice(
            name=str(one["name"]),
            capability=(int(one["capability"][0]), int(one["capability"][1])),
            total_gib=float(one["total_gib"]),
            uuid=str(one.get("uuid", "")),
            pci=str(one.get("pci", "")),
            link_gb_s=float(one["link_gb_s"]) if one.get("link_gb_s") else None,
        )
        for one in table["devices"]
    )
    words = {name: str(table.get(name) or "") for name in ("version", "cuda", "hip", "problem", "broken")}
    return TorchFacts(**words, late=False, arches=tuple(str(arch) for arch in table["arches"]), devices=devices)


def torch_facts(listed: Listing) -> TorchFacts:
    """What torch says, from the person's cache where nothing that it depends on has changed since it found a card in order."""
    key = _key(listed)
    with _asking:  # torch takes gigabytes: two screens that ask at once share one answer
        return _kept(key) or _asked(key)


def _kept(key: str) -> TorchFacts | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        kept = untrusted.read_json(_cache_file())
        if kept["format"] == FORMAT and kept["key"] == key:
            return facts_of(kept["facts"])
    return None


def _asked(key: str) -> TorchFacts:
    facts = _ask_torch()
    if facts.devices and not (facts.problem or facts.broken):  # the next look may find it fixed
        durable.remember(_cache_file(), {"format": FORMAT, "key": key, "facts": asdict(facts)})
    return facts


def _ask_torch() -> TorchFacts:
    """Has a process of its own load torch: the app never does."""
    try:
        return facts_of(jobs.run("torch", None))
    except jobs.JobDied as error:
        return TorchFacts(late=True) if error.late_s else TorchFacts(broken=f"the process that loaded it {error.why}")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return TorchFacts(broken=f"the process that loaded it gave an answer that is none: {error}")


def _key(listed: Listing) -> str:
    cards = [[gpu.uuid, gpu.pci, gpu.name, gpu.driver] for gpu in listed.gpus]
    names = (VISIBLE, "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH", "PYTHONPATH", "NVIDIA_VISIBLE_DEVICES")
    parts = [_torch_version(), sys.executable, cards, listed.problem, *(os.environ.get(name) for name in names)]
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _torch_version() -> str | None:
    return hardware.versions(["torch"])["torch"]


def cache_folder() -> Path:
    """Where loratui keeps what it measured of this machine; `LORATUI_CACHE` names another folder."""
    configured = os.environ.get("LORATUI_CACHE")
    if configured:
        return Path(configured)
    from platformdirs import user_cache_path

    return user_cache_path("loratui")


def _cache_file() -> Path:
    return cache_folder() / "torch.json"
