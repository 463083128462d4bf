"""The process of `display`: one JSON request a line, answered by a line of JSON and, where it names a number, so many bytes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from loratui.engine.dataset import colours, decoding, worker_limits
from loratui.engine.dataset.display import Room, Shown
from loratui.engine.untrusted import parse_json


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


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What a request asks for, as JSON and the bytes that follow it. Raises `ImageError`."""
    path = Path(request["path"])
    match request["what"]:
        case "header":
            return {"header": asdict(decoding.read_header(path))}, b""
        case "check":
            decoding.check_decodes(path)
            return {}, b""
        case _:
            room = Room(**{key.name: request[key.name] for key in fields(Room)})
            red, green, blue = request["ground"]
            shown = decode(path, room, (red, green, blue))
            size, source = (shown.width, shown.height), (shown.source_width, shown.source_height)
            return {"size": size, "source": source, "bytes": len(shown.rgb)}, shown.rgb


def main() -> int:
    """Serves until the end of its input."""
    decoding.prepare()
    worker_limits.limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not stand between the answers
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin:
        worker_limits.limit_seconds()
        try:
            told, content = answer(parse_json(line))
        except (decoding.ImageError, MemoryError) as error:
            told, content = {"error": str(error) or "needs more memory than there is"}, b""
        answers.write(json.dumps(told).encode("ascii") + b"\n" + content)
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
