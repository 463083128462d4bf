"""A small copy of an image as PNG without metadata, for image programs and the hub. A job of its own process."""

from __future__ import annotations

import io
from pathlib import Path

from loratui.engine import durable
from loratui.engine.dataset import decoding
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.handover import sheets
from loratui.engine.job_child import Answer, Parent

SIDE_PX = 768
"""Longest side: Automatic1111 and Forge show cards of up to 300 px, the hub's gallery larger ones."""


def write_preview(source: Path, target: Path) -> None:
    """Raises `UsageError` for an image that cannot be read or a target that exists, and `DiskError`."""
    try:
        image = sheets.small(decoding.load_rgb(source), SIDE_PX)
    except (decoding.ImageError, OSError) as error:
        raise UsageError(f"{source.name} cannot be read: {error}.", "Make the validation images again.") from error
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    try:
        durable.write_new(target, buffer.getvalue())
    except FileExistsError as error:
        raise UsageError(f"{target} already exists.", "Choose another name or folder.") from error


def begin(_: Parent) -> Answer:
    """Writes the second of each of the `pairs` from the first, and answers with an error in words, or "", for each."""
    return lambda request: [_written(Path(source), Path(target)) for source, target in request["pairs"]]


def _written(source: Path, target: Path) -> str:
    try:
        write_preview(source, target)
    except LoratuiError as error:
        return str(error)
    return ""
