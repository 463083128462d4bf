"""Which builds of torch there are for NVIDIA cards, which driver and which cards each is for, and the line that installs one."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

Version = tuple[int, ...]
Capability = tuple[int, int]
"""Compute capability of a card: (7, 5) is a T4."""

INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True, slots=True)
class Build:
    """One index of wheels at `INDEX`; torch 2.6 or newer is on each."""

    tag: str
    least_driver: Version
    oldest: Capability
    newest: Capability
    """Cards that its newest wheels have kernels for."""


BUILDS: tuple[Build, ...] = (
    Build("cu130", (580,), (7, 5), (12, 1)),
    Build("cu128", (570, 26), (7, 5), (12, 1)),
    Build("cu126", (525, 60, 13), (5, 0), (9, 0)),
    Build("cu118", (450, 80, 2), (5, 0), (9, 0)),
)
"""Newest first. A driver serves every build of its CUDA's major version (NVIDIA's minor version compatibility), but 12.8
is offered only from the driver that came with it, since 12.6 serves the older ones as well.

Sources: NVIDIA's CUDA release notes, tables 2 and 3; pytorch/pytorch#157517 for the cards.
"""

LEAST_DRIVER_OF_CUDA = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580,)}
"""By CUDA's major version."""


def version_of(text: str) -> Version:
    """The numbers of a version: `550.54.14` is (550, 54, 14), `13.0` is (13, 0); empty where it begins with none."""
    found = re.match(r"\d+(?:\.\d+)*", text.strip())
    return tuple(int(part[:9]) for part in found.group().split(".")) if found else ()


def build_for(driver: str, capability: Capability | None) -> Build | None:
    """The newest build that this driver serves and that has kernels for the card; None if there is none.

    A card whose capability is unknown is taken for one that every build serves.
    """
    found = version_of(driver)
    for build in BUILDS:
        if found >= build.least_driver and (capability is None or build.oldest <= capability <= build.newest):
            return build
    return None


def is_served(driver: str, cuda: str) -> bool | None:
    """Whether a driver serves a torch built for this CUDA; None for a version that is not in the table."""
    needed = LEAST_DRIVER_OF_CUDA.get((version_of(cuda) or (0,))[0])
    return None if needed is None or not version_of(driver) else version_of(driver) >= needed


def driver_words(cuda: str) -> str:
    """`580 or newer`: the drivers that serve a torch built for this CUDA."""
    needed = LEAST_DRIVER_OF_CUDA.get((version_of(cuda) or (0,))[0])
    return f"{'.'.join(f'{part:02d}' for part in needed)} or newer" if needed else "a newer one"


def has_kernels(capability: Capability, arches: Sequence[str]) -> bool:
    """Whether a torch built for `arches` (`sm_86`, `compute_90`, as `torch.cuda.get_arch_list` has them) runs on a card.

    Machine code runs on cards of the same major version and the same or a higher minor one, PTX on all that are newer. An
    empty list says nothing against it. Source: CUDA C programming guide, "Application compatibility".
    """
    for arch in arches:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if found is None:
            continue
        built = int(found[2]), int(found[3])
        if found[4] == "a":  # for this very card
            fits = built == capability
        elif found[1] == "sm":
            fits = built[0] == capability[0] and built[1] <= capability[1]
        else:
            fits = built <= capability
        if fits:
            return True
    return not arches


def install_line(driver: str, capability: Capability | None) -> str:
    """The command that installs a torch which works with this driver and card, into the environment that runs this; empty if
    there is none."""
    build = build_for(driver, capability)
    if build is None:
        return ""
    python = shlex.quote(sys.executable or "python3")
    # An environment made by uv has no pip.
    command = f"{python} -m pip install --force-reinstall" if _has_pip() else f"uv pip install --python {python} --reinstall"
    return f"{command} torch --index-url {INDEX}/{build.tag}"


def install_words(driver: str, capability: Capability | None) -> str:
    """What to do for a torch that works with this driver and card, as a sentence."""
    line = install_line(driver, capability)
    if line:
        return f"Install the torch for this driver: {line}"
    if not version_of(driver):
        return "Install a torch that fits the driver: https://pytorch.org/get-started/locally says which."
    if version_of(driver) < BUILDS[-1].least_driver:
        return f"No torch works with driver {driver}: update it, best to {driver_words('13')}, or rent another machine."
    return "No torch that loratui works with has kernels for this card and driver: update the driver or rent another machine."


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None
