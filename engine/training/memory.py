"""Telling what kind of failure an error of torch is."""

from __future__ import annotations

import re

import torch

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
_GPU_LOST = re.compile(
    r"illegal memory access|device-side assert|unspecified launch failure|CUDA error: (unknown|ECC|the launch timed out|device)"
    r"|uncorrectable ECC|GPU is lost|fallen off the bus",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch or Python says that memory is short."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def is_gpu_lost(error: BaseException) -> bool:
    """True where the GPU can no longer be used by this process; nothing on it can be saved then."""
    return isinstance(error, RuntimeError) and _GPU_LOST.search(str(error)) is not None
