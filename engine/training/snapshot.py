"""Snapshots of tensors in host memory, laid out as the files that are written of them."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from loratui.engine import disk_errors
from loratui.engine.machine import hardware
from loratui.engine.words import GIB

ALIGNMENT = 64
"""Bytes; each file begins at a multiple of it."""
MOST_BUFFERS = 2
"""One is written while the next snapshot is taken."""
SHARE = 0.5
"""Of the free main memory; loading a sample's text encoders and reading a checkpoint back need the rest."""
_SOON_S = 1.0
_LOOK_S = 0.2
_HEADER_BYTES = 256
"""What the header takes for one tensor, at the most; names have up to 150 letters."""

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""How safetensors names number formats."""


def new_bytes(length: int) -> Tensor:
    """(length,) bytes of main memory."""
    return torch.empty(length, dtype=torch.uint8)


class Packed(Mapping[str, Tensor]):
    """A copy of tensors, side by side in host memory behind their header: a safetensors file, byte for byte.

    The library's `save` copies everything twice, and no other thread runs meanwhile: 0.25 s for 344 MB. Writing this does not hold
    the training up.
    """

    def __init__(self, tensors: Mapping[str, Tensor], take: Callable[[int], Tensor] = new_bytes) -> None:
        """`take(n)` gives (n,) bytes. From a GPU the copies may still be on their way, in the order of the current stream."""
        order = sorted(
            tensors, key=lambda name: (-tensors[name].element_size(), name)
        )  # so that each lies at a multiple of its size
        table: dict[str, object] = {"__metadata__": {"format": "pt"}}
        ends = [0]
        for name in order:
            value = tensors[name]
            ends.append(ends[-1] + value.nbytes)
            table[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": ends[-2:]}
        header = json.dumps(table, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        start = 8 + len(header)
        whole = take(start + ends[-1])
        self.data = whole.numpy().data
        """The file."""
        self.data[:start] = len(header).to_bytes(8, "little") + header
        self._tensors = {
            name: whole[start + begin : start + end].view(tensors[name].dtype).view(tensors[name].shape)
            for name, begin, end in zip(order, ends, ends[1:], strict=False)
        }
        if order:
            torch._foreach_copy_(list(self._tensors.values()), [tensors[name].detach() for name in order], non_blocking=True)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class Buffer:
    """One piece of host memory, from which the files of one snapshot are taken."""

    def __init__(self, memory: Tensor) -> None:
        self._memory = memory
        self._used = 0

    def take(self, length: int) -> Tensor:
        """(length,) bytes that no other file of this snapshot has; of new memory where the buffer has too few left."""
        begin, end = self._used, self._used + length
        if end > len(self._memory):
            return new_bytes(length)
        self._used = -(-end // ALIGNMENT) * ALIGNMENT
        return self._memory[begin:end]

    def empty(self) -> Buffer:
        """The same memory for the next snapshot."""
        self._used = 0
        return self


class Buffers:
    """The buffers of a run, used in turn: pinned where there is a GPU, and none where main memory is short."""

    def __init__(self, length: int, *, pinned: bool) -> None:
        """`length`: bytes of one snapshot."""
        if pinned:
            length = 1 << (length - 1).bit_length()  # what torch takes for it
        self.count = how_many(length, hardware.ram().free_gib * GIB)
        self._free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        for _ in range(self.count):
            self._free.put(Buffer(_allocated(length, pinned=pinned)))

    def next(self, waiting: AbstractContextManager[None]) -> Buffer:
        """A free buffer; waits until the writer gives one back, longer than a second within `waiting`. New memory where there are none."""
        if not self.count:
            return Buffer(new_bytes(0))
        with contextlib.suppress(queue.Empty):
            return self._free.get(timeout=_SOON_S)
        with waiting:
            while True:
                disk_errors.look()
                with contextlib.suppress(queue.Empty):
                    return self._free.get(timeout=_LOOK_S)

    def give_back(self, buffer: Buffer) -> None:
        """What was in it is written."""
        if self.count:
            self._free.put(buffer.empty())


def how_many(length: int, free: float) -> int:
    """Buffers of this length for which `free` bytes of main memory suffice; 0 free means that the system does not tell."""
    return MOST_BUFFERS if not free else min(MOST_BUFFERS, int(free * SHARE // length))


def bytes_of(*groups: Mapping[str, Tensor]) -> int:
    """Bytes that a buffer for these files needs."""
    return sum(_file_bytes(group.values()) for group in groups)


def _file_bytes(tensors: Iterable[Tensor]) -> int:
    return ALIGNMENT + sum(value.nbytes + _HEADER_BYTES for value in tensors)


def _allocated(length: int, *, pinned: bool) -> Tensor:
    """Memory whose pages are there: the first to write to a page waits for it."""
    if pinned:
        try:
            return torch.empty(length, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:  # a container may not pin as much; then the copy takes longer
            print(f"checkpoint: {length / GIB:.1f} GiB cannot be pinned: {error}", flush=True)
    return torch.zeros(length, dtype=torch.uint8).fill_(0)
