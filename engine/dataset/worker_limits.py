"""What a process that decodes foreign images may use: so much memory, and so much processor time for each of them."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.errors import LoratuiError
from loratui.engine.jobs import JobDied
from loratui.engine.limits import IMAGE_CPU_S

MORE_MEMORY = 1_500_000_000
"""Bytes of address space beyond what the process has at its start: the largest image that is read, and room to turn it."""

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


@contextmanager
def limited() -> Iterator[None]:
    """For one image: the system ends this process if it computes for more than `IMAGE_CPU_S` from now on, and what reading it
    raises becomes words for whoever asked."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    end = int(time.process_time()) + IMAGE_CPU_S + 1
    resource.setrlimit(resource.RLIMIT_CPU, (end if hard == resource.RLIM_INFINITY else min(end, hard), hard))
    try:
        yield
    except MemoryError:
        raise LoratuiError("needs more memory than there is") from None
    except (ImageError, OSError) as error:
        raise LoratuiError(str(error)) from error
    except Exception as error:  # a decoder that stumbles over an image in a way of its own
        raise LoratuiError(f"cannot be read: {type(error).__name__}: {error}") from error


def why_no_answer(died: JobDied) -> str:
    """Continues the name of the image that a process died of to a sentence."""
    if died.late_s:
        return f"takes more than {died.late_s:.0f} s to decode"
    if died.signal == signal.SIGXCPU:
        return f"takes more than {IMAGE_CPU_S} s of processor time to decode"
    return "makes its decoder crash"
