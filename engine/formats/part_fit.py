"""Whether what a file holds can be a part of a base: in words where it cannot, so that nobody learns it from a loader's traceback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loratui.engine.formats.diffusers_folder import read_json

ROLES: Mapping[str, tuple[str, ...]] = {
    "vae": ("vae",),
    "unet": ("unet",),
    "transformer": ("flux",),
    "text_encoder": ("clip",),
}
"""Part -> what may stand in its place. The second text encoder is T5 for FLUX and a CLIP for SDXL."""

LATENTS: Mapping[str, int] = {"sd15": 4, "sdxl": 4, "flux": 16}
"""Channels of a family's latents."""

_CLIPS = {768: "CLIP-L", 1024: "CLIP-H", 1280: "CLIP-G"}
_T5S = {512: "T5-small", 768: "T5-base", 1024: "T5-large", 2048: "T5-XL", 4096: "T5-XXL"}
_UMT5_TOKENS = 250_000
_CLIP_POSITIONS = 77


class Held(Protocol):
    """The few numbers of a part inside a file that decide what it can be."""

    @property
    def role(self) -> str: ...
    @property
    def width(self) -> int:
        """Hidden width; latent channels of a VAE."""
        ...

    @property
    def layers(self) -> int: ...
    @property
    def positions(self) -> int:
        """Places that a CLIP has for tokens; 0 where that is not known."""
        ...

    @property
    def vocabulary(self) -> int:
        """Tokens that an encoder knows; 0 where that is not known."""
        ...

    @property
    def can_encode(self) -> bool: ...


@dataclass(frozen=True)
class TextShape:
    """The sizes of a text encoder as its configuration has them; 0 where it does not say."""

    width: int = 0
    layers: int = 0
    positions: int = 0
    vocabulary: int = 0


def text_shapes(config: Path) -> dict[str, TextShape]:
    """The sizes of each text encoder that a folder of configurations describes."""
    shapes = {}
    for part in ("text_encoder", "text_encoder_2"):
        values = read_json(config / part / "config.json")
        names = (("hidden_size", "d_model"), ("num_hidden_layers", "num_layers"), ("max_position_embeddings",), ("vocab_size",))
        if values:
            shapes[part] = TextShape(*(next((n for name in own if type(n := values.get(name)) is int), 0) for own in names))
    return shapes


def misfit(held: Held, family: str, part: str, wanted: TextShape) -> str:
    """Why what a file holds cannot be this part of a base of `family`; empty if it can.

    `wanted` are the sizes of the text encoder that the base is loaded with.
    """
    if held.role not in _roles(family, part):
        return "it is something else"
    if part == "vae":
        if held.width != LATENTS[family]:
            return f"{held.width} channels, and {LATENTS[family]} are needed"
        return "" if held.can_encode else "its encoder is missing, which training needs"
    if part in ("unet", "transformer"):
        return ""
    if held.width != wanted.width:
        return f"{held.width} wide, and {wanted.width} is needed"
    for found, needed, what in (
        (held.positions, wanted.positions, "positions"),
        (held.vocabulary, wanted.vocabulary, "tokens"),
        (held.layers, wanted.layers, "layers"),
    ):
        if found and needed and found != needed:
            return f"{found:,} {what}, and {needed:,} are needed"
    return ""


def same_kind(held: Held, family: str, part: str) -> bool:
    """Whether what a file holds is at least meant for this part."""
    return held.role in _roles(family, part)


def title(held: Held) -> str:
    """What a part of a file is, for people."""
    match held.role:
        case "unet":
            return "a UNet"
        case "flux":
            return "a FLUX transformer"
        case "vae":
            families = {4: " (as SD1.5 and SDXL have)", 16: " (as FLUX and SD3 have)"}.get(held.width, "")
            return f"a VAE of {held.width} channels{families}"
        case "t5":
            name = "UMT5" if held.vocabulary > _UMT5_TOKENS else _T5S.get(held.width, "T5")
            return f"a {name} text encoder" if name != "T5" else f"a T5 text encoder of width {held.width}"
        case _:
            long = "Long-" if held.positions > _CLIP_POSITIONS else ""
            name = _CLIPS.get(held.width, "CLIP")
            return f"a {long}{name} text encoder" + ("" if name != "CLIP" else f" of width {held.width}")


def held_words(held: Held, family: str, part: str, wanted: TextShape) -> str:
    """What a part of a file is, and why it cannot be this part of a base."""
    why = misfit(held, family, part, wanted) if same_kind(held, family, part) else ""
    return f"{title(held)} ({why})" if why else title(held)


def _roles(family: str, part: str) -> tuple[str, ...]:
    if part == "text_encoder_2":
        return ("t5",) if family == "flux" else ("clip", "open_clip")
    return ROLES.get(part, ())
