"""The event log of a run as its readers see it: checked JSON lines, which one writer appends (`event_log`)."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loratui.engine.untrusted import finite, leads_out, open_regular, parse_json
from loratui.engine.words import both_ends

FORMAT = 1
"""Version of an event line; readers skip lines with a higher one."""

EVENT_TYPES: dict[str, str] = {
    "run_started": "the trainer knows the run's numbers and begins, anew or from a checkpoint",
    "phase_changed": "the trainer turns to something else",
    "progress": "how far a phase is that is not training",
    "step": "one optimizer step",
    "loss_unusual": "a step's loss is far beyond all others, or the loss rises to stay",
    "epoch_finished": "the mean loss of an epoch",
    "held_out": "the loss on images that are not trained on, with the LoRA and without",
    "image_losses": "the loss of each trained image at fixed noise, and which images stand out",
    "sample_written": "a sample image is on the disk",
    "samples_measured": "what was measured of the samples of a step",
    "likely_best": "which samples are likely the best so far, once that shows",
    "checkpoint_written": "a checkpoint is on the disk and verified",
    "output_written": "a LoRA file is on the disk",
    "image_written": "a validation image is on the disk",
    "warning": "something that a person should know, with a remedy",
    "heartbeat": "nothing else happened for some seconds, but the trainer lives",
    "command_acknowledged": "a command was carried out or refused",
    "changes_in_force": "what a person changed while the run trains",
    "telemetry": "what the machine does meanwhile",
    "probe_finished": "one real step was measured before the start, in a temporary run",
    "base_read": "the untouched base was shown images with known noise: what it answered, and what it was probably mistaken in",
    "memory_plan_failed": "GPU memory ran out with a memory plan, and which plan the next trainer takes",
    "disk_waiting": "the disk does not take what must be written, so the run waits; why, and what can be deleted",
    "disk_resumed": "the disk takes it again, and the run goes on",
    "run_failed_with": "the trainer is about to end with this error",
    "trainer_started": "the supervisor started a trainer",
    "trainer_ended": "the supervisor saw the trainer end",
    "run_finished": "the last word on a run",
    "action": "what becomes of something that was chosen for the end of the run",
}
"""Every type of event, with its meaning; docs/design.md lists the fields."""

FREQUENT_TYPES = ("step", "progress", "heartbeat", "telemetry")
"""The types of which there are so many that a glance at the past passes most of them over."""

_RARE = re.compile(b'"type":"(?!(?:%s)")' % b"|".join(name.encode() for name in FREQUENT_TYPES))
_STEP = b'"type":"step"'
_USUAL_LINE = 180
"""Bytes of a step."""

_CRC_START = b',"crc":"'
_CRC_LENGTH = len(_CRC_START) + 8 + len(b'"}')
_LONGEST_LINE = 1 << 20
_LONGEST_TEXT = 2000
_LARGEST_COUNT = (1 << 53) - 1
"""Beyond it a whole number is no count of anything."""
_FARTHEST_TS = 1e12
"""No clock is that wrong: the year 33 658."""
_TAIL = 1 << 16
MOST_TAIL = 1 << 22
"""Bytes at the end of a log that are looked through for its last event, and no more: what lies before is another's writing."""


FORMER_TYPES = {"picture_written": "image_written"}
"""Type in earlier logs -> today's."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log.

    `fields` holds what belongs to the type. A number that was not finite is None there and named in `fields["not_finite"]`.
    """

    type: str
    seq: int
    ts: float
    """Seconds since 1970 by the writer's clock; for people only."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    up: float = 0.0
    """Seconds since the writer's machine was started (`ages.up_s`); 0 where that is unknown."""

    @property
    def at(self) -> float:
        """When it was written, s on a clock for differences between the events of one trainer."""
        return self.up or self.ts

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or `default` if the event has none of that name."""
        return self.fields.get(name, default)

    def text(self, name: str) -> str:
        """A text, of one beyond all sense both ends; empty where the field is no text."""
        value = self.get(name)
        return both_ends(value, _LONGEST_TEXT) if isinstance(value, str) else ""

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts in a list; empty where the field is no list."""
        value = self.get(name)
        return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()

    def path(self, name: str) -> str:
        """A file of the run, relative to it; empty for a name that leads out of it."""
        relative = self.text(name)
        return "" if leads_out(relative) else relative

    def number(self, name: str) -> float | None:
        """A finite number; None where the field is none."""
        return finite(self.get(name))

    def count(self, name: str) -> int:
        """A whole number; 0 where the field is none."""
        number = finite(self.get(name))
        return int(max(-_LARGEST_COUNT, min(_LARGEST_COUNT, number))) if number is not None else 0


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What one read found: whole, checked events; where to go on; and how many lines could not be used."""

    events: tuple[Event, ...]
    offset: int
    """Byte offset behind the last complete line, for the next read."""
    skipped: int


def encode(type: str, seq: int, ts: float, fields: Mapping[str, Any], up: float = 0.0) -> bytes:
    """The line of an event, ASCII, with its checksum and newline."""
    known = {"up": round(up, 2)} if up else {}
    body = {"v": FORMAT, "seq": seq, "ts": round(ts, 3), **known, "type": type, **finite_fields(fields)}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=os.fspath)
    checked = text[:-1].encode("ascii")
    return b'%s,"crc":"%08x"}\n' % (checked, zlib.crc32(checked))


def finite_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that JSON can hold: None for what is not finite, with its place in `not_finite`."""
    not_finite: list[str] = []
    body = {name: _finite(value, name, not_finite) for name, value in fields.items()}
    return {**body, "not_finite": not_finite} if not_finite else body


