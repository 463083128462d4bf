"""A kind of neural network in model files: the keys by which it is found, and what the shapes of its tensors tell."""

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
"""The sizes of a network that decide whether it fits, by name; 0: unknown."""


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
    """Naming, and the end of a key that only this network has; the rest of the key is its prefix in the file."""
    sizes: Callable[[Tensors], Sizes]
    """From the tensors, by keys without the prefix (`read`)."""
    config_sizes: Callable[[Config], Sizes]
    """The same from a configuration; empty where it lacks some."""
    words: Mapping[str, str]
    """Sizes that must be equal, and what each counts, for people."""
    title: Callable[[Sizes], str]
    """For people, with an article."""
    elastic: Mapping[str, str] = field(default_factory=dict)
    """Sizes in which finetunes may differ -> their key in the configuration."""
    needed: Mapping[str, str] = field(default_factory=dict)
    """Sizes that must not be 0 -> the problem if they are."""
    exact: bool = False
    """Whether a size of 0 is a real size, not an unknown one."""
    refusals: Callable[[Tensors, Sizes], Iterator[Finding]] = lambda _tensors, _sizes: iter(())
    """Why a network of this kind is not an ordinary text-to-image one, or is incomplete."""
    is_at: Callable[[Iterable[str], str], bool] = lambda _keys, _prefix: True
    """Whether it really begins at a prefix, since other networks can have the same keys."""


def shown(size: int) -> str:
    """A size for people: widths without commas, large numbers with them."""
    return f"{size:,}" if size >= 10_000 else str(size)


def read(**places: tuple[int, str | tuple[str, ...]] | str) -> Callable[[Tensors], Sizes]:
    """A reader of sizes: each is the length along an axis of the first key that exists, else 0; or the count of different
    numbers that a pattern captures at the beginning of keys."""

    def size(tensors: Tensors, place: tuple[int, str | tuple[str, ...]] | str) -> int:
        if isinstance(place, str):
            return len({match.group(1) for key in tensors if (match := re.match(place, key))})
        axis, keys = place
        key = next((key for key in ((keys,) if isinstance(keys, str) else keys) if key in tensors), "")
        shape = tensors[key].shape if key else ()
        return shape[axis] if -len(shape) <= axis < len(shape) else 0

    return lambda tensors: {name: size(tensors, place) for name, place in places.items()}


def has(tensors: Tensors, beginning: str) -> bool:
    """Whether a key begins like this."""
    return any(key.startswith(beginning) for key in tensors)


def whole(**numbers: object) -> Sizes:
    """The sizes; none where one of them is not a whole number."""
    return {name: n for name, n in numbers.items() if type(n) is int} if all(type(n) is int for n in numbers.values()) else {}


def told(config: Config, **keys: tuple[str, ...]) -> Sizes:
    """For each size the first of its keys with a whole number, else 0. Empty where no key has one."""
    sizes = {name: next((n for key in own if type(n := config.get(key)) is int), 0) for name, own in keys.items()}
    return sizes if any(sizes.values()) else {}
