"""The captioners: what each is, what it writes, and what it needs. Light: app and commands read it too."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine.errors import UsageError
from loratui.presets.schema import nearest

_EXTRAS = {"taggers": "onnxruntime"}
"""Optional part of the install -> the module that it brings."""
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
    """What is downloaded of it: names, and patterns of what is taken where it is there."""
    bytes: int = 0
    """Of these files together, about; the hub says it exactly before anything is downloaded."""
    licence: str = ""
    commercial: bool = True
    """Whether its licence allows captions that are sold."""
    terms: str = ""
    """What else its licence asks of a LoRA that was trained on its captions."""
    gib: float = 0.0
    """GPU memory that its weights take in bf16."""
    linear_gib: float = 0.0
    """Of these, in layers that are quantised where memory is short; 0 for those that are small anyway."""
    image_gib: float = 0.0
    """What each image of a batch takes beside the weights."""
    at_once: int = 8
    """The most images of a batch."""
    instructed: bool = False
    """Whether it reads an instruction; others have only a length to choose."""
    extra: str = ""
    """The optional part of the install that it needs: `pip install 'loratui[EXTRA]'`."""

    def require_extra(self) -> None:
        """Raises `UsageError` if what it needs beside loratui's own packages is not installed."""
        needed = _EXTRAS.get(self.extra)
        if needed and importlib.util.find_spec(needed) is None:
            raise UsageError(f"{self.title} needs {needed}.", f"pip install 'loratui[{self.extra}]'")

    @property
    def leaves(self) -> bool:
        """Whether images are sent to a server that the person names."""
        return self.id == ENDPOINT


ENDPOINT = "endpoint"

_TEXT = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
_CHAT = ("chat_template*", "special_tokens_map*")
_SHARDS = ("model.safetensors.index.json", "model-*.safetensors")
_TAGGER = ("model.onnx", "selected_tags.csv")

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
            revision="00921df66db728a9ceb750f5eca43e5c203a2051",
            files=(*_TEXT, "model.safetensors", *_CHAT),
            bytes=475_000_000,
            gib=0.44,
            image_gib=0.25,
        ),
        Captioner(
            id="florence-2-large",
            title="Florence-2 large",
            writes="sentences",
            module="florence",
            repo="florence-community/Florence-2-large",
            licence="MIT",
            revision="4271c66b88cdbc05735372ec13b2360108de5317",
            files=(*_TEXT, "model.safetensors", *_CHAT),
            bytes=1_560_000_000,
            gib=1.45,
            image_gib=0.5,
        ),
        Captioner(
            id="blip",
            title="BLIP",
            writes="sentences",
            module="blip",
            repo="Salesforce/blip-image-captioning-large",
            licence="BSD-3-Clause",
            revision="2227ac38c9f16105cb0412e7cab4759978a8fd90",
            files=(
                "config.json",
                "preprocessor_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "model.safetensors",
                *_CHAT,
            ),
            bytes=1_880_000_000,
            gib=0.83,
            image_gib=0.3,
            at_once=4,
        ),
        Captioner(
            id="qwen3-vl-4b",
            title="Qwen3-VL 4B",
            writes="sentences",
            module="qwen3_vl",
            repo="Qwen/Qwen3-VL-4B-Instruct",
            licence="Apache-2.0",
            instructed=True,
            revision="ebb281ec70b05090aa6165b016eac8ec08e71b17",
            files=(*_TEXT, *_SHARDS, *_CHAT),
            bytes=8_890_000_000,
            gib=8.27,
            linear_gib=6.77,
            image_gib=0.5,
        ),
        Captioner(
            id="qwen3-vl-8b",
            title="Qwen3-VL 8B",
            writes="sentences",
            module="qwen3_vl",
            repo="Qwen/Qwen3-VL-8B-Instruct",
            licence="Apache-2.0",
            instructed=True,
            revision="0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
            files=(*_TEXT, *_SHARDS, *_CHAT),
            bytes=17_550_000_000,
            gib=16.33,
            linear_gib=12.94,
            image_gib=0.6,
        ),
        Captioner(
            id="joycaption",
            title="JoyCaption Beta One",
            writes="sentences",
            module="joycaption",
            repo="fancyfeast/llama-joycaption-beta-one-hf-llava",
            revision="ebf414ea497a020da0f82df3913e5b6cb8e9663a",
            licence="Llama 3.1 Community License",
            terms="a shared LoRA must be named Llama…",
            instructed=True,
            files=(*_TEXT, *_SHARDS, *_CHAT),
            bytes=16_970_000_000,
            gib=15.8,
            linear_gib=13.0,
            image_gib=0.6,
        ),
        Captioner(
            id="wd14",
            title="WD14 tagger",
            writes="tags",
            module="taggers",
            repo="SmilingWolf/wd-vit-tagger-v3",
            licence="Apache-2.0",
            extra="taggers",
            revision="7f6b584d0bd3f55c4531f14ba3d4761b2bccdc0f",
            files=_TAGGER,
            bytes=378_844_778,
            gib=0.36,
        ),
        Captioner(
            id="wd-eva02",
            title="WD EVA02 tagger",
            writes="tags",
            module="taggers",
            repo="SmilingWolf/wd-eva02-large-tagger-v3",
            licence="Apache-2.0",
            extra="taggers",
            revision="b25b82a03f7282e41aa2f257a52c7583b710bd1c",
            files=_TAGGER,
            bytes=1_260_744_467,
            gib=1.18,
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
            f"{name}: no captioner has this name{nearest(name, known) or '.'}", f"Choose one of: {', '.join(CAPTIONERS)}."
        )
    return found
