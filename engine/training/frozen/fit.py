"""How many blocks keep their activations or stay on the card, decided by what the first real step took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loratui.engine.planning import figures
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.peak_memory import PeakMemory
from loratui.engine.words import GIB

LARGER_SPARES = (0.1, 0.2, 0.35)
"""What is left free instead of `figures.SPARE`, one after the other, where a recording found too little memory."""


@dataclass(frozen=True)
class Measured:
    """Bytes on the card."""

    peak: int
    """The most that was allocated in a step in which every block was computed again and none stayed on the card."""
    room: int
    """What torch may allocate."""

    spare: float = figures.SPARE
    """Share of the room that is left free."""

    @property
    def left(self) -> int:
        """What blocks may take beside that."""
        return int(self.room * (1 - self.spare)) - self.peak


def recomputed(measured: Measured, kept_bytes: Sequence[int]) -> int:
    """How many of the first blocks must be computed again, when keeping the activations of each takes `kept_bytes`."""
    count, left = len(kept_bytes), measured.left
    while count > 0 and kept_bytes[count - 1] <= left:
        left -= kept_bytes[count - 1]
        count -= 1
    return count


def resident(measured: Measured, sizes: Sequence[int], sampling: int) -> frozenset[int]:
    """The numbers of the blocks that stay on the card, as many as fit, spread evenly: so the copies of the others have the time of
    all blocks.

    `sizes` are the bytes of each block; `sampling` is the most that making a sample takes, which must fit as well.
    """
    left = measured.left - max(0, sampling - measured.peak)
    for count in range(len(sizes), 0, -1):
        chosen = [n for n in range(len(sizes)) if (n + 1) * count // len(sizes) > n * count // len(sizes)]
        if sum(sizes[n] for n in chosen) <= left:
            return frozenset(chosen)
    return frozenset()


class Fit:
    """Fits the blocks of one run into the room of its card."""

    def __init__(self, plan: MemoryPlan, blocks: Blocks, sampling_gib: float, peak: PeakMemory) -> None:
        """`sampling_gib` is what decoding a sample takes beside the weights. `peak` is that of the run."""
        self._plan, self._blocks, self._peak = plan, blocks, peak
        self._sampling = int(sampling_gib * GIB)
        self._measured: Measured | None = None
        self._sample = 0
        """The most that making a sample takes, bytes, and,"""
        self._kept_bytes: list[int] = []
        """for each block, what its activations take; both as of the measured step."""
        self._adjusts = plan.placement == "gpu" and plan.rung.recomputed[1] > 0
        self.due = self._adjusts
        """Whether the next step is to be measured."""
        if self.due:  # loading is over: its peak says nothing of a step
            peak.measure()

    def again(self) -> None:
        """Starts again from the least memory, since a step takes another amount from now on. Recordings must be gone."""
        if self._adjusts:
            self._give_back()
            for block in self._blocks.blocks:  # compiled, it keeps fewer
                block.kept_bytes = 0
            self.due = True
            self._peak.measure()

    def after_a_step(self, larger: float) -> str:
        """Decides by the step that was just made; returns what was decided, in words for the log.

        `larger` is how many times the pixels of this step the largest of the run has.
        """
        self.due = False
        torch.cuda.synchronize()
        resting = torch.cuda.memory_allocated()
        peak = resting + int((torch.cuda.max_memory_allocated() - resting) * larger)
        now = (
            torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
        )  # other programs may have come since the plan was made
        self._measured, self._sample = Measured(peak, min(int(self._plan.room_gib * GIB), now)), resting + self._sampling
        self._kept_bytes = [int(block.kept_bytes * larger) for block in self._blocks.blocks]
        decided = self._spread(self._measured)
        self._peak.measure()
        return f"{decided}; the step took {self._measured.peak / GIB:.2f} GiB of {self._measured.room / GIB:.2f}"

    def make_room(self) -> bool:
        """Leaves more memory free from now on; False if there is none to give back. Recordings must be gone."""
        before = self._given
        for spare in LARGER_SPARES:
            if self._measured is not None and spare > self._measured.spare and any(before):
                self._measured = replace(self._measured, spare=spare)
                decided = self._spread(self._measured)
                if self._given != before:
                    torch.cuda.empty_cache()
                    print(f"memory: {decided}, so that a step can be recorded", flush=True)
                    return True
        return False

    def _spread(self, measured: Measured) -> str:
        """Gives the blocks what is left; returns what was decided, in words."""
        blocks, swap = self._blocks, self._blocks.swap
        if swap is not None:
            chosen = resident(measured, swap.sizes, self._sample)
            torch.cuda.empty_cache()  # so that blocks that stay for good do not lie within memory that others could use
            swap.keep(chosen)
            return f"{len(chosen)} of {len(swap.sizes)} blocks stay on the card"
        if self._plan.recomputed == 1.0 == self._plan.rung.recomputed[0]:
            return "every block is computed again"
        again = recomputed(measured, self._kept_bytes)
        blocks.recompute(again)
        return f"{again} of {len(blocks.blocks)} blocks are computed again"

    def shrink(self) -> bool:
        """Takes the least memory from now on; False if it does already. Recordings must be gone."""
        if not self._adjusts or not any(self._given):
            return False
        self._give_back()
        torch.cuda.empty_cache()
        self._peak.forget()
        return True

    @property
    def _given(self) -> tuple[int, int]:
        """How many blocks keep their activations, and how many stay on the card."""
        swap = self._blocks.swap
        return sum(not block.recomputed for block in self._blocks.blocks), 0 if swap is None else swap.resident

    def _give_back(self) -> None:
        self._blocks.recompute(len(self._blocks.blocks))
        if self._blocks.swap is not None:
            self._blocks.swap.keep(frozenset())
