"""The job `samples`: measures a run's samples in a process of its own, which takes only what the training leaves of the CPUs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.job_child import Answer, Parent
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.live import LiveMeasures, Made
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.face_reader import find

LOWEST_PRIORITY = 19
FIRST_TO_GO = 1000
"""For Linux, which ends one process where main memory runs out: this one rather than the trainer."""


def begin(parent: Parent, *, run: str) -> Answer:
    """Answers requests of `images` and `base`, rows of `path prompt seed`, and `shape`, with the rows of the measures."""
    os.nice(LOWEST_PRIORITY)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    directory = RunDirectory(Path(run))
    settings = read_recipe(directory.effective).settings
    faces, lacking = find(directory, settings)
    entries = read_ledger(directory.dataset).images
    measures = LiveMeasures(directory, settings.dataset, entries, faces, lacking, lambda: parent.progress(None))

    def answer(request: Any) -> list[dict[str, Any]]:
        made, base = ([Made(**row) for row in request[name]] for name in ("images", "base"))
        return measures.of(made, base, request["shape"])

    return answer
