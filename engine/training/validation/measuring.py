"""Measures the validation's images at the end of its job, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loratui.engine.proof import face_models, face_weights
from loratui.engine.proof.losses import Losses
from loratui.engine.proof.parts import Subject
from loratui.engine.proof.protocol import Near
from loratui.engine.proof.report import Readers, measure_run
from loratui.engine.runs.history import history_of
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job
from loratui.engine.training.validation import demo_faces

NO_READER = "The drawings of the embedded bases are read only in a checkout of loratui."


def measure(
    job: Job, report: Reporter, requests: ControlQueue, file: str, layouts: Mapping[str, Sequence[Near]], losses: Losses
) -> None:
    """Writes `validation/measures.json`. `layouts`: those of the photos, if the base was loaded."""
    report.phase("measuring", "Measuring the images")
    history = history_of(job.run.validation_events)

    def progress(done: int, total: int) -> None:
        report.progress(done, total, "images")
        requests.stop_if_asked()

    files = lora_files(job.run, job.settings)
    subject = Subject(file or files.final, job.settings.validation.likely_strength, files.step_of)
    faces = demo_faces.find() if job.settings.base.is_embedded else face_models.find(job.run.fingerprints.parent)
    lacking = NO_READER if job.settings.base.is_embedded else face_weights.NONE_HERE
    readers = Readers(faces, "" if faces else lacking, layouts, losses)
    measure_run(job.run, job.settings, job.ledger.images, list(history.grid_images), readers, subject, progress)
