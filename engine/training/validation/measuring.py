"""Measures the validation's images at the end of its job, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from loratui.engine.proof import embedding_weights
from loratui.engine.proof.losses import Losses
from loratui.engine.proof.parts import Subject
from loratui.engine.proof.protocol import Near
from loratui.engine.proof.report import Readers, measure_run
from loratui.engine.runs.history import history_of
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.training import face_reader
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job
from loratui.engine.training.validation import image_models
from loratui.engine.training.validation.demo_faces import DemoFaces

DRAWINGS = "The drawings of the embedded bases are not compared: these models were made for photographs and paintings."


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
    faces, lacking = face_reader.find(job.run, job.settings)
    attributes = faces if isinstance(faces, DemoFaces) else None
    readers = _with_image_models(job, Readers(faces, lacking, layouts, losses, attributes=attributes))
    measure_run(job.run, job.settings, job.ledger.images, list(history.grid_images), readers, subject, progress)


def _with_image_models(job: Job, readers: Readers) -> Readers:
    """With the models of whole images that this machine has."""
    if job.settings.base.is_embedded:
        return replace(readers, no_texts=DRAWINGS, no_things=DRAWINGS)
    texts, things = image_models.find(job.run.fingerprints.parent)
    no_texts = "" if texts else embedding_weights.NO_IMAGE_TEXT
    return replace(
        readers, texts=texts, no_texts=no_texts, things=things, no_things="" if things else embedding_weights.NO_THINGS
    )
