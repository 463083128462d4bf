"""What the training scripts share: a step captured as one CUDA graph, mixed precision, and the course of the learning rate."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

_M = TypeVar("_M", bound=nn.Module)
_STARTED = time.monotonic()


def log(*words: object) -> None:
    """One line with the seconds since the script started."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s]", *words, flush=True)


def pick_device() -> torch.device:
    """The GPU, with TensorFloat-32 allowed, or else the CPU for dry runs."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    # cuDNN 9.19's attention keeps a plan whatever the gradient's strides: wrong gradients or a crash in FLUX's blocks.
    torch.backends.cuda.enable_cudnn_sdp(False)
    return torch.device("cuda")


def mixed(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bf16 where it is safe, on a GPU; without the cache of weights, which a captured graph cannot keep."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
    return contextlib.nullcontext()


def adamw(parameters: Iterable[Tensor], lr: Tensor, weight_decay: float) -> torch.optim.AdamW:
    """AdamW whose learning rate is a tensor, so that a captured step can be given another one."""
    capturable = lr.is_cuda
    return torch.optim.AdamW(
        parameters, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, capturable=capturable, foreach=capturable
    )


def cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the highest learning rate: rises evenly for `warmup` steps and falls as a half cosine to a thousandth."""
    return min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-3


def capture(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """A function that does what `step` does: on a GPU by replaying one CUDA graph, which spares the launch of each kernel.

    `step` must work on the same tensors each time, zero its gradients in place, and draw random numbers with torch only.
    On a GPU it is run four times here to warm up.
    """
    if device.type != "cuda":
        return step
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def settle(device: torch.device) -> None:
    """Wait for the GPU, so that the loop does not run far ahead of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def as_shipped(module: _M) -> _M:
    """The module with its weights rounded to fp16, as they are saved, so that what is built on it fits the file."""
    return module.half().float()


def count_parameters(module: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in module.parameters())
