"""Trains some weights for a given time: AdamW, a rate that rises and falls, and a running average as the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loratui.presets.bases.make.gpu import adamw, capture, cosine, log, settle

_AVERAGE = 0.999
_SHARES = 10_000


@dataclass(frozen=True)
class BatchSchedule:
    """How one part is trained: for `seconds`, or for `most_steps` if they are done sooner."""

    name: str
    seconds: float
    peak_rate: float
    most_steps: int = 10**9
    warmup_steps: int = 400
    weight_decay: float = 1e-2
    graph: bool = True


def train(
    course: BatchSchedule, parameters: Sequence[Tensor], loss: Callable[[], Tensor], ready: Callable[[], None] | None = None
) -> None:
    """Minimise `loss()`, which draws its own batch, and leave the running average of the weights in `parameters`.

    The seconds count from here, the compiling of the first step included; the rate follows a half cosine over the time left.
    `ready` is called after the compiling and fills the tensors that `loss` draws from, which until then may hold anything.
    """
    started = time.monotonic()
    device = parameters[0].device
    average = [p.detach().clone() for p in parameters]
    keep, rate, shown = (torch.zeros((), device=device) for _ in range(3))
    optimizer = adamw(parameters, rate, weight_decay=course.weight_decay)

    def step() -> None:
        value = loss()
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=device.type == "cuda")
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            torch._foreach_mul_(average, keep)
            torch._foreach_add_(average, torch._foreach_mul([p.detach() for p in parameters], 1 - keep))
            shown.lerp_(value.detach(), 0.02)

    run = capture(step, device) if course.graph else step
    if ready is not None:
        ready()
    begun = time.monotonic()
    left = max(1e-3, course.seconds - (begun - started))
    log(f"{course.name}: first steps after {begun - started:.0f} s, {left:.0f} s left")
    k, done, told = 0, 0.0, 0.0
    while k < course.most_steps and done < 1:
        rate.fill_(course.peak_rate * min(1.0, (k + 1) / course.warmup_steps) * cosine(int(done * _SHARES), _SHARES, 1))
        keep.fill_(min(_AVERAGE, (1 + k) / (10 + k)))
        run()
        k += 1
        if k % 20 == 0:
            settle(device)
            done = (time.monotonic() - begun) / left
            if done > told + 0.1:
                told = done
                log(f"{course.name} {k}, loss {shown.item():.5f}")
    settle(device)
    log(f"{course.name}: {k} steps, loss {shown.item():.5f}")
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
