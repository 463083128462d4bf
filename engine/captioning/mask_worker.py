"""The job `masks`: asked for an image, it answers with the mask of the persons or faces in it, or with nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset import decoding, yunet
from loratui.engine.dataset.facts import Box
from loratui.engine.dataset.mask_making import LONGEST_PX, scaled
from loratui.engine.job_child import Answer, Content, Parent

if TYPE_CHECKING:
    from PIL.Image import Image

_HEAD = Box(0.35, 0.55, 0.35, 0.3)
"""How far a head reaches beyond its face box at each side, in widths and heights of the box: hair, ears and chin."""


def begin(_: Parent, *, kind: str, weights: str) -> Answer:
    """Makes masks of a kind with the model in this file."""
    if kind == "person":
        from loratui.engine.captioning.segmenter import Segmenter

        mark: Callable[[Image], Image | None] = Segmenter(Path(weights)).marked
    else:
        mark = partial(_heads_found, yunet.YuNet(weights))
    decoding.prepare()

    def masked(request: dict[str, Any]) -> Any:
        found = mark(decoding.load_rgb(Path(request["path"]), least=(LONGEST_PX, LONGEST_PX)))
        return Content({"size": found.size}, found.tobytes()) if found is not None else None

    return masked


def _heads_found(detector: yunet.YuNet, image: Image) -> Image | None:
    return heads(image, [face.box for face in detector.detect(image)])


def heads(image: Image, boxes: list[Box]) -> Image | None:
    """White ellipses around these faces, wide enough for their heads; None without a face."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    if not boxes:
        return None
    mask = pillow.new("L", scaled(image.size))
    draw = ImageDraw.Draw(mask)
    for box in boxes:
        left, right = box.left - _HEAD.left * box.width, box.right + _HEAD.right * box.width
        top, bottom = box.top - _HEAD.top * box.height, box.bottom + _HEAD.bottom * box.height
        draw.ellipse((left * mask.width, top * mask.height, right * mask.width, bottom * mask.height), fill=255)
    return mask
