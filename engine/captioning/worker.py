"""The job `caption`: a captioner at work in a process of its own, asked for a few images at a time."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import captioner as row_of
from loratui.engine.captioning.protocol import Load, Model
from loratui.engine.dataset import decoding
from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.job_child import Answer, Parent

if TYPE_CHECKING:
    from PIL.Image import Image

_LEAST_PX = 1024
"""Side to which large images may be shrunk as they are decoded: no captioner looks at more."""


def begin(parent: Parent, *, captioner: str, folder: str | None, options: Mapping[str, Any]) -> Answer:
    """Loads a captioner from the folder of its files; `protocol` has the requests and answers."""
    row = row_of(captioner)
    load: Load = importlib.import_module(f"{__package__}.{row.module}").load
    model = load(row, Path(folder) if folder else None, options)
    return lambda request: _answers(parent, model, [Path(path) for path in request["images"]], str(request["instruction"]))


def _answers(parent: Parent, model: Model, paths: Sequence[Path], instruction: str) -> list[dict[str, Any]]:
    """What it says of each image, or why one has no answer."""
    told: list[dict[str, Any]] = [{} for _ in paths]
    at = 0
    while at < len(paths):  # the answer itself tells the last of them
        parent.progress({"done": at, "said": model.said, "at_once": model.most_at_once})
        part = range(at, min(at + max(1, model.most_at_once), len(paths)))
        images: dict[int, Image] = {}
        for number in part:
            try:
                images[number] = decoding.load_rgb(paths[number], least=(_LEAST_PX, _LEAST_PX))
            except decoding.ImageError as error:
                told[number] = _failed(f"{paths[number].name}: {error}.")
        try:
            said = model.captions(list(images.values()), instruction) if images else []
            for number, answer in zip(images, said, strict=True):
                told[number] = {"answer": answer.to_json()}
        except LoratuiError as error:
            if error.exit_code in (ExitCode.OUT_OF_MEMORY, ExitCode.UNAVAILABLE):
                raise  # no other image has an answer either
            for number in images:
                told[number] = _failed(error.message, error.remedy)
        at = part.stop
    return told


def _failed(message: str, remedy: str = "") -> dict[str, Any]:
    return {"failed": {"message": message, "remedy": remedy}}
