"""The job `measure`, one of the processes of the deep pass: asked for an image and its masks, it answers with what it measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from loratui.engine.dataset import worker_limits
from loratui.engine.dataset.faces import load_detector
from loratui.engine.errors import UsageError
from loratui.engine.job_child import Answer, Parent

_GIVES_WAY = 10
"""Added to its niceness: it takes every core, and the screen beside it must still answer keys."""


def begin(_: Parent, *, resolution: int, detector: str) -> Answer:
    """Measures images at a training `resolution` (side of a square, px); `detector` names a face detector, or none."""
    # One thread a process, since there are as many processes as cores; numpy reads this when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from loratui.engine.dataset.measure import measure_image

    os.nice(_GIVES_WAY)
    try:
        faces = load_detector(detector)
    except UsageError as error:  # the images are measured all the same, and the checks of faces say that they were not made
        print(error, file=sys.stderr)
        faces = None
    worker_limits.limit_memory()

    def measured(request: dict[str, Any]) -> dict[str, Any]:
        with worker_limits.limited():
            masks = {kind: Path(mask) for kind, mask in request["masks"].items()}
            return measure_image(Path(request["path"]), resolution, faces, masks).to_json()

    return measured
