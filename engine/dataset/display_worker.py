"""The job of `display`: asked for an image, it answers with its header, or with its size and the bytes of its pixels."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from loratui.engine.dataset import colours, decoding, masks, worker_limits
from loratui.engine.dataset.display import Grey, Room, Shown
from loratui.engine.job_child import Answer, Content, Parent

MASK_PX = 160
"""The longest side of a mask for the screen, where it lies over an image of half blocks."""


def decode(path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
    """The image at `path` as it fits into `room`, transparency laid on `ground`. Raises `ImageError`."""
    from PIL import Image

    with decoding.opened(path) as source:
        wanted = room.fitted(source.width, source.height)
        pixels = source.decode((2 * wanted[0], 2 * wanted[1]))
        size = source.as_decoded(wanted)
        if pixels.size != size:
            profile = pixels.info.get("icc_profile")
            pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
            pixels.info["icc_profile"] = profile
        image = source.upright(colours.to_rgb(pixels, ground))
        return Shown(*image.size, image.tobytes(), source.width, source.height)


def mask(path: Path, *, alpha: bool) -> Grey:
    """A mask, small. Raises `ImageError`."""
    from PIL import Image

    grey = masks.read(path, alpha=alpha)
    grey.thumbnail((MASK_PX, MASK_PX), Image.Resampling.BOX)
    return Grey(*grey.size, grey.tobytes())


def begin(_: Parent) -> Answer:
    """Reads the header of an image, decodes it as a check, or decodes it for the screen."""
    decoding.prepare()
    worker_limits.limit_memory()
    return answered


def answered(request: dict[str, Any]) -> Any:
    """What a request asks for."""
    path = Path(request["path"])
    with worker_limits.limited():
        match request["what"]:
            case "header":
                return asdict(decoding.read_header(path))
            case "check":
                decoding.check_decodes(path)
                return None
            case "mask":
                grey = mask(path, alpha=request["alpha"])
                return Content({"size": (grey.width, grey.height)}, grey.levels)
            case _:
                room = Room(**{key.name: request[key.name] for key in fields(Room)})
                red, green, blue = request["ground"]
                shown = decode(path, room, (red, green, blue))
                size, source = (shown.width, shown.height), (shown.source_width, shown.source_height)
                return Content({"size": size, "source": source}, shown.rgb)
