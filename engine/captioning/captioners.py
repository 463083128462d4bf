"""The captioners: what each is, what it writes, and what it needs. Light: app and commands read it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine.errors import UsageError
from loratui.presets.schema import nearest

Writes = Literal["sentences", "tags"]


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """A row of the table."""

    id: str
    title: str
    writes: Writes
    module: str
    """Its module in this room, with `load`: a `protocol.Load`."""
    repo: str = ""
    """Its repository on the hub; empty for one that is not downloaded."""
    revision: str = ""
    """The commit that is downloaded."""
    files: tuple[str, ...] = ()
    """What is downloaded of it."""
    bytes: int = 0
    """Of these files together."""
    licence: str = ""
    commercial: bool = True
    """Whether its licence allows captions that are sold."""
    gib: float = 0.0
    """GPU memory that it takes in bf16, without its batch."""
    instructed: bool = False
    """Whether it reads an instruction; others have only a length to choose."""
    extra: str = ""
    """The optional part of the install that it needs: `pip install 'loratui[EXTRA]'`."""

    @property
    def leaves(self) -> bool:
        """Whether images are sent to a server that the person names."""
        return self.id == ENDPOINT


ENDPOINT = "endpoint"

CAPTIONERS: Mapping[str, Captioner] = {
    row.id: row
    for row in (
        Captioner(
            id="florence-2-base",
            title="Florence-2 base",
            writes="sentences",
            module="florence",
            repo="florence-community/Florence-2-base",
            licence="MIT",
        ),
        Captioner(
            id="florence-2-large",
            title="Florence-2 large",
            writes="sentences",
            module="florence",
            repo="florence-community/Florence-2-large",
            licence="MIT",
        ),
        Captioner(
            id="blip",
            title="BLIP",
            writes="sentences",
            module="blip",
            repo="Salesforce/blip-image-captioning-large",
            licence="BSD-3-Clause",
        ),
        Captioner(
            id="qwen3-vl-4b",
            title="Qwen3-VL 4B",
            writes="sentences",
            module="qwen3_vl",
            repo="Qwen/Qwen3-VL-4B-Instruct",
            licence="Apache-2.0",
            instructed=True,
        ),
        Captioner(
            id="qwen3-vl-8b",
            title="Qwen3-VL 8B",
            writes="sentences",
            module="qwen3_vl",
            repo="Qwen/Qwen3-VL-8B-Instruct",
            licence="Apache-2.0",
            instructed=True,
        ),
        Captioner(
            id="joycaption",
            title="JoyCaption Beta One",
            writes="sentences",
            module="joycaption",
            repo="fancyfeast/llama-joycaption-beta-one-hf-llava",
            licence="Llama 3.1 Community License",
            instructed=True,
        ),
        Captioner(
            id="wd14",
            title="WD14 tagger",
            writes="tags",
            module="taggers",
            repo="SmilingWolf/wd-vit-tagger-v3",
            licence="Apache-2.0",
            extra="taggers",
        ),
        Captioner(
            id="wd-eva02",
            title="WD EVA02 tagger",
            writes="tags",
            module="taggers",
            repo="SmilingWolf/wd-eva02-large-tagger-v3",
            licence="Apache-2.0",
            extra="taggers",
        ),
        Captioner(id=ENDPOINT, title="A server", writes="sentences", module="endpoint", instructed=True),
    )
}

ALIASES: Mapping[str, str] = {"florence-2": "florence-2-large", "wd14-eva02": "wd-eva02"}


def captioner(name: str) -> Captioner:
    """The captioner of this id or alias. Raises `UsageError` for another name."""
    found = CAPTIONERS.get(ALIASES.get(name, name))
    if found is None:
        known = (*CAPTIONERS, *ALIASES)
        raise UsageError(
            f"{name}: no captioner has this name{nearest(name, known)}.", f"Choose one of: {', '.join(CAPTIONERS)}."
        )
    return found
