"""Which tag is in which captions: counted, ordered, searched, and the images with some tags and without others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from loratui.engine.dataset import caption_words

Order = Literal["frequency", "rarity", "name"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class TagTable:
    """The tags of a set of captions, spelled in lower case."""

    captions: Mapping[str, str]
    """Image -> caption."""
    holders: Mapping[str, frozenset[str]]
    """Tag -> the images whose captions have it."""

    @classmethod
    def of(cls, captions: Mapping[str, str]) -> TagTable:
        """The table of these captions."""
        holders: dict[str, set[str]] = {}
        for image, caption in captions.items():
            for part in caption_words.parts(caption):
                holders.setdefault(part.lower(), set()).add(image)
        return cls(captions, {tag: frozenset(images) for tag, images in holders.items()})

    def count(self, tag: str) -> int:
        """Captions with this tag."""
        return len(self.holders.get(tag.lower(), ()))

    def rows(self, order: Order = "frequency", search: str = "") -> list[tuple[str, int]]:
        """Tags that hold the words of `search`, with the number of captions that have each."""
        words = search.lower().split()
        found = [(tag, len(images)) for tag, images in self.holders.items() if all(word in tag for word in words)]
        sign = {"frequency": -1, "rarity": 1, "name": 0}[order]
        return sorted(found, key=lambda row: (sign * row[1], row[0]))

    def chosen(self, having: Iterable[str] = (), lacking: Iterable[str] = ()) -> list[str]:
        """The images whose captions have all of some tags and none of others, in their order."""
        having, lacking = [tag.lower() for tag in having], [tag.lower() for tag in lacking]
        if not having and not lacking:
            return list(self.captions)
        kept = frozenset(self.captions).intersection(*(self.holders.get(tag, frozenset()) for tag in having))
        kept = kept.difference(*(self.holders.get(tag, frozenset()) for tag in lacking))
        return [image for image in self.captions if image in kept]
