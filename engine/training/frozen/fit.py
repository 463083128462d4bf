"""How many blocks keep their activations or stay on the card, decided by what the first real step took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from loratui.engine.planning import figures
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.peak_memory import PeakMemory
from loratui.engine.words import GIB


@dataclass(frozen=True)
class Measured:
    """Bytes on the card."""

    peak: int
    """The most that was allocated in a step in which every block was computed again and none stayed on the card."""
    room: int
    """What torch may allocate."""

    @property
    def left(self) -> int:
        """What blocks may take beside that."""
        return int(self.room * (1 - figures.SPARE)) - self.peak


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
        measured = Measured(peak, int(self._plan.room_gib * GIB))
        blocks, swap = self._blocks, self._blocks.swap
        if swap is not None:
            chosen = resident(measured, swap.sizes, resting + self._sampling)
            swap.keep(chosen)
            decided = f"{len(chosen)} of {len(swap.sizes)} blocks stay on the card"
        elif self._plan.recomputed == 1.0 == self._plan.rung.recomputed[0]:
            decided = "every block is computed again"
        else:
            again = recomputed(measured, [int(block.kept_bytes * larger) for block in blocks.blocks])
            blocks.recompute(again)
            decided = f"{again} of {len(blocks.blocks)} blocks are computed again"
        self._peak.measure()
        return f"{decided}; the step took {measured.peak / GIB:.2f} GiB of {measured.room / GIB:.2f}"

    def shrink(self) -> bool:
        """Takes the least memory from now on; False if it does already. Recordings must be gone."""
        if not self._adjusts or not self._gave_any:
            return False
        self._give_back()
        torch.cuda.empty_cache()
        self._peak.forget()
        return True

    @property
    def _gave_any(self) -> bool:
        swap = self._blocks.swap
        return any(not block.recomputed for block in self._blocks.blocks) or (swap is not None and swap.resident > 0)

    def _give_back(self) -> None:
        self._blocks.recompute(len(self._blocks.blocks))
        if self._blocks.swap is not None:
            self._blocks.swap.keep(frozenset())
