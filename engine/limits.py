"""Limits that more than one room keeps to; one that only a single rule knows stands beside that rule."""

from __future__ import annotations

TINY_FILE_BYTES = 1 << 16
"""Of a file of a few lines: a marker, a lock, a token."""
SMALL_FILE_BYTES = 1 << 20
"""Of any other small file, where its reader names no other limit."""
MODEL_JSON_BYTES = 1 << 24
"""Of a model's configuration, index or tokenizer. CLIP's and T5's have 2.4 MB, an index of 10 000 tensors 1 MB; larger ones are of language models."""
LIST_FILE_BYTES = 1 << 28
"""Of a list of everything in a folder, such as a ledger: about half a million images."""
IMAGE_FILE_BYTES = 500_000_000
FOLDER_FILES = 50_000
"""Files of a zip or of a repository on the hub: nobody trains on so many."""
NAME_BYTES = 255
"""Of one name of a file or folder: more is an error of the system's."""
CHUNK_BYTES = 1 << 20
"""Read, hashed or copied at a time."""

IMAGE_ANSWER_S = 60.0
"""Whatever the machine is busy with, an answer about one image that takes longer is not waited for."""
IMAGE_CPU_S = 30
"""Processor time for one image. A photo takes less than one second, with a face detector a few."""

DISK_SPARE_BYTES = 200_000_000
"""Stays free beside what is about to be written."""


def disk_is_low(free_bytes: float, next_bytes: float, was_low: bool = False) -> bool:
    """Whether the next writes may not fit, so that the person is told. Half as much again must be free before that is over, so that it
    does not come and go."""
    least = next_bytes + DISK_SPARE_BYTES
    return free_bytes < (least * 1.5 if was_low else least)
