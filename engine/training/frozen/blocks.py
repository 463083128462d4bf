"""The blocks of a denoiser: which of them compute their activations again, which are compiled, and where their weights are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from loratui.engine.training.frozen.swap import BlockSwap


class Block:
    """In place of a block's `forward`: brings the block's weights, and computes its activations again where that is wanted."""

    def __init__(self, module: nn.Module, *, on_card: bool, draws: bool) -> None:
        """`draws`: whether its computation draws random numbers, which must be the same when it is computed again."""
        self._on_card, self._draws = on_card, draws
        self._forward: Callable[..., Any] = module.forward
        self._uncompiled = self._forward
        self.recomputed = False
        """Whether training computes its activations twice instead of keeping them."""
        self.bring: Callable[[], None] | None = None
        """Called before each computation."""
        self.kept_bytes = 0
        """GPU memory that keeping its activations takes, as measured when they were computed again; 0: not measured."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.recomputed and torch.is_grad_enabled()):
            return self._run(*args, **kwargs)
        return checkpoint(self._run, *args, use_reentrant=False, preserve_rng_state=self._draws, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if self.bring is not None:
            self.bring()
        if torch._C._current_graph_task_id() == -1 or not self._on_card:
            return self._forward(*args, **kwargs)
        before = torch.cuda.memory_allocated()
        try:  # computing again is broken off by an error as soon as the last needed value is there
            return self._forward(*args, **kwargs)
        finally:
            self.kept_bytes = max(self.kept_bytes, torch.cuda.memory_allocated() - before)

    def compile(self, *, one_shape: bool) -> None:
        """Compiles its computation when it is next called: with `one_shape` for each shape of input alone, else the second time for
        inputs of any length."""
        self._forward = torch.compile(self._uncompiled, dynamic=False if one_shape else None)

    def uncompile(self) -> None:
        """Computes it eagerly again."""
        self._forward = self._uncompiled

    @contextlib.contextmanager
    def eagerly(self) -> Iterator[None]:
        """Within the block of code, it computes eagerly."""
        compiled, self._forward = self._forward, self._uncompiled
        try:
            yield
        finally:
            self._forward = compiled


class Blocks:
    """All blocks of one denoiser, in the order of a forward pass."""

    def __init__(
        self, denoiser: nn.Module, kinds: Sequence[str], order: Sequence[str] = (), *, on_card: bool, draws: bool
    ) -> None:
        """Takes over `forward` of every module whose class has one of the names `kinds`. `order` are the denoiser's parts in the order of
        a pass, where it lists them otherwise."""

        def turn(path: str) -> int:
            part = path.partition(".")[0]
            return order.index(part) if part in order else 0

        self.repeated: list[str] = list(getattr(denoiser, "_repeated_blocks", ()))
        found = [(name, module) for name, module in denoiser.named_modules() if type(module).__name__ in kinds]
        self.modules = [module for _, module in sorted(found, key=lambda one: turn(one[0]))]
        self.blocks = [Block(module, on_card=on_card, draws=draws) for module in self.modules]
        for module, block in zip(self.modules, self.blocks, strict=True):
            module.forward = block
        self.swap: BlockSwap | None = None
        self.compiled = False
        """Whether the large ones are compiled."""
        self.compiled_kinds = slice(None)
        """Which kinds of blocks `compile` compiles."""

    @property
    def large(self) -> list[tuple[nn.Module, Block]]:
        """Those that are compiled, quantised and swapped: the transformer blocks, which hold most of the weights."""
        pairs = zip(self.modules, self.blocks, strict=True)
        return [(module, block) for module, block in pairs if type(module).__name__ in self.repeated]

    def recompute(self, count: int) -> None:
        """Computes the activations of the first `count` blocks again, and keeps the others'.

        The last ones are kept, whose activations are free again when those of the first are computed.
        """
        for number, block in enumerate(self.blocks):
            block.recomputed = number < count

    def swap_by(self, swap: BlockSwap) -> None:
        """Has the weights of the large blocks, which `swap` holds in this order, brought when they are needed."""
        self.swap = swap
        for number, (_, block) in enumerate(self.large):
            block.bring = functools.partial(swap.bring, number)

    def compile(self, *, one_shape: bool) -> None:
        """Compiles the large blocks. `one_shape`: each of them always gets inputs of the same shape."""
        # Where shapes vary, what torch makes of a class depends on all shapes that it has met before, also those of other widths.
        kind_of = _kind if one_shape else type
        self.compiled = True
        kinds = list(dict.fromkeys(kind_of(module) for module, _ in self.large))[self.compiled_kinds]
        for module, block in self.large:
            if kind_of(module) in kinds:
                block.compile(one_shape=one_shape)

    def uncompile(self) -> None:
        """Takes `compile` back."""
        self.compiled = False
        for _, block in self.large:
            block.uncompile()

    @contextlib.contextmanager
    def eagerly(self) -> Iterator[None]:
        """Within the block of code, all of them compute eagerly."""
        with contextlib.ExitStack() as stack:
            for block in self.blocks:
                stack.enter_context(block.eagerly())
            yield


def _kind(block: nn.Module) -> object:
    """What blocks that are compiled alike have in common, but for the shapes of their inputs."""
    return type(block), tuple(value.shape for value in block.parameters())
