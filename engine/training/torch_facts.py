"""What torch can use here; as a job for processes that do not load torch."""

from __future__ import annotations

import itertools
import os
import re
import statistics
import warnings
from typing import Any

from loratui.engine.job_child import Answer, Parent
from loratui.engine.words import GIB

_MOST = 400
"""Characters kept of an error."""


_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Where torch reads how it allocates: since 2.9, and before."""
_GROWING = "expandable_segments:"

_LINK_BYTES, _COPIES = 1 << 26, 5
"""What is copied to measure the link to a card, and how often."""


def let_memory_grow() -> None:
    """Has torch grow its pieces of a card's memory, before it is loaded. In pieces of fixed sizes a recorded step finds no room
    where the step itself fits: 11 GiB took 750 ms for a step of FLUX, and take 451. What a person has set stays."""
    if not any(name in os.environ for name in _ALLOCATOR):
        os.environ.update(dict.fromkeys(_ALLOCATOR, f"{_GROWING}True"))


def compute_once(torch: Any) -> None:
    """A first computation on the card. Missing kernels, and a card that others hold, show only in one.

    Some virtual cards, and Windows' subsystem with some drivers, cannot grow memory: then it is taken in pieces from now on.
    """
    try:
        torch.ones(8, device="cuda").sum().item()
    except RuntimeError:
        if not any(_GROWING in os.environ.get(name, "") for name in _ALLOCATOR):
            raise
        torch.cuda.memory._set_allocator_settings(f"{_GROWING}False")  # also of a torch that has a newer name for it
        torch.ones(8, device="cuda").sum().item()


def gather(*, link: bool = False) -> dict[str, Any]:
    """The fields of `machine.accelerator.TorchFacts`; `link`: with the measured rate of copies to the first card. Never raises."""
    try:
        import torch
    except Exception as error:  # a missing library, another Python, half an installation: all are reported alike
        return _table(broken=_words(error))
    found = _table(version=str(torch.__version__), cuda=torch.version.cuda or "", hip=torch.version.hip or "")
    if found["hip"] or not found["cuda"]:
        return found
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            # A torch without a usable driver has no list of its kernels either.
            usable = torch.cuda.is_available()
            found["arches"] = torch.cuda.get_arch_list() if usable else []
            found["devices"] = [_device(torch, index) for index in range(torch.cuda.device_count())] if usable else []
            if found["devices"]:
                compute_once(torch)
                if link:
                    found["devices"][0]["link_gb_s"] = _link_gb_s(torch)
        except Exception as error:  # as above
            found["problem"] = _words(error)
    if not found["devices"] and not found["problem"] and said:
        found["problem"] = _words(said[-1].message)
    return found


def _table(**known: Any) -> dict[str, Any]:
    return {"version": "", "cuda": "", "hip": "", "arches": [], "devices": [], "problem": "", "broken": "", **known}


def _device(torch: Any, index: int) -> dict[str, Any]:
    known = torch.cuda.get_device_properties(index)
    place = [getattr(known, name, None) for name in ("pci_domain_id", "pci_bus_id", "pci_device_id")]
    return {
        "name": str(known.name),
        "capability": [int(known.major), int(known.minor)],
        "total_gib": known.total_memory / GIB,
        "uuid": str(getattr(known, "uuid", "") or ""),
        "pci": "" if None in place else f"{place[0]:08x}:{place[1]:02x}:{place[2]:02x}",
    }


def _link_gb_s(torch: Any) -> float | None:
    """GB/s of copies from pinned main memory to the first card; None where too little of either memory is free to measure it."""
    try:
        host = torch.empty(_LINK_BYTES, dtype=torch.uint8, pin_memory=True)
        card = torch.empty_like(host, device="cuda")
    except RuntimeError:
        return None
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(_COPIES + 1)]
    card.copy_(host, non_blocking=True)  # the first one takes longer
    for number, mark in enumerate(marks):
        if number:
            card.copy_(host, non_blocking=True)
        mark.record()
    torch.cuda.synchronize()
    taken_ms = [before.elapsed_time(after) for before, after in itertools.pairwise(marks)]
    rate: float = _LINK_BYTES / 1e6 / statistics.median(taken_ms)
    return round(rate, 1)


def _words(error: BaseException | Any) -> str:
    """The first sentence or so of an error, on one line, without links and hints for developers."""
    text = str(error).strip() or type(error).__name__
    text = re.split(r"\n|CUDA kernel errors might|Search for `|Please update your GPU driver|Compile with", text)[0]
    return re.sub(r"\s+", " ", text).strip()[:_MOST]


def begin(_: Parent) -> Answer:
    """Answers any request with what torch can use."""
    return lambda _: gather(link=True)
