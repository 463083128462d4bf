"""Whether the parts of a diffusers folder go together: with their own configurations, and with what the denoiser reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loratui.engine.formats.base_keys import FoundPart
from loratui.engine.formats.base_parts import FAMILY_PARTS, FAMILY_TITLES, BaseRefused, PartName
from loratui.engine.formats.base_shapes import flux_numbers, unet_numbers
from loratui.engine.formats.diffusers_folder import read_json
from loratui.engine.formats.part_fit import LATENTS, TextShape, misfit, same_kind, text_shapes, title
from loratui.presets.schema import Family

_AGAIN = "Download the model again, or put back the part that was exchanged."


def refuse_other_sizes(found: FoundPart, part: PartName, family: Family, folder: Path) -> None:
    """Raises `BaseRefused` for weights of other sizes than the `config.json` beside them says: they could not be loaded."""
    why = ""
    if part in ("text_encoder", "text_encoder_2"):
        own = text_shapes(folder.parent).get(part) if folder.name == part else None
        why = (
            misfit(found, family, part, own)
            if own is not None and own != TextShape() and same_kind(found, family, part)
            else ""
        )
    elif part == "vae":
        latents = read_json(folder / "config.json").get("latent_channels", LATENTS[family])
        why = "" if latents == found.width else f"{found.width} channels, and its config.json has {str(latents)[:20]}"
    else:
        read = flux_numbers if found.role == "flux" else unet_numbers
        sizes, names = read(read_json(folder / "config.json")), _NUMBERS[found.role]
        have = _sizes(found)
        if sizes is not None:
            why = next(
                (f"{a:,} {n}, and its config.json has {b:,}" for a, b, n in zip(have, sizes, names, strict=True) if a != b), ""
            )
    if why:
        raise BaseRefused(
            "base_other_shape", f"{folder}: this is {title(found)} that its config.json does not fit: {why}.", _AGAIN
        )


def refuse_disagreement(found: Mapping[PartName, FoundPart], family: Family, folder: Path) -> None:
    """Raises `BaseRefused` for text encoders and a VAE that the denoiser was not made for, such as two that were exchanged."""
    denoiser = found[FAMILY_PARTS[family][0]]
    for part, wanted in _reads(denoiser, family, folder):
        have = found.get(part)
        if have is not None and wanted and have.width != wanted:
            what = "channels" if part == "vae" else "wide"
            message = (
                f"{folder / part}: this is {title(have)} ({have.width} {what}), and the {FAMILY_TITLES[family]} model beside it "
                f"needs one of {wanted}."
            )
            raise BaseRefused("base_part_wrong", message, _AGAIN)


def _reads(denoiser: FoundPart, family: Family, folder: Path) -> list[tuple[PartName, int]]:
    """The width of each part that a denoiser was made for; 0 where it does not tell."""
    vae: tuple[PartName, int] = ("vae", denoiser.inputs // 4 if family == "flux" else denoiser.inputs)
    if family == "flux":
        return [("text_encoder", denoiser.pooled), ("text_encoder_2", denoiser.context), vae]
    if family == "sd15":
        return [("text_encoder", denoiser.width), vae]
    sizes = read_json(folder / "unet" / "config.json").get("addition_time_embed_dim", 256)
    # SDXL's UNet takes six sizes beside the pooled state of the second encoder, and the states of both side by side.
    second = denoiser.added - 6 * sizes if type(sizes) is int and 0 < sizes < denoiser.added else 0
    return [("text_encoder_2", second), ("text_encoder", denoiser.width - second if second else 0), vae]


_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "unet": ("channels at its beginning", "channels of text", "transformer blocks", "added channels"),
    "flux": ("channels", "double blocks", "single blocks"),
}


def _sizes(found: FoundPart) -> tuple[int, ...]:
    if found.role == "flux":
        return found.width, found.layers, found.single_layers
    return found.first_channels, found.width, found.layers, found.added
