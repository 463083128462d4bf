"""Which reader of faces a run has: of the demo's drawings on the embedded bases, else a face model of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loratui.engine.proof import face_models, face_weights

if TYPE_CHECKING:
    from loratui.engine.proof.protocol import FaceReader
    from loratui.engine.runs.directory import RunDirectory
    from loratui.presets.schema import Settings


def find(run: RunDirectory, settings: Settings) -> tuple[FaceReader | None, str]:
    """The reader, else why there is none. Loads torch on an embedded base only."""
    if settings.base.is_embedded:
        from loratui.engine.training.validation.demo_faces import DemoFaces

        return DemoFaces(), ""
    found = face_models.find(run.fingerprints.parent)
    return found, "" if found else face_weights.NONE_HERE