def decode(line: bytes) -> Event | None:
    """The event of a line (with or without its newline), or None if the line is torn, altered, foreign or too new."""
    line = line.rstrip(b"\n")
    if len(line) > _LONGEST_LINE:
        return None
    checked, ending = line[:-_CRC_LENGTH], line[-_CRC_LENGTH:]
    if ending != b'%s%08x"}' % (_CRC_START, zlib.crc32(checked)):
        return None
    try:
        body = parse_json(line)
        version, seq, ts, type = body.pop("v"), body.pop("seq"), finite(body.pop("ts")), body.pop("type")
        up = finite(body.pop("up", None)) or 0.0
        del body["crc"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not (isinstance(version, int) and 1 <= version <= FORMAT and isinstance(seq, int) and isinstance(type, str)):
        return None
    if ts is None or abs(ts) > _FARTHEST_TS:
        return None
    return Event(FORMER_TYPES.get(type, type), seq, ts, body, min(max(0.0, up), _FARTHEST_TS))


def read_events(path: Path, offset: int = 0, max_bytes: int = 1 << 20) -> EventBatch:
    """Up to about `max_bytes` of events from `offset` on.

    A last line without its newline is left for the next call. Lines that fail their check are skipped and counted.
    A missing file is an empty log. At the end of the log the returned `offset` equals the given one.
    """
    try:
        with open_regular(path, follow=False) as file:
            file.seek(offset)
            data = file.read(max_bytes)
            while b"\n" not in data and data and len(data) < _LONGEST_LINE:
                more = file.read(max(max_bytes, 1 << 16))
                if not more:
                    break
                data += more
    except FileNotFoundError:
        return EventBatch((), offset, 0)
    end = data.rfind(b"\n") + 1
    if end == 0:
        # Nothing that is ours is so long: step over it, or a reader would stay here for ever.
        return EventBatch((), offset + len(data), 1) if len(data) >= _LONGEST_LINE else EventBatch((), offset, 0)
    events, skipped = _decode_lines(data[:end])
    return EventBatch(events, offset + end, skipped)


def skim_events(path: Path, offset: int, keep_every: int, max_bytes: int = 1 << 22) -> EventBatch:
    """As `read_events`, but of the frequent types (`FREQUENT_TYPES`) only about each `keep_every`th event: a long past at a
    glance.

    What is passed over is not even split into lines, and so not checked: `skipped` counts bad lines only among those that
    were looked at. The last step and the last event of the read are always kept.
    """
    try:
        with open_regular(path, follow=False) as file:
            file.seek(offset)
            data = file.read(max_bytes)
    except FileNotFoundError:
        return EventBatch((), offset, 0)
    end = data.rfind(b"\n") + 1
    if end == 0:
        return read_events(path, offset, max_bytes)
    wanted = [match.start() for match in _RARE.finditer(data, 0, end)]
    wanted += range(0, end, keep_every * _USUAL_LINE)
    wanted.append(max(0, data.rfind(_STEP, 0, end)))
    starts = {data.rfind(b"\n", 0, place) + 1 for place in [*wanted, end - 1]}
    events, skipped = _decode_lines(b"\n".join(data[start : data.find(b"\n", start)] for start in sorted(starts)))
    return EventBatch(events, offset + end, skipped)


def last_events(path: Path, max_bytes: int = _TAIL) -> tuple[Event, ...]:
    """The events in the last `max_bytes` of the log, or in up to `MOST_TAIL` of it if there is no usable event in these."""
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            while True:
                start = max(0, size - max_bytes)
                file.seek(start)
                data = file.read(size - start)
                # The first line may be cut by the window; the last may be torn.
                begin = data.find(b"\n") + 1 if start else 0
                events, _ = _decode_lines(data[begin : data.rfind(b"\n") + 1])
                if events or start == 0 or max_bytes >= MOST_TAIL:
                    return events
                max_bytes = min(16 * max_bytes, MOST_TAIL)
    except FileNotFoundError:
        return ()


def _decode_lines(data: bytes) -> tuple[tuple[Event, ...], int]:
    lines = [line for line in data.split(b"\n") if line]
    events = tuple(event for event in map(decode, lines) if event is not None)
    return events, len(lines) - len(events)


def _finite(value: Any, name: str, not_finite: list[str]) -> Any:
    """`value` with None for each NaN or infinity in it, whose dotted places are added to `not_finite`."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        not_finite.append(name)
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v, f"{name}.{k}", not_finite) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v, f"{name}.{i}", not_finite) for i, v in enumerate(value)]
    return value
