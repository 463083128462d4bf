"""The process of `display`: one JSON request a line, answered by a line of JSON and, if there is a picture, its pixels."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from loratui.engine.dataset import colours, pictures, worker_limits
from loratui.engine.dataset.display import Room, Shown
from loratui.engine.untrusted import parse_json


def decode(path: Path, room: Room, ground: tuple[int, int, int]) -> Shown:
    """The picture at `path` as it fits into `room`, transparency laid on `ground`. Raises `PictureError`."""
    from PIL import Image

    with pictures.opened(path) as source:
        wanted = room.fitted(source.width, source.height)
        pixels = source.decode((2 * wanted[0], 2 * wanted[1]))
        size = source.as_decoded(wanted)
        if pixels.size != size:
            profile = pixels.info.get("icc_profile")
            pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
            pixels.info["icc_profile"] = profile
        picture = source.upright(colours.to_rgb(pixels, ground))
        return Shown(*picture.size, picture.tobytes(), source.width, source.height)


def main() -> int:
    """Serves until the end of its input."""
    pictures.prepare()
    worker_limits.limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not stand between the answers
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin:
        path, width, height, shape, even, enlarge, (red, green, blue) = parse_json(line)
        worker_limits.limit_seconds()
        try:
            shown = decode(Path(path), Room(width, height, shape, even, enlarge), (red, green, blue))
        except (pictures.PictureError, MemoryError) as error:
            answers.write(json.dumps({"error": str(error) or "needs more memory than there is"}).encode("ascii") + b"\n")
        else:
            size = (shown.width, shown.height, shown.source_width, shown.source_height)
            answers.write(json.dumps({"size": size}).encode("ascii") + b"\n" + shown.rgb)
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
