"""What a run says of itself while it trains: it goes on all the same."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, note, warning

_SLOWER = "Training goes on without, somewhat slower."

RUN: Mapping[str, Kind] = {
    "captions_cut": warning(
        "{texts:are text} longer than the text encoder reads; up to {most:count token} cut.",
        remedy="Put what matters first, or shorten them.",
    ),
    "started_from": note("{path}: {taken}"),
    "other_surroundings": note("From here the numbers may differ in their last digits: {differing}."),
    "bad_checkpoint": note("{problem}; an older one is used."),
    "compile_failed": warning("The base could not be compiled: {reason}", remedy=_SLOWER),
    "not_recorded": warning("The training step could not be recorded: {reason}.", remedy=_SLOWER),
    "sample_failed": warning("{reason}", remedy="Training goes on.", about="Samples could not be made."),
    "lora_unmoved": warning("{file} changes nothing: the LoRA has not moved.", remedy="Raise the learning rate."),
    "end_not_forgotten": warning(
        "{problem}",
        remedy="After a resume, take back the wish to stop after the epoch.",
        about="The wish to stop could not be taken back on the disk.",
    ),
    "disk_low": warning("Only {free_gib:.1f} GiB are free on the disk of this run.", remedy="Delete what is not needed."),
    "ledger_not_written": warning("{problem}", remedy="{remedy}", about="How often images were shown could not be written."),
}
