"""A worker of the deep pass: says that it is ready, then reads one JSON request a line and answers each with one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from loratui.engine.dataset import worker_limits
from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.faces import load_detector
from loratui.engine.errors import UsageError
from loratui.engine.untrusted import parse_json

_GIVES_WAY = 10
"""Added to the worker's niceness: it takes every core, and the screen beside it must still answer keys."""


def main() -> int:
    """Serves until the end of its input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--resolution", type=int, required=True)
    parser.add_argument("--detector", default="")
    args = parser.parse_args()
    # One thread a worker, since there are as many workers as cores; numpy reads this when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from loratui.engine.dataset.measure import measure_image

    os.nice(_GIVES_WAY)
    try:
        detector = load_detector(args.detector)
    except UsageError as error:  # the images are measured all the same, and the checks of faces say that they were not made
        print(error, file=sys.stderr)
        detector = None
    worker_limits.limit_memory()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(2, 1)  # what a decoder prints must not stand between the answers
    answers.write("ready\n")
    for line in sys.stdin:
        path = Path(parse_json(line))
        answer: dict[str, Any]
        worker_limits.limit_seconds()
        try:
            answer = {"facts": measure_image(path, args.resolution, detector).to_json()}
        except (ImageError, OSError) as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": "needs more memory than there is"}
        answers.write(json.dumps(answer, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
