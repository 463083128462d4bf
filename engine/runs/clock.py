"""The time zone of clock times that people read: the machine is often in UTC, the person elsewhere."""

from __future__ import annotations

import time


def zone(ts: float) -> str:
    """The zone in force at `ts` as its offset from UTC: `UTC`, `UTC+05:30`, `UTC-08:00`."""
    try:
        offset = time.localtime(ts).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        return "UTC"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"UTC{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}" if offset else "UTC"
