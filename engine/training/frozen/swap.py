"""Blocks whose weights lie in pinned host memory and are copied into a few places on the card ahead of their use.

A pass goes through the blocks in one direction: forwards, then backwards, where each block is computed again. The blocks that are
swapped take the places in turn. While a block is at work, those that come next are copied on a stream of their own. The pattern of copies
is the same in each step, so a whole step with its copies can be recorded as a CUDA graph.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loratui.engine.errors import CannotPinError
from loratui.engine.planning.rungs import SLOTS
from loratui.engine.training.frozen.linear import WEIGHT, FrozenLinear
from loratui.engine.training.reporting import first_line
from loratui.engine.words import GIB

ALIGNMENT = 256
"""Bytes; what the card's products want the address of a matrix to be a multiple of."""
ARENA = 2**30
"""Bytes of the smallest piece of pinned memory: torch rounds each up to a power of two."""
UNUSED = 1 / 8
"""Share of a piece that may stay unused."""


@dataclass(frozen=True)
class _Piece:
    """A buffer of a layer as bytes of its block."""

    layer: FrozenLinear
    name: str
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    def of(self, block: Tensor) -> Tensor:
        """The buffer in the bytes of a block."""
        length = self.dtype.itemsize
        for side in self.shape:
            length *= side
        return block[self.start : self.start + length].view(self.dtype).view(self.shape)


@dataclass
class _Block:
    pieces: tuple[_Piece, ...]
    host: Tensor
    """Its bytes in host memory."""
    resident: bool = False
    """Whether its weights stay on the card."""


class BlockSwap:
    """The weights of the blocks of one model.

    `bring(n)` must be called before block n is computed, each time: it lets the computation wait until the block is there, and has the
    next ones copied. Blocks are numbered from 0 in the order of a forward pass.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_card = device.type == "cuda"
        self._arenas = _Arenas(pinned=self._on_card)
        self._blocks: list[_Block] = []
        self._slots: list[Tensor] = []
        """Made when the first block is brought, as large as the largest."""
        self._stream = torch.cuda.Stream(device) if self._on_card else None  # type: ignore[no-untyped-call]  # torch gives it no types
        self._last = 0
        self.keep(frozenset())

    def add(self, block: nn.Module) -> None:
        """Moves the weights of a block's `FrozenLinear`s into host memory, pinned where there is a card. Its number is the next."""
        pieces, host = side_by_side(block, self._arenas.take)
        self._blocks.append(_Block(pieces, host))
        self.keep(frozenset())

    @property
    def sizes(self) -> list[int]:
        """Bytes of each block."""
        return [len(block.host) for block in self._blocks]

    @property
    def resident(self) -> int:
        """How many blocks stay on the card."""
        return sum(block.resident for block in self._blocks)

    def keep(self, numbers: Collection[int]) -> None:
        """Lets these blocks stay on the card from now on, and no others. Not while a graph with their addresses is in use."""
        for number, block in enumerate(self._blocks):
            if block.resident and number not in numbers:
                _set(block, block.host)
            elif not block.resident and number in numbers:
                _set(block, block.host.to(self._device, copy=True))
            block.resident = number in numbers
        self._swapped = [number for number, block in enumerate(self._blocks) if not block.resident]
        """Their numbers; the nth of them takes place n mod `SLOTS`."""
        self._held: list[int | None] = [None] * SLOTS
        self._ready: list[torch.cuda.Event | None] = [None] * SLOTS
        """When a place's copy is done."""
        self._recorded = [False] * SLOTS
        """Whether a place's copy was recorded as part of a graph."""

    def bring(self, number: int) -> None:
        """Has block `number` ready for what is computed next, and the blocks after it in the direction of the pass on their way."""
        back = 0 < number < self._last
        self._last = number
        if back:
            nearest = bisect_right(self._swapped, number) - 1
            ahead = range(nearest, max(-1, nearest - SLOTS), -1)
        else:
            nearest = bisect_left(self._swapped, number)
            ahead = range(nearest, min(len(self._swapped), nearest + SLOTS))
        for turn in ahead:
            self._load(turn)
        block = self._blocks[number]
        if block.resident:
            return
        place = nearest % SLOTS
        ready = self._ready[place]
        # Else a graph began or ended since, and waited for all copies.
        if ready is not None and self._recorded[place] == _records(self._on_card):
            ready.wait()
        _set(block, self._slots[place][: len(block.host)])

    def join(self) -> None:
        """Ends what copies a recording has begun, so that it can be broken off."""
        if self._stream is None:
            return
        with torch.cuda.stream(self._stream):
            records = torch.cuda.is_current_stream_capturing()
        if records:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def _load(self, turn: int) -> None:
        place, records = turn % SLOTS, _records(self._on_card)
        # What was only recorded is there if the graph has run since; a recording that failed has copied nothing.
        if self._held[place] == turn and (records or not self._recorded[place]):
            return
        self._held[place], self._recorded[place] = turn, records
        host = self._blocks[self._swapped[turn]].host
        if not self._slots:
            self._slots = [torch.empty(max(self.sizes), dtype=torch.uint8, device=self._device) for _ in range(SLOTS)]
        there = self._slots[place][: len(host)]
        if self._stream is None:
            there.copy_(host)
            return
        # The block that held the place comes before the one at work, so the place is free once what is queued so far is done.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            there.copy_(host, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch gives it no types
            event.record()
        self._ready[place] = event


def _records(on_card: bool) -> bool:
    return on_card and torch.cuda.is_current_stream_capturing()


def _set(block: _Block, whole: Tensor) -> None:
    for piece in block.pieces:
        setattr(piece.layer, piece.name, piece.of(whole))


def side_by_side(block: nn.Module, take: Callable[[int], Tensor]) -> tuple[tuple[_Piece, ...], Tensor]:
    """Moves the weights of a block's `FrozenLinear`s into one tensor of bytes: `take(n)` makes (n,) of them, anywhere."""
    layers = [layer for layer in block.modules() if isinstance(layer, FrozenLinear)]
    buffers = [(layer, name, value) for layer in layers for name in WEIGHT if (value := getattr(layer, name)) is not None]
    pieces, length = [], 0
    for layer, name, value in buffers:
        pieces.append(_Piece(layer, name, length, value.dtype, tuple(value.shape)))
        length += -(-value.numel() * value.element_size() // ALIGNMENT) * ALIGNMENT
    moved = take(length)
    for piece, (layer, name, value) in zip(pieces, buffers, strict=True):
        piece.of(moved).copy_(value)
        setattr(layer, name, piece.of(moved))
    return tuple(pieces), moved


def arena_bytes(length: int) -> int:
    """Bytes of a pinned piece for blocks of this length: a power of two of which they leave little unused."""
    sizes = [size for size in (ARENA, 2 * ARENA, 4 * ARENA) if size >= length]
    return next((size for size in sizes if size % length <= size * UNUSED), 1 << (length - 1).bit_length())


class _Arenas:
    """Host memory in few large pieces."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._rest = torch.empty(0, dtype=torch.uint8)

    def take(self, length: int) -> Tensor:
        """(length,) bytes that nothing else uses."""
        if len(self._rest) < length:
            size = arena_bytes(length) if self._pinned else length
            try:
                self._rest = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
            except RuntimeError as error:
                if not self._pinned:
                    raise
                raise CannotPinError(
                    f"{size / GIB:.1f} GiB of main memory cannot be pinned: {first_line(error)}",
                    "Free main memory, or raise the limits of the container (memory, ulimit -l).",
                ) from error
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken
