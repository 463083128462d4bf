"""A kind of neural network as model files hold it: by which keys it is found, and what the shapes of its tensors tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from loratui.engine.findings import Finding

Config = Mapping[str, Any]
"""A configuration as `config.json` has it."""

Names = Literal["diffusers", "original"]
"""Keys as diffusers and transformers name their modules, or as the model's makers do."""

Sizes = Mapping[str, int]
"""What of a network decides whether it fits, by name; 0 where it is not told."""


class Shaped(Protocol):
    """An entry of a file's table of tensors."""

    @property
    def shape(self) -> tuple[int, ...]: ...


Tensors = Mapping[str, Shaped]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One kind of network; several families may have parts of it."""

    name: str
    signs: tuple[tuple[Names, str], ...]
    """Naming, and the end of a key that only this network has; what stands before the end is its prefix in the file."""
    sizes: Callable[[Tensors, Names], Sizes]
    """From the tensors, by keys without the prefix."""
    config_sizes: Callable[[Config], Sizes]
    """The same from a configuration; empty where it does not tell them all."""
    words: Mapping[str, str]
    """Sizes that must be equal, and what each counts, for people."""
    title: Callable[[Sizes], str]
    """For people, with an article."""
    elastic: Mapping[str, str] = field(default_factory=dict)
    """Sizes in which finetunes may differ -> the key of the configuration that says them."""
    needed: Mapping[str, str] = field(default_factory=dict)
    """Sizes that must not be 0 -> what is wrong where they are."""
    exact: bool = False
    """Whether a size of 0 is one too, not one that is not told."""
    refusals: Callable[[Tensors, Sizes], Iterator[Finding]] = lambda _tensors, _sizes: iter(())
    """Why one of this kind is not of the ordinary text-to-image kind, or misses some of itself."""
    is_at: Callable[[Iterable[str], str], bool] = lambda _keys, _prefix: True
    """Whether it really begins at a prefix, where other networks have the same keys."""


def shown(size: int) -> str:
    """A size for people: widths as they are always written, large numbers with commas."""
    return f"{size:,}" if size >= 10_000 else str(size)


def dimension(tensors: Tensors, key: str, axis: int) -> int:
    """The size of a tensor along an axis; 0 where there is no such tensor or axis."""
    shape = tensors[key].shape if key in tensors else ()
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def count(tensors: Tensors, pattern: str) -> int:
    """How many different numbers `pattern` captures at the beginning of keys."""
    return len({match.group(1) for key in tensors if (match := re.match(pattern, key))})


def has(tensors: Tensors, beginning: str) -> bool:
    """Whether a key begins so."""
    return any(key.startswith(beginning) for key in tensors)


def whole(**numbers: object) -> Sizes:
    """The sizes; none at all where one of them is no whole number."""
    return {name: n for name, n in numbers.items() if type(n) is int} if all(type(n) is int for n in numbers.values()) else {}


def told(config: Config, **keys: tuple[str, ...]) -> Sizes:
    """For each size the first of its keys that has a whole number; 0 where none has. Empty where nothing is told."""
    sizes = {name: next((n for key in own if type(n := config.get(key)) is int), 0) for name, own in keys.items()}
    return sizes if any(sizes.values()) else {}
