"""What a process that decodes foreign images may use: so much memory, and so much processor time for each of them."""

from __future__ import annotations

import resource
import time
from pathlib import Path

MORE_MEMORY = 1_500_000_000
"""Bytes of address space beyond what the process has at its start: the largest image that is read, and room to turn it."""
SECONDS_A_IMAGE = 30
"""Of processor time. A photo takes less than one, with a face detector a few."""

_PAGES = Path("/proc/self/statm")


def limit_memory() -> None:
    """Lets this process, which has loaded what it needs, grow by `MORE_MEMORY` and no further; nor leave a core behind.

    Only on Linux: other systems do not tell how large it is, or do not keep to such a limit.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not _PAGES.exists():
        return
    most = int(_PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + MORE_MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def limit_seconds() -> None:
    """Lets this process compute for `SECONDS_A_IMAGE` from now on; then the system ends it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    end = int(time.process_time()) + SECONDS_A_IMAGE + 1
    resource.setrlimit(resource.RLIMIT_CPU, (end if hard == resource.RLIM_INFINITY else min(end, hard), hard))
