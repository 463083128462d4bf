"""What benchmarks change inside the trainer: Python imports this first in each process that has this folder in PYTHONPATH.

`SLOW_LINK` is how many times as long each copy of a swapped block takes: it is repeated that often, on its own stream and between the same
events, so it takes the link's time in recorded steps too. `EVERY_STEP` writes an event for every step, however fast they are.
`product_run.inside` starts runs so; the product knows nothing of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def slow_down(swap: Any, times: str) -> None:
    """Has every copy of the `BlockSwap` of a module take so many times as long."""
    from unittest import mock

    import torch

    load, copy = swap.BlockSwap._load, torch.Tensor.copy_
    whole, part = int(float(times)), float(times) % 1

    def repeated(there: torch.Tensor, host: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        for _ in range(whole):
            copy(there, host, non_blocking)
        length = int(len(host) * part)
        copy(there[:length], host[:length], non_blocking)
        return there

    def slowly(self: Any, turn: int) -> None:
        with mock.patch.object(torch.Tensor, "copy_", repeated):
            load(self, turn)

    swap.BlockSwap._load = slowly
    print(f"benchmark: each block is copied {float(times):.2f} times", flush=True)


def tell_every_step(reporting: Any, _: str) -> None:
    """Has the `Reporter` of a module leave out no step."""
    reporting.STEPS_A_SECOND = float("inf")


CHANGES: Mapping[str, tuple[str, Callable[[Any, str], None]]] = {
    "SLOW_LINK": ("loratui.engine.training.frozen.swap", slow_down),
    "EVERY_STEP": ("loratui.engine.training.reporting", tell_every_step),
}
"""Variable -> the module that is changed once it is loaded, and the change."""


class _Finder(MetaPathFinder):
    def __init__(self, name: str, change: Callable[[Any], None]) -> None:
        self._name, self._change = name, change

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path) if name == self._name else None
        if found is not None and found.loader is not None:
            found.loader = _Changed(found.loader, self._change)
        return found


class _Changed(Loader):
    def __init__(self, loader: Loader, change: Callable[[Any], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


def _begin(variable: str) -> None:
    name, change = CHANGES[variable]
    if value := os.environ.get(variable):
        sys.meta_path.insert(0, _Finder(name, lambda module: change(module, value)))


for one in CHANGES:
    _begin(one)
