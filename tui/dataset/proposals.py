"""How the proposals for an image stand beside its caption: what can be chosen, and what is still to be looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loratui.engine.captioning.accepting import is_useful
from loratui.engine.captioning.captioners import CAPTIONERS, ENDPOINT
from loratui.engine.captioning.proposals import Proposal

By = Mapping[str, tuple[Proposal, ...]]
"""Image -> its proposals, the newest first."""

Which = Literal["to look at", "flagged", "all"]
WHICH: tuple[Which, ...] = ("to look at", "flagged", "all")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A caption that can be taken."""

    proposal: Proposal
    text: str
    variant: bool = False
    """Whether it is another length of the proposal."""
    all_lengths: bool = False
    """Whether it is all of them, a line each, to be drawn in turn."""

    @property
    def title(self) -> str:
        """Who wrote it."""
        id, _, options = self.proposal.captioner.partition(" ")
        row = CAPTIONERS.get(id)
        title = "" if id == ENDPOINT else row.title if row else id
        named = " ".join(word for word in (title, options.removeprefix("model=")) if word)
        return f"{named}, all lengths in turn" if self.all_lengths else f"{named}, another length" if self.variant else named

    def reworded(self, text: str) -> Candidate:
        """With the person's own words, which are its caption now."""
        one = self.proposal
        if self.all_lengths:
            first, *others = text.split("\n")
            return Candidate(dataclasses.replace(one, text=first, variants=tuple(others), state="accepted"), text, True, True)
        if self.variant:
            variants = tuple(text if other == self.text else other for other in one.variants)
            return Candidate(dataclasses.replace(one, variants=variants, state="accepted"), text, True)
        return Candidate(dataclasses.replace(one, text=text, state="accepted"), text)


def candidates(proposals: Sequence[Proposal]) -> list[Candidate]:
    """Everything that can be taken: each proposal, then its other lengths, then all of them. Equal texts of one captioner are one."""
    found: dict[tuple[str, str], Candidate] = {}
    for one in proposals:
        for at, text in enumerate((one.text, *one.variants)):
            found.setdefault((one.captioner, text), Candidate(one, text, at > 0))
        if one.variants:
            found.setdefault((one.captioner, all_lengths(one)), Candidate(one, all_lengths(one), True, True))
    return list(found.values())


def all_lengths(one: Proposal) -> str:
    """A caption a line."""
    return "\n".join((one.text, *one.variants))


def is_taken(caption: str, proposals: Sequence[Proposal]) -> bool:
    """Whether the caption is one of the proposals."""
    return bool(caption) and any(caption in (one.text, *one.variants, all_lengths(one)) for one in proposals)


def is_open(caption: str, proposals: Sequence[Proposal]) -> bool:
    """Whether a person has still to say what becomes of them."""
    return any(one.state != "dismissed" for one in proposals) and not is_taken(caption, proposals)


def names_of(which: Which, names: Sequence[str], caption_of: Callable[[str], str], by: By) -> list[str]:
    """Those of some images that a filter shows, in their order."""
    if which == "all":
        return list(names)
    waiting = [name for name in names if name in by and is_open(caption_of(name), by[name])]
    return waiting if which == "to look at" else [name for name in waiting if any(one.flags for one in by[name])]


def to_take(names: Sequence[str], by: By, captioner: str) -> dict[str, Proposal]:
    """Of each image the proposal that is taken with the others, unseen: of this captioner, else the newest. Those of no use are left."""
    found: dict[str, Proposal] = {}
    for name in names:
        useful = [one for one in by.get(name, ()) if is_useful(one) and one.state != "dismissed"]
        of_it = [one for one in useful if one.captioner == captioner]
        if useful:
            found[name] = (of_it or useful)[0]
    return found
