"""What the processes of one run exchange: sums of gradients, and the word of the writer."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from loratui.engine.errors import UsageError
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.world import ALONE, OWN_STORE, World
from loratui.engine.training.together import STORE, LeftAloneError

WORD_WITHIN = timedelta(hours=4)
"""How long the others wait for the writer, which alone encodes what is missing and makes samples. torch's launchers notice a death
at once; this ends a run whose writer hangs."""

SUM_WITHIN = timedelta(minutes=30)
"""How long a process waits for the gradients of another, which may still be compiling."""


@dataclass(frozen=True)
class Team:
    """The processes of a run, as one of them sees them."""

    world: World = ALONE
    gradients: ProcessGroup | None = None
    """For sums: NCCL on GPUs, else gloo. None for a single process."""
    words: ProcessGroup | None = None
    """For what is said, in main memory."""

    def on(self, device: torch.device) -> Team:
        """With a group for sums of tensors on `device`."""
        if self.words is None:
            return self
        backend = "nccl" if device.type == "cuda" else "gloo"
        with left_alone():
            return replace(self, gradients=dist.new_group(backend=backend, timeout=SUM_WITHIN))

    def leave(self) -> None:
        """After the last exchange."""
        if self.words is not None:
            dist.destroy_process_group()

    def told(self, value: bool) -> bool:
        """The writer's `value`, in every process."""
        return bool(self._exchange(float(value), "told"))

    def least(self, value: float) -> float:
        """The smallest `value` of all processes."""
        return self._exchange(value, "least")

    def same(self, text: str) -> bool:
        """Whether all processes have the same text."""
        number = float(zlib.crc32(text.encode()))
        return self.least(number) == -self.least(-number)

    def summed(self, values: Sequence[float]) -> list[float]:
        """The sum of the processes' `values`, place by place."""
        if self.words is None:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        with left_alone():
            dist.all_reduce(numbers, group=self.words)
        found: list[float] = numbers.tolist()
        return found

    @contextmanager
    def writer_first(self) -> Iterator[None]:
        """Lets the writer through the block first, so the others find the files that it makes there."""
        if not self.world.is_writer:
            self.told(True)
        yield
        if self.world.is_writer:
            self.told(True)

    def _exchange(self, value: float, how: str) -> float:
        if self.words is None:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        with left_alone():
            if how == "told":
                dist.broadcast(number, src=0, group=self.words)
            else:
                dist.all_reduce(number, op=dist.ReduceOp.MIN, group=self.words)
        return float(number)


@contextmanager
def left_alone() -> Iterator[None]:
    """Turns the failure of an exchange into `LeftAloneError`."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LeftAloneError(str(error)) from error


def joined(world: World) -> Team:
    """The processes of `world`, which find each other as `together` or torchrun arranged it."""
    if world.size == 1:
        return Team(world)
    store = os.environ.get(STORE)
    if (
        not store
        and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    ):
        raise UsageError(
            "torchrun has started the processes again, and they cannot find each other: its store has the addresses of those before.",
            f"Start torchrun with {OWN_STORE}=1 in its environment, as in the line that loratui train --machines prints.",
        )
    with left_alone():
        dist.init_process_group(
            "gloo",
            init_method=f"file://{store}" if store else "env://",
            rank=world.rank,
            world_size=world.size,
            timeout=WORD_WITHIN,
        )
    return Team(world, words=dist.group.WORLD)
