"""The processes that train one run together, and what each has to do with a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""With this variable set to 1, torchrun makes a new store each time that it starts the processes. In the one that it shares otherwise (torch
2.13), processes that are started again wait for the addresses of those before, for hours."""


@dataclass(frozen=True, slots=True)
class World:
    """The place of one process among `size` that train together, each on its own GPU.

    An optimizer step is made of `Training.window_batches` batches, in an order that every process knows; each computes the
    gradients of its own share and adds them to those of the others. `size` is mostly `training.processes`; with another
    the same steps are only shared in another way. What a batch draws at random follows from its number in
    the whole run (`derived_seed`) and from neither rank nor size, and its loss is divided by the images of the whole window:
    so the sum of all gradients is what one process would compute of the whole window, but for rounding.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Its place among the `local_size` processes of its machine."""
    local_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} of {self.size}: ranks are counted from 0 to one less than the size")

    @property
    def is_writer(self) -> bool:
        """Whether this process writes what the run leaves behind: events, checkpoints, samples, LoRA files."""
        return self.rank == 0

    def share(self, batches: Sequence[T]) -> Iterator[tuple[int, T]]:
        """What this process computes of a window: (place in the window, batch). A short window may leave it nothing."""
        return ((place, batches[place]) for place in range(self.rank, len(batches), self.size))


ALONE = World()
"""The one process of a run that no other trains."""
