"""Limits that more than one room keeps to; one that only a single rule knows stands beside that rule."""

from __future__ import annotations

SMALL_FILE_BYTES = 1 << 20
"""Of a small file, where its reader names no other limit."""
LIST_FILE_BYTES = 1 << 28
"""Of a list of everything in a folder, such as a ledger: about half a million images."""

IMAGE_ANSWER_S = 60.0
"""Whatever the machine is busy with, an answer about one image that takes longer is not waited for."""
IMAGE_CPU_S = 30
"""Processor time for one image. A photo takes less than one second, with a face detector a few."""

CHUNK_BYTES = 1 << 20
"""Read, hashed or copied at a time."""
